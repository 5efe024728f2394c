// SPDX-License-Identifier: Apache-2.0
//
// MemoryTable: the files behind resources, and this process's mappings of them.
//
// What it is: by slot, the file an owner gave or a backing made, mapped once when first asked for.
// What it is not: rights; the domain checks them before it asks here. Lifetime: a mapping stays
// until its resource is unregistered or the domain closes. Thread-safety: any thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <unordered_map>

#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgr::client {

/// A file and how much of it belongs to the resource, in bytes.
struct BackedFile {
  UniqueFd fd;
  std::uint64_t size_bytes = 0;
};

/// Makes the file of a Lazy resource when it is first needed. Called under no lock, once at a time;
/// it must not throw.
using MakeFile = std::function<Result<BackedFile>()>;

/// How memory is mapped, as its owner described it.
struct MapOptions {
  AccessPattern pattern = AccessPattern::Unspecified;
  ResourceFlags flags = ResourceFlags::None;
  std::uint64_t alignment = 0;  ///< bytes, a power of two or 0
  std::int32_t numa_node = -1;  ///< -1: none preferred
  bool writable = true;         ///< false gives a mapping of its own that can't be written
};

class MemoryTable {
 public:
  /// Keeps a file, or what will make it; the first of several for one resource.
  void add(Handle handle, BackedFile file, MakeFile make);
  void remove(Handle handle);
  void clear();
  /// Removes those that `stays` does not want. It is called under a lock.
  void remove_unless(const std::function<bool(Handle)>& stays);
  [[nodiscard]] bool contains(Handle handle) const;
  /// The file, -1 if there is none yet. REQUIRES: the caller keeps the resource registered.
  [[nodiscard]] int file(Handle handle) const;

  /// Maps the file. Once mapped it stays as it is; what its owner cuts off the file is SIGBUS, see
  /// hal::ResourceManager::map(). Errors: Unsupported (the file can't be mapped, or was cut),
  /// System (also when Pinned memory can't be locked), StaleHandle (nothing is kept, or it was
  /// removed meanwhile), Deadlock (asked by its own backing), those of the backing.
  [[nodiscard]] Result<std::span<std::byte>> map(Handle handle, const MapOptions& options);
  /// Makes the file, if it is not there yet. Errors: System (no memory for the call), as map().
  Result<void> make(Handle handle) noexcept;
  /// A duplicate. Errors: as map().
  [[nodiscard]] Result<UniqueFd> duplicate(Handle handle);

 private:
  struct Entry {
    BackedFile file;
    MakeFile make;
    Mapping writable;
    Mapping readable;
    std::thread::id maker;      ///< who is in `make` now
    bool being_mapped = false;  ///< by a thread that holds no lock
    [[nodiscard]] Mapping& mapping(bool for_writing) noexcept;
  };
  [[nodiscard]] Entry* find(Handle handle) noexcept;
  [[nodiscard]] Result<Entry*> ready(std::unique_lock<std::mutex>& lock, Handle handle);

  mutable std::mutex mutex_;
  std::condition_variable made_;
  std::unordered_map<Handle, Entry> entries_;
};

}  // namespace resmgr::client
