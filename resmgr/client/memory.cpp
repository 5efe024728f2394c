// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/memory.hpp"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <iterator>
#include <limits>
#include <new>
#include <utility>
#include <vector>

#include "resmgr/abi/description.hpp"

namespace resmgr::client {
namespace {

int advice_for(AccessPattern pattern) noexcept {
  switch (pattern) {
    case AccessPattern::Sequential:
      return MADV_SEQUENTIAL;
    case AccessPattern::Random:
      return MADV_RANDOM;
    default:
      return MADV_NORMAL;
  }
}

// Advice to the kernel: one that ignores it, or has no such node, takes nothing away.
void prefer_node(std::span<std::byte> memory, std::int32_t node) noexcept {
  constexpr std::size_t kWordBits = std::numeric_limits<unsigned long>::digits;
  constexpr std::size_t kNodes = kMaxNumaNode + 1;
  if (node < 0 || node > kMaxNumaNode) return;
  const auto number = static_cast<std::size_t>(node);
  std::array<unsigned long, kNodes / kWordBits> nodes{};
  nodes[number / kWordBits] = 1ul << number % kWordBits;
  // The kernel counts one bit less than it is told.
  (void)::syscall(SYS_mbind, memory.data(), memory.size(), MPOL_PREFERRED, nodes.data(), kNodes + 1,
                  0);
}

// In this order: pages are made when they are populated or locked, and stay where they were made.
Result<void> prepare(std::span<std::byte> memory, const MapOptions& options) noexcept {
  prefer_node(memory, options.numa_node);
  if (const int advice = advice_for(options.pattern); advice != MADV_NORMAL) {
    (void)::madvise(memory.data(), memory.size(), advice);
  }
  if (options.pattern == AccessPattern::Streaming) {
    (void)::madvise(memory.data(), memory.size(),
                    options.writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  }
  if (has(options.flags, ResourceFlags::Pinned) && ::mlock(memory.data(), memory.size()) != 0) {
    return fail_errno(errno, "mlock");
  }
  return {};
}

Result<Mapping> map_prepared(const UniqueFd& file, std::uint64_t bytes, const MapOptions& options) {
  // It fitted when it was registered. Its owner may have made it smaller since.
  if (is_too_short(file.get(), bytes)) {
    return fail(ErrorCode::Unsupported, "the file is smaller than the resource now");
  }
  const auto access = options.writable ? Mapping::Access::ReadWrite : Mapping::Access::Read;
  auto made = Mapping::map_file(file.get(), bytes, access, 0, options.alignment);
  if (!made) {
    // ENODEV: timers, eventfds and the like have nothing to map.
    if (made.error().system_errno() != ENODEV) return made;
    return fail(ErrorCode::Unsupported, "the file can't be mapped");
  }
  if (auto prepared = prepare(made->bytes(), options); !prepared) {
    return std::unexpected(std::move(prepared.error()));
  }
  return made;
}

}  // namespace

void MemoryTable::add(Handle handle, BackedFile file, MakeFile make) {
  const std::lock_guard lock(mutex_);
  Entry entry;
  entry.file = std::move(file);
  entry.make = std::move(make);
  entries_.try_emplace(handle, std::move(entry));
}

// An author's backing goes under no lock: its destructor may unregister what it drew from.
void MemoryTable::remove(Handle handle) {
  decltype(entries_)::node_type gone;
  const std::lock_guard lock(mutex_);
  gone = entries_.extract(handle);
}

void MemoryTable::clear() {
  decltype(entries_) gone;
  const std::lock_guard lock(mutex_);
  gone.swap(entries_);
}

void MemoryTable::remove_unless(const std::function<bool(Handle)>& stays) {
  std::vector<decltype(entries_)::node_type> gone;
  const std::lock_guard lock(mutex_);
  for (auto each = entries_.begin(); each != entries_.end();) {
    const auto next = std::next(each);
    if (!stays(each->first)) gone.push_back(entries_.extract(each));
    each = next;
  }
}

bool MemoryTable::contains(Handle handle) const {
  const std::lock_guard lock(mutex_);
  return entries_.contains(handle);
}

int MemoryTable::file(Handle handle) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  return found == entries_.end() ? -1 : found->second.file.fd.get();
}

MemoryTable::Entry* MemoryTable::find(Handle handle) noexcept {
  const auto found = entries_.find(handle);
  return found == entries_.end() ? nullptr : &found->second;
}

// The author's backing is called under no lock: it may ask for other memory. Others who want this
// one wait; a backing that asks for what it is making itself would for ever.
Result<MemoryTable::Entry*> MemoryTable::ready(std::unique_lock<std::mutex>& lock, Handle handle) {
  const std::thread::id self = std::this_thread::get_id();
  Entry* entry = find(handle);
  while (entry && !entry->file.fd && entry->maker != std::thread::id()) {
    if (entry->maker == self) return fail(ErrorCode::Deadlock, "a backing asks for what it makes");
    made_.wait(lock);
    entry = find(handle);
  }
  if (!entry) return fail(ErrorCode::StaleHandle, "unregistered while its memory was awaited");
  if (entry->file.fd) return entry;

  MakeFile make = entry->make;  // may throw: before anybody waits for it
  entry->maker = self;
  lock.unlock();
  auto made = make();
  make = {};
  lock.lock();
  made_.notify_all();
  entry = find(handle);
  if (!entry) return fail(ErrorCode::StaleHandle, "unregistered while its memory was made");
  entry->maker = {};
  if (!made) return std::unexpected(std::move(made.error()));
  entry->file = std::move(*made);
  return entry;
}

Mapping& MemoryTable::Entry::mapping(bool for_writing) noexcept {
  return for_writing ? writable : readable;
}

// Mapped under no lock, for to populate or to lock much memory takes long, and others want theirs.
Result<std::span<std::byte>> MemoryTable::map(Handle handle, const MapOptions& options) {
  std::unique_lock lock(mutex_);
  auto entry = ready(lock, handle);
  while (entry && !(*entry)->mapping(options.writable) && (*entry)->being_mapped) {
    made_.wait(lock);
    entry = ready(lock, handle);
  }
  if (!entry) return std::unexpected(std::move(entry.error()));
  if ((*entry)->mapping(options.writable)) return (*entry)->mapping(options.writable).bytes();
  const BackedFile& file = (*entry)->file;
  if (file.size_bytes == 0) return fail(ErrorCode::Unsupported, "the resource has no memory");
  // A file of our own: the resource's goes if it is unregistered meanwhile.
  auto copy = file.fd.duplicate();
  if (!copy) return std::unexpected(std::move(copy.error()));
  const std::uint64_t bytes = file.size_bytes;
  (*entry)->being_mapped = true;
  lock.unlock();
  auto mapped = map_prepared(*copy, bytes, options);
  lock.lock();
  made_.notify_all();
  Entry* const still = find(handle);
  if (!still) return fail(ErrorCode::StaleHandle, "unregistered while it was mapped");
  still->being_mapped = false;
  if (!mapped) return std::unexpected(std::move(mapped.error()));
  still->mapping(options.writable) = std::move(*mapped);
  return still->mapping(options.writable).bytes();
}

Result<void> MemoryTable::make(Handle handle) noexcept try {
  std::unique_lock lock(mutex_);
  if (auto entry = ready(lock, handle); !entry) return std::unexpected(std::move(entry.error()));
  return {};
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "backing");
}

Result<UniqueFd> MemoryTable::duplicate(Handle handle) {
  std::unique_lock lock(mutex_);
  auto entry = ready(lock, handle);
  if (!entry) return std::unexpected(std::move(entry.error()));
  return (*entry)->file.fd.duplicate();
}

}  // namespace resmgr::client
