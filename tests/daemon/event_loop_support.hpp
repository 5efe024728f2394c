// SPDX-License-Identifier: Apache-2.0
//
// What tests of the event loop share: a watcher and a timer that call back, descriptors that are
// ready when the test says so, and the fixture that goes over the backends.
#pragma once

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/event_loop.hpp"

namespace resmgr::daemon::test {

/// Keeps what it was told, and then calls `on_ready`.
class Probe final : public Watcher {
 public:
  explicit Probe(std::function<void()> callback = {}) : on_ready(std::move(callback)) {}

  std::function<void()> on_ready;
  std::vector<unsigned> seen;

 private:
  void ready(unsigned events) override {
    seen.push_back(events);
    if (on_ready) on_ready();
  }
};

class Alarm final : public Timer {
 public:
  explicit Alarm(std::function<void()> callback = {}) : on_expiry(std::move(callback)) {}

  std::function<void()> on_expiry;
  std::vector<std::uint64_t> seen;

 private:
  void expired(std::uint64_t now_ns) override {
    seen.push_back(now_ns);
    if (on_expiry) on_expiry();
  }
};

/// An eventfd: readable while its count is above 0.
inline UniqueFd bell(unsigned count = 0) {
  return UniqueFd(::eventfd(count, EFD_CLOEXEC | EFD_NONBLOCK));
}
inline void ring(const UniqueFd& bell) { EXPECT_EQ(::eventfd_write(bell.get(), 1), 0); }
inline void quiet(const UniqueFd& bell) {
  eventfd_t count = 0;
  EXPECT_EQ(::eventfd_read(bell.get(), &count), 0);
}

/// One body, both backends.
class LoopTest : public testing::TestWithParam<EventLoop::Backend> {
 protected:
  void SetUp() override {
    auto created = EventLoop::create(GetParam());
    if (!created && GetParam() == EventLoop::Backend::Uring) {
      GTEST_SKIP() << "no io_uring here: " << created.error().message();
    }
    ASSERT_TRUE(created) << created.error().message();
    loop_ = *std::move(created);
  }

  /// A turn that waits for nothing. Whether anything was called.
  bool turn() { return turn_until(0); }
  bool turn_until(std::uint64_t deadline_ns) {
    const auto called = loop_->run_once(deadline_ns);
    EXPECT_TRUE(called) << called.error().message();
    return called.value_or(false);
  }
  void watch(Watcher& watcher, int fd, unsigned events) {
    const auto watched = loop_->watch(watcher, fd, events);
    EXPECT_TRUE(watched) << watched.error().message();
  }

  std::unique_ptr<EventLoop> loop_;
};

inline std::string backend_of(const testing::TestParamInfo<EventLoop::Backend>& info) {
  return info.param == EventLoop::Backend::Uring ? "Uring" : "Poll";
}

}  // namespace resmgr::daemon::test
