// SPDX-License-Identifier: Apache-2.0
//
// Presence: by which others see that a process still has a file that they share.
//
// What it is: a read lock of fcntl(2) on one byte of the file, of an open file description that
// nobody else has. It ends with the descriptor, so at the latest with the process or when that
// calls exec, and nobody has to be told, or to look at that moment. What it is not: a proof against
// the hostile, for whoever has the file may lock any byte of it; nor is its want a proof that
// somebody is gone, for who does not see /proc needs another one to open the file for it.
//
// Fork: a child has the same description; it lets go of it, and the parent's stays.
//
// Lifetime: owns a descriptor, and needs the file no more. Thread-safety: end() from any thread;
// otherwise as a plain value.
//
//   auto presence = Presence::mark(region.fd(), client);     // a client
//   if (!Presence::is_marked(region.fd(), client)) bury(client);   // who looks after it
#pragma once

#include <cstdint>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgr {

class Presence {
 public:
  /// None.
  Presence() noexcept = default;
  /// Marks the byte of that number, which the file need not have. Errors: System, NotPermitted (the
  /// file can't be opened anew by way of /proc), CapacityExceeded (no descriptor left).
  [[nodiscard]] static Result<Presence> mark(int file, std::uint32_t number) noexcept;
  /// The same, where somebody else opened the file for this process alone. Errors: System.
  [[nodiscard]] static Result<Presence> mark_own(UniqueFd own, std::uint32_t number) noexcept;
  /// Whether anybody has marked it.
  [[nodiscard]] static bool is_marked(int file, std::uint32_t number) noexcept;

  /// Nobody sees it any more; the descriptor stays.
  void end() noexcept;

 private:
  explicit Presence(UniqueFd file) noexcept : file_(std::move(file)) {}
  UniqueFd file_;
};

}  // namespace resmgr
