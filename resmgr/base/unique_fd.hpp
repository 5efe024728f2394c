// SPDX-License-Identifier: Apache-2.0
//
// UniqueFd: one open file descriptor, closed when it goes out of scope.
//
// What it is: sole owner, movable, not copyable; -1 is empty. What it is not: shared; use
// `duplicate()` for a second descriptor of the same file. Thread-safety: as an int.
//
//   UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
//   if (!fd) return fail_errno(errno, "eventfd");
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "resmgr/base/error.hpp"

namespace resmgr {

class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int get() const noexcept { return fd_; }
  /// Gives the descriptor to the caller, who closes it.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  /// A second descriptor, close-on-exec. Errors: System, CapacityExceeded (EMFILE).
  [[nodiscard]] Result<UniqueFd> duplicate() const noexcept {
    UniqueFd copy(::fcntl(fd_, F_DUPFD_CLOEXEC, 0));
    if (!copy) return fail_errno(errno, "fcntl(F_DUPFD_CLOEXEC)");
    return copy;
  }

 private:
  int fd_ = -1;
};

}  // namespace resmgr
