// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/look.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/lock/word.hpp"
#include "resmgr/registry/view.hpp"
#include "tools/resmgrctl/region_copy.hpp"
#include "tools/resmgrctl/walks.hpp"

namespace resmgrctl {
namespace {

using resmgr::load;
using resmgr::Result;
using resmgr::lock::LockTables;

// `header` is the checked copy: a hostile peer may have overwritten the one in the region.
Result<resmgr::UniqueFd> copy_of(int file, std::span<const std::byte> bytes,
                                 const rm_region_header& header) {
  auto copy = RegionFile::create(header.region_bytes);
  if (!copy) return std::unexpected(std::move(copy.error()));
  std::array<std::byte, kPageBytes> page{};
  auto copied = for_each_page(file, bytes, [&](std::uint64_t number, auto source) {
    copy_words(source, page.data());
    const auto part = std::span(page).first(source.size());
    if (!is_zero(part)) std::ranges::copy(part, copy->mapping.data() + number * kPageBytes);
  });
  if (!copied) return std::unexpected(std::move(copied.error()));
  std::memcpy(copy->mapping.data(), &header, sizeof(header));
  return std::move(copy->fd);
}

// What belongs to one slot of a living region, copied over what a look has of it.
class Settler {
 public:
  Settler(const LockTables& from, const LockTables& to) noexcept
      : from_(from), to_(to), budget_(walk_budget(to)) {}

  /// Whether it stood still meanwhile.
  [[nodiscard]] bool settle(std::uint32_t index) noexcept {
    const rm_slot& slot = *from_.slot(index);
    for (int attempt = 0; attempt < Look::kSettleAttempts && budget_ != 0; ++attempt) {
      const Mark before = mark(slot);
      copy(from_.slot(index), to_.slot(index));
      copy_cells(slot);
      copy_nodes(load(slot.queue_head_link));
      copy_nodes(load(slot.inbox_link));
      const resmgr::lock::StateWord word{before.word};
      copy_context(word.owner());
      copy_context(word.latch());
      if (mark(slot) == before && (before.queue_seq & 1u) == 0) return true;
    }
    return false;
  }

 private:
  struct Mark {
    std::uint64_t word;
    std::uint32_t queue_seq;
    std::uint32_t inbox;
    std::uint32_t cells;
    std::uint32_t acquisitions;
    friend bool operator==(const Mark&, const Mark&) noexcept = default;
  };
  [[nodiscard]] static Mark mark(const rm_slot& slot) noexcept {
    return {load(slot.word), load(slot.queue_seq), load(slot.inbox_link), load(slot.cell_link),
            load(slot.acquisitions)};
  }
  template <typename T>
  static void copy(const T* from, T* to, std::size_t bytes = sizeof(T)) noexcept {
    if (from == nullptr || to == nullptr) return;
    copy_words({reinterpret_cast<const std::byte*>(from), bytes}, reinterpret_cast<std::byte*>(to));
  }
  void copy_context(std::uint32_t id) const noexcept {
    // The line that others read; the rest is its own business.
    constexpr std::size_t kFirstLine = offsetof(rm_context, hold_bitmap);
    copy(from_.context(id), to_.context(id), kFirstLine);
  }
  void copy_cells(const rm_slot& slot) noexcept {
    std::uint32_t link = load(slot.cell_link);
    for (; budget_ != 0; --budget_) {
      const rm_cell* const cell = from_.cell(link);
      if (cell == nullptr) return;
      copy(cell, to_.cell(link));
      copy_context(resmgr::lock::CellWord{load(cell->word)}.context());
      link = load(cell->next_link);
    }
  }
  void copy_nodes(std::uint32_t link) noexcept {
    for (; budget_ != 0; --budget_) {
      const rm_node* const node = from_.node(link);
      if (node == nullptr) return;
      copy(node, to_.node(link));
      copy_context(load(node->context));
      link = load(node->next_link);
    }
  }

  const LockTables& from_;
  const LockTables& to_;
  std::uint64_t budget_;
};

}  // namespace

Result<Look> Look::take(const resmgr::registry::RegistryRegion& registry,
                        const resmgr::lock::LockRegion& locks, const ProcessOf& process_of) {
  const LockTables& live = locks.tables();
  const std::span lock_bytes{reinterpret_cast<const std::byte*>(live.region),
                             static_cast<std::size_t>(locks.header().region_bytes)};
  auto registry_copy = copy_of(registry.fd(), registry.bytes(), registry.header());
  if (!registry_copy) return std::unexpected(std::move(registry_copy.error()));
  auto lock_copy = copy_of(locks.fd(), lock_bytes, locks.header());
  if (!lock_copy) return std::unexpected(std::move(lock_copy.error()));

  auto entries = resmgr::registry::RegistryRegion::attach(std::move(*registry_copy),
                                                          resmgr::Mapping::Access::Read);
  if (!entries) return std::unexpected(std::move(entries.error()));
  auto words = resmgr::lock::LockRegion::attach(std::move(*lock_copy));
  if (!words) return std::unexpected(std::move(words.error()));
  Look look{.registry = std::move(*entries),
            .locks = std::move(*words),
            .resident_bytes = resident_bytes_of(registry.fd()) + locks.resident_bytes()};

  const LockTables& copied = look.locks.tables();
  Settler settler(live, copied);
  const resmgr::registry::RegistryView view(look.registry);
  const std::uint32_t end = std::min(view.slot_end(), copied.slot_count);
  for (std::uint32_t slot = 0; slot < end; ++slot) {
    if (!settler.settle(slot)) ++look.unsettled;
  }
  look.taken_at = resmgr::monotonic_ns();
  look.processes.resize(copied.client_count);
  for (std::uint32_t index = 0; index < copied.client_count; ++index) {
    const rm_client& client = *copied.client(index);
    if ((load(client.state) & RM_CONTEXT_STATE_MASK) == RM_CONTEXT_FREE) continue;
    look.processes[index] = process_of(load(client.pid), load(client.start_time));
  }
  return look;
}

}  // namespace resmgrctl
