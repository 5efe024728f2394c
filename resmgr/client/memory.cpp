// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <utility>

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

}  // namespace

void MemoryTable::add(Handle handle, BackedFile file, MakeFile make) {
  const std::lock_guard lock(mutex_);
  Entry entry;
  entry.file = std::move(file);
  entry.make = std::move(make);
  entries_.insert_or_assign(handle, std::move(entry));
}

void MemoryTable::remove(Handle handle) {
  const std::lock_guard lock(mutex_);
  entries_.erase(handle);
}

void MemoryTable::clear() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
}

bool MemoryTable::contains(Handle handle) const {
  const std::lock_guard lock(mutex_);
  return entries_.contains(handle);
}

// The author's backing is called under no lock: it may ask for other memory. Others who want this
// one wait; a backing that asks for what it is making itself would for ever.
Result<MemoryTable::Entry*> MemoryTable::ready(std::unique_lock<std::mutex>& lock, Handle handle) {
  const auto find = [&]() -> Entry* {
    const auto found = entries_.find(handle);
    return found == entries_.end() ? nullptr : &found->second;
  };
  const std::thread::id self = std::this_thread::get_id();
  Entry* entry = find();
  while (entry && !entry->file.fd && entry->maker != std::thread::id()) {
    if (entry->maker == self) return fail(ErrorCode::Deadlock, "a backing asks for what it makes");
    made_.wait(lock);
    entry = find();
  }
  if (!entry) return fail(ErrorCode::Unsupported, "the resource has no memory");
  if (entry->file.fd) return entry;

  const MakeFile make = entry->make;  // may throw: before anybody waits for it
  entry->maker = self;
  lock.unlock();
  auto made = make();
  lock.lock();
  made_.notify_all();
  entry = find();
  if (!entry) return fail(ErrorCode::StaleHandle, "unregistered while its memory was made");
  entry->maker = {};
  if (!made) return std::unexpected(std::move(made.error()));
  entry->file = std::move(*made);
  return entry;
}

Result<std::span<std::byte>> MemoryTable::map(Handle handle, AccessPattern pattern,
                                              ResourceFlags flags, bool writable) {
  std::unique_lock lock(mutex_);
  auto entry = ready(lock, handle);
  if (!entry) return std::unexpected(std::move(entry.error()));
  Mapping& mapping = writable ? (*entry)->writable : (*entry)->readable;
  if (!mapping) {
    if ((*entry)->file.size_bytes == 0) {
      return fail(ErrorCode::Unsupported, "the resource has no memory");
    }
    const int populate = pattern == AccessPattern::Streaming ? MAP_POPULATE : 0;
    auto made = Mapping::map_file((*entry)->file.fd.get(), (*entry)->file.size_bytes,
                                  writable ? Mapping::Access::ReadWrite : Mapping::Access::Read, 0,
                                  populate);
    if (!made) {
      const int why = made.error().system_errno();
      // ENODEV: timers, eventfds and the like have nothing to map.
      if (why == ENODEV) return fail(ErrorCode::Unsupported, "the file can't be mapped");
      return std::unexpected(std::move(made.error()));
    }
    if (const int advice = advice_for(pattern); advice != MADV_NORMAL) {
      // Advice only: a kernel that ignores it loses nothing.
      (void)::madvise(made->data(), made->size(), advice);
    }
    if (has(flags, ResourceFlags::Pinned) && ::mlock(made->data(), made->size()) != 0) {
      return fail_errno(errno, "mlock");
    }
    mapping = std::move(*made);
  }
  return mapping.bytes();
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
