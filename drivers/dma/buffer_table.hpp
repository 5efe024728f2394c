// SPDX-License-Identifier: Apache-2.0
//
// BufferTable: the memory attached to one channel, found by BufferId.
//
// What it is: a fixed number of slots with generations: an id that was detached stays stale for
// good, whatever is attached later. A slot whose generations are used up is retired. What it is
// not: an owner of the memory, or synchronised: the channel's lock guards it.
//
//   BufferId id = table.attach({memory, Access::ReadWrite}).value();
//   const AttachedBuffer* buffer = table.find(id);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <hal/resource.hpp>

#include "drivers/dma/descriptor.hpp"

namespace drivers::dma {

enum class Access : std::uint8_t { Read, ReadWrite };

struct AttachedBuffer {
  std::span<std::byte> memory;
  Access access = Access::Read;
  int node = -1;  ///< NUMA node that most of it is on; -1: not known
};

class BufferTable {
 public:
  explicit BufferTable(std::uint32_t slots);

  /// Memory with Access::Read is never written, whatever the type of the span says. Errors:
  /// InvalidArgument (null, empty, wraps around the address space), CapacityExceeded.
  [[nodiscard]] hal::Result<BufferId> attach(const AttachedBuffer& buffer);
  /// Errors: StaleHandle.
  hal::Result<void> detach(BufferId id);
  /// Null if the id names nothing attached. Valid until the next call of attach() or detach().
  [[nodiscard]] const AttachedBuffer* find(BufferId id) const noexcept;
  /// Calls `visit` with each attached buffer.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const Slot& slot : slots_) {
      if (slot.used) visit(slot.buffer);
    }
  }

 private:
  struct Slot {
    AttachedBuffer buffer;
    std::uint32_t generation = 1;
    bool used = false;
  };
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;  ///< indices of slots
};

}  // namespace drivers::dma
