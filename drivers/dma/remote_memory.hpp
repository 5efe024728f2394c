// SPDX-License-Identifier: Apache-2.0
//
// RemoteMemory: memory of another process, mapped here so that an engine can work on it.
//
// What it is: a whole memfd that can't shrink any more. Its owner can change the bytes at any time,
// but nothing that he does to the file makes an access here fault: files that can be cut, huge
// pages (which can be punched out when there is no other), and files that a process serves (FUSE)
// are refused. What it is not: paid for by its owner alone: pages that are touched here first are
// charged to this process's control group.
//
// Lifetime: mapped as long as the object; the descriptor is closed after mapping. Thread-safety: as
// a plain value.
//
//   auto memory = RemoteMemory::map(std::move(received), Access::ReadWrite).value();
//   auto id = channel.attach_buffer(memory.bytes());
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include <hal/resource.hpp>

#include "drivers/dma/buffer_table.hpp"

namespace drivers::dma {

class RemoteMemory {
 public:
  /// Maps all of `memory`, as large as it is now. Errors: InvalidArgument (not a memfd, not sealed
  /// with F_SEAL_SHRINK, of huge pages, or empty), NotPermitted (not open for that access, or
  /// sealed against it), System.
  [[nodiscard]] static hal::Result<RemoteMemory> map(hal::UniqueFd memory, Access access) noexcept;

  RemoteMemory(RemoteMemory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  RemoteMemory& operator=(RemoteMemory&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  RemoteMemory(const RemoteMemory&) = delete;
  RemoteMemory& operator=(const RemoteMemory&) = delete;
  ~RemoteMemory();

  /// Writable only if mapped with Access::ReadWrite.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  explicit RemoteMemory(std::span<std::byte> bytes) noexcept : bytes_(bytes) {}

  std::span<std::byte> bytes_;
};

}  // namespace drivers::dma
