// SPDX-License-Identifier: Apache-2.0
//
// The bare operations that asynchronous waits are measured against.
//
// What it is: an io_uring, and futexes that are waited for on it with IORING_OP_FUTEX_WAIT, set up
// as the library sets them up. What it is not: a lock. Lifetime: closes the ring. Throws Skip where
// the kernel has none of that. Thread-safety: none.
//
//   futexes.arm(ring, 0, user_data, false);
//   ring.submit();
//   futexes.wake(0);
//   ring.next();
#pragma once

#include <liburing.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <stdexcept>

#include "resmgr/base/futex.hpp"
#include "tests/bench/harness.hpp"

namespace bench {

class UringOwner {
 public:
  explicit UringOwner(unsigned submissions, unsigned completions = 0) {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN;
    if (completions != 0) {
      parameters.flags |= IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
      parameters.cq_entries = completions;
    }
    if (::io_uring_queue_init_params(submissions, &ring_, &parameters) != 0) {
      throw Skip("no io_uring here");
    }
  }
  ~UringOwner() { ::io_uring_queue_exit(&ring_); }
  UringOwner(const UringOwner&) = delete;
  UringOwner& operator=(const UringOwner&) = delete;

  [[nodiscard]] io_uring_sqe* entry() { return ::io_uring_get_sqe(&ring_); }
  void submit() {
    if (::io_uring_submit(&ring_) < 0) throw std::runtime_error("io_uring_submit");
  }
  /// The next completion, waited for.
  [[nodiscard]] io_uring_cqe next() {
    io_uring_cqe* seen = nullptr;
    while (const int result = ::io_uring_wait_cqe(&ring_, &seen)) {
      if (result != -EINTR) throw std::runtime_error("io_uring_wait_cqe");
    }
    const io_uring_cqe copy = *seen;
    ::io_uring_cqe_seen(&ring_, seen);
    return copy;
  }

 private:
  io_uring ring_{};
};

class RawFutexes {
 public:
  explicit RawFutexes(std::uint32_t count) : words_(new Word[count]) {}

  void arm(UringOwner& ring, std::uint32_t index, std::uint64_t user_data, bool timed) {
    constexpr int kFutexWait = 51;
    constexpr int kFutexOf32Bits = 2;
    io_uring_sqe* const sqe = ring.entry();
    ::io_uring_prep_rw(kFutexWait, sqe, kFutexOf32Bits, &words_[index].value, 0,
                       words_[index].value);
    sqe->addr3 = 0xffffffff;
    sqe->user_data = user_data;
    if (!timed) return;
    sqe->flags |= IOSQE_IO_LINK;
    ::io_uring_prep_link_timeout(ring.entry(), &kLate, 0);
  }
  void wake(std::uint32_t index) {
    ++words_[index].value;
    if (resmgr::futex_wake(&words_[index].value, 1) != 1) {
      throw std::runtime_error("nobody waited for the futex");
    }
  }

 private:
  static inline __kernel_timespec kLate{.tv_sec = 3600, .tv_nsec = 0};
  struct alignas(64) Word {
    std::uint32_t value = 0;
  };
  std::unique_ptr<Word[]> words_;
};

}  // namespace bench
