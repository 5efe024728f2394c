// SPDX-License-Identifier: Apache-2.0
//
// Backend: where the memory of buffers comes from, as one table of operations.
//
// What it is: the line between Buffer, which keeps the rules, and the file of each backend, which
// talks to the kernel. What it is not: for users of buffers. A new backend is one file with one
// table, and one line in backends.cpp.
// Lifetime: tables are constants. Thread-safety: operations on one Storage by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include <hal/resource.hpp>

#include "drivers/gpu/layout.hpp"

namespace drivers::gpu {

enum class CpuAccess : std::uint8_t {
  Read,
  Write,  ///< reading included
};

/// The memory of one buffer; a backend that keeps more derives from it.
struct Storage {
  explicit Storage(hal::UniqueFd file) noexcept : fd(std::move(file)) {}
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  virtual ~Storage();

  hal::UniqueFd fd;  ///< can be mapped from offset 0, and is what export gives
};

struct Backend {
  std::string_view name;  ///< 1 to 16 bytes of [a-z0-9-]

  /// Whether this machine has it. Errors: Unsupported, NotPermitted, System.
  hal::Result<void> (*probe)();
  /// Memory for a buffer, zeroed. May enlarge `layout`'s stride, and then its size. Errors: System,
  /// CapacityExceeded (descriptors).
  hal::Result<std::unique_ptr<Storage>> (*allocate)(BufferLayout& layout);
  /// Memory that was exported elsewhere; nothing about `fd` is believed. Errors: InvalidArgument
  /// (type, size, missing seals), NotPermitted (not writable, but the usage says CpuWrite), System.
  hal::Result<std::unique_ptr<Storage>> (*import)(hal::UniqueFd fd, const BufferLayout& layout);
  /// Around each access by the CPU: makes what devices wrote visible, and what it wrote visible to
  /// devices. Errors: System.
  hal::Result<void> (*begin_access)(Storage& storage, CpuAccess access);
  hal::Result<void> (*end_access)(Storage& storage, CpuAccess access);
};

/// memfd: shared memory, on every machine.
extern const Backend kMemfdBackend;

/// All backends, best first.
[[nodiscard]] std::span<const Backend* const> backends() noexcept;
/// The backend of that name; for an empty name the first that the machine has. Errors: NotFound,
/// Unsupported.
[[nodiscard]] hal::Result<const Backend*> choose_backend(std::string_view name);

}  // namespace drivers::gpu
