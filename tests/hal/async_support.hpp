// SPDX-License-Identifier: Apache-2.0
//
// An io_uring for tests of what waits on one.
//
// What it is: a ring of the test's own, as an author has it: entries are filled by prepare(), and
// completions handed back one by one. What it is not: hal::Ring. Lifetime: closes the ring.
// Thread-safety: none.
#pragma once

#include <liburing.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <gtest/gtest.h>

#include <hal/async_acquire.hpp>

namespace hal::test {

[[nodiscard]] inline std::string name_of_path(const ::testing::TestParamInfo<AsyncPath>& path) {
  return path.param == AsyncPath::Futex ? "Futex" : "Doorbell";
}

class AuthorsRing {
 public:
  /// `completions`: how many have room; 0: as many as the kernel thinks fit.
  explicit AuthorsRing(unsigned entries = 64, unsigned completions = 0, unsigned flags = 0) {
    io_uring_params params{};
    params.flags = flags | (completions != 0 ? IORING_SETUP_CQSIZE : 0u);
    params.cq_entries = completions;
    open_ = ::io_uring_queue_init_params(entries, &ring_, &params) == 0;
  }
  ~AuthorsRing() {
    if (open_) ::io_uring_queue_exit(&ring_);
  }
  AuthorsRing(const AuthorsRing&) = delete;
  AuthorsRing& operator=(const AuthorsRing&) = delete;

  [[nodiscard]] bool is_open() const { return open_; }
  [[nodiscard]] io_uring& raw() { return ring_; }

  /// Prepares what is due and submits it.
  template <typename Wait>
  [[nodiscard]] Result<void> arm(Wait& wait, std::uint64_t user_data) {
    std::array<io_uring_sqe*, 2> entries{};
    for (unsigned i = 0; i < wait.submissions(); ++i) entries[i] = ::io_uring_get_sqe(&ring_);
    auto prepared = wait.prepare(entries, user_data);
    if (prepared) ::io_uring_submit(&ring_);
    return prepared;
  }
  /// The next completion, waited for.
  [[nodiscard]] io_uring_cqe next() {
    io_uring_cqe* seen = nullptr;
    while (::io_uring_wait_cqe(&ring_, &seen) == -EINTR) {
    }
    const io_uring_cqe copy = *seen;
    ::io_uring_cqe_seen(&ring_, seen);
    return copy;
  }
  [[nodiscard]] bool has_more() {
    io_uring_cqe* seen = nullptr;
    return ::io_uring_peek_cqe(&ring_, &seen) == 0;
  }
  /// Goes on until it is done.
  template <typename Wait>
  void finish(Wait& wait, std::uint64_t user_data) {
    while (!wait.done()) {
      if (wait.submissions() != 0) {
        ASSERT_TRUE(arm(wait, user_data));
      }
      const io_uring_cqe seen = next();
      ASSERT_NE(wait.complete(&seen), AsyncAcquire::Step::NotMine);
    }
  }

 private:
  io_uring ring_{};
  bool open_ = false;
};

}  // namespace hal::test
