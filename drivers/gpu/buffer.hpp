// SPDX-License-Identifier: Apache-2.0
//
// Buffer: one picture in memory that drivers and devices share, the same for every backend.
//
// What it is: sizes and format, mapping, accesses by the CPU that are announced and ended, and
// export as a file. What it is not: a lock between drivers; that is the resource of the same name,
// and an access by the CPU asks for a hold on it: exclusive to write, shared or exclusive to read.
//
// Nesting: any number of read accesses at a time, or one write access and nothing else, within this
// process; other processes are kept out by the hold. Maps are counted; each access holds one too,
// so that memory never goes away under it. Keep one map of your own if you access often. Lifetime:
// shared; outlives its driver and its resource. Thread-safety: all functions may be called from any
// thread.
//
//   auto hold = manager.acquire_scoped_resource(buffer->handle()).value();
//   auto access = buffer->begin_cpu_access(hold, CpuAccess::Write).value();
//   draw(access.writable(), buffer->layout().stride);
//   access.end();
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include <hal/refs.hpp>
#include <hal/resource.hpp>

#include "drivers/gpu/backend.hpp"
#include "drivers/gpu/layout.hpp"

namespace drivers::gpu {

class Buffer;

/// An access by the CPU that was begun; ends with its scope.
class [[nodiscard]] CpuAccessScope {
 public:
  CpuAccessScope(CpuAccessScope&& other) noexcept;
  CpuAccessScope& operator=(CpuAccessScope&& other) noexcept;
  CpuAccessScope(const CpuAccessScope&) = delete;
  CpuAccessScope& operator=(const CpuAccessScope&) = delete;
  ~CpuAccessScope();

  /// Ends the access. Errors: InvalidArgument (ended already), System (the access counts as ended).
  hal::Result<void> end() noexcept;
  /// The picture; empty after the end.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// The same for a write access; empty for a read access.
  [[nodiscard]] std::span<std::byte> writable() const noexcept;

 private:
  friend class Buffer;
  CpuAccessScope(std::shared_ptr<Buffer> buffer, CpuAccess access,
                 std::span<std::byte> bytes) noexcept;

  std::shared_ptr<Buffer> buffer_;
  CpuAccess access_;
  std::span<std::byte> bytes_;
};

class Buffer : public std::enable_shared_from_this<Buffer> {
  struct Key {};  // only GpuDriver has one
  friend class GpuDriver;

 public:
  Buffer(Key, const Backend& backend, std::unique_ptr<Storage> storage, const BufferLayout& layout);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  [[nodiscard]] const BufferLayout& layout() const noexcept { return layout_; }
  /// The resource it is registered as.
  [[nodiscard]] hal::Handle handle() const noexcept { return handle_; }
  [[nodiscard]] const Backend& backend() const noexcept { return *backend_; }

  /// Maps the picture, and counts: each call needs an unmap(). For engines that are given addresses
  /// (a DMA channel); a CPU brackets what it does by begin_cpu_access. Errors: NotPermitted (the
  /// usage excludes CpuWrite), System.
  [[nodiscard]] hal::Result<std::span<std::byte>> map();
  /// As map(), for reading. Errors: NotPermitted (the usage excludes CpuRead), System.
  [[nodiscard]] hal::Result<std::span<const std::byte>> map_read();
  /// Gives one map back; addresses are invalid after the last, if no access goes on. Errors:
  /// InvalidArgument (nothing is mapped by map or map_read).
  hal::Result<void> unmap();

  /// Begins an access. `hold` must outlive it. Errors: InvalidArgument (an empty hold, one of
  /// another resource, an unknown access), NotPermitted (the usage excludes it, or writing with a
  /// shared hold), InUse (writing while any access goes on, reading while a write access does),
  /// System.
  [[nodiscard]] hal::Result<CpuAccessScope> begin_cpu_access(const hal::ScopedResource& hold,
                                                             CpuAccess access);

  /// A descriptor of the memory that another process or driver can import; its size can't change.
  /// Errors: NotPermitted (the usage excludes Export), System, CapacityExceeded (descriptors).
  [[nodiscard]] hal::Result<hal::UniqueFd> export_fd() const;

 private:
  friend class CpuAccessScope;
  /// Adds one user of the mapping, and makes it for the first.
  [[nodiscard]] hal::Result<std::span<std::byte>> pin();
  void unpin() noexcept;
  hal::Result<std::span<std::byte>> map_for(BufferUsage usage);
  hal::Result<void> end_access(CpuAccess access) noexcept;

  const Backend* backend_;
  std::unique_ptr<Storage> storage_;
  BufferLayout layout_;
  hal::Handle handle_;  // written before anyone else has the buffer

  std::mutex mutex_;  // for what follows, and the operations on storage_
  std::byte* address_ = nullptr;
  std::uint32_t pins_ = 0;  // maps and accesses
  std::uint32_t maps_ = 0;
  std::uint32_t readers_ = 0;
  bool writing_ = false;
};

}  // namespace drivers::gpu
