// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/event_loop.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <stdexcept>
#include <vector>

#include "resmgr/base/packet_socket.hpp"
#include "tests/base/support.hpp"
#include "tests/daemon/event_loop_support.hpp"

namespace resmgr::daemon {
namespace {

using resmgr::test::code_of;
using test::backend_of;
using test::bell;
using test::LoopTest;
using test::Probe;
using test::quiet;
using test::ring;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::array<std::byte, 4> kPacket{};

/// A loop, and two ends of a connection.
class Watchers : public LoopTest {
 protected:
  void SetUp() override {
    LoopTest::SetUp();
    auto ends = PacketSocket::pair(PacketMode::NonBlocking);
    ASSERT_TRUE(ends) << ends.error().message();
    near_ = std::move(ends->first);
    far_ = std::move(ends->second);
  }

  void fill(PacketSocket& socket) {
    while (socket.send(kPacket)) {
    }
  }
  void drain(PacketSocket& socket) {
    while (socket.receive(buffer_)) {
    }
  }

  PacketSocket near_;
  PacketSocket far_;
  std::array<std::byte, 64> buffer_{};
};

TEST_P(Watchers, AreCalledWhenReadable) {
  Probe probe;
  watch(probe, near_.fd(), POLLIN);
  EXPECT_TRUE(probe.watched());
  EXPECT_FALSE(turn());
  ASSERT_TRUE(far_.send(kPacket));
  EXPECT_TRUE(turn_until(kNever));
  EXPECT_THAT(probe.seen, ElementsAre(POLLIN));
}

TEST_P(Watchers, AreCalledWhenWritable) {
  fill(near_);
  Probe probe;
  watch(probe, near_.fd(), POLLOUT);
  EXPECT_FALSE(turn());
  drain(far_);
  EXPECT_TRUE(turn_until(kNever));
  EXPECT_THAT(probe.seen, ElementsAre(POLLOUT));
}

TEST_P(Watchers, AreCalledAgainWhileAnythingIsLeft) {
  constexpr std::size_t kPackets = 3;
  Probe probe([&] { EXPECT_TRUE(near_.receive(buffer_)); });
  watch(probe, near_.fd(), POLLIN);
  for (std::size_t i = 0; i < kPackets; ++i) ASSERT_TRUE(far_.send(kPacket));
  for (std::size_t i = 1; i <= kPackets; ++i) {
    EXPECT_TRUE(turn());
    EXPECT_THAT(probe.seen, SizeIs(i)) << "once a turn";
  }
  EXPECT_FALSE(turn());
}

TEST_P(Watchers, SeeOnlyWhatIsWantedNow) {
  Probe probe;
  watch(probe, near_.fd(), POLLIN);
  EXPECT_FALSE(turn());
  ASSERT_TRUE(loop_->change(probe, POLLIN | POLLOUT));
  EXPECT_TRUE(turn());
  ASSERT_TRUE(far_.send(kPacket));
  EXPECT_TRUE(turn());
  ASSERT_TRUE(loop_->change(probe, POLLIN));
  EXPECT_TRUE(turn());
  EXPECT_THAT(probe.seen, ElementsAre(POLLOUT, POLLIN | POLLOUT, POLLIN));
  ASSERT_TRUE(loop_->change(probe, 0));
  EXPECT_FALSE(turn());
}

TEST_P(Watchers, ForgetTheOldInterestAlsoWithinATurn) {
  const UniqueFd first = bell(1);
  const UniqueFd second = bell(1);
  std::array<Probe, 2> probes;
  // Whichever is called first takes the other's interest away.
  probes[0].on_ready = [&] { ASSERT_TRUE(loop_->change(probes[1], 0)); };
  probes[1].on_ready = [&] { ASSERT_TRUE(loop_->change(probes[0], 0)); };
  watch(probes[0], first.get(), POLLIN);
  watch(probes[1], second.get(), POLLIN);
  EXPECT_TRUE(turn());
  EXPECT_EQ(probes[0].seen.size() + probes[1].seen.size(), 1u);
}

TEST_P(Watchers, SeeAHangUpWithoutAskingForIt) {
  Probe probe;
  watch(probe, near_.fd(), 0);
  ASSERT_TRUE(far_.send(kPacket));
  EXPECT_FALSE(turn());
  far_ = {};
  EXPECT_TRUE(turn_until(kNever));
  EXPECT_TRUE(turn()) << "until it is forgotten";
  ASSERT_THAT(probe.seen, SizeIs(2));
  EXPECT_THAT(probe.seen, Each(POLLHUP | POLLRDHUP));
}

// io_uring wakes for it in any case. A loop that did not report it would go round and round.
TEST_P(Watchers, SeeThatThePeerSendsNoMoreWithoutAskingForIt) {
  Probe probe;
  watch(probe, near_.fd(), 0);
  EXPECT_FALSE(turn());
  ASSERT_EQ(::shutdown(far_.fd(), SHUT_WR), 0);
  EXPECT_TRUE(turn_until(kNever));
  EXPECT_THAT(probe.seen, ElementsAre(POLLRDHUP));
}

TEST_P(Watchers, SeeADescriptorThatWasClosedUnderThem) {
  UniqueFd file = bell();
  Probe probe;
  watch(probe, file.get(), POLLIN);
  file.reset();
  EXPECT_TRUE(turn());
  EXPECT_THAT(probe.seen, ElementsAre(POLLNVAL));
}

TEST_P(Watchers, CanForgetThemselves) {
  const UniqueFd file = bell(1);
  Probe probe;
  probe.on_ready = [&] { loop_->forget(probe); };
  watch(probe, file.get(), POLLIN);
  EXPECT_TRUE(turn());
  EXPECT_FALSE(probe.watched());
  EXPECT_FALSE(turn());
  EXPECT_THAT(probe.seen, SizeIs(1));
  loop_->forget(probe);
  EXPECT_EQ(code_of(loop_->change(probe, POLLIN)), ErrorCode::NotFound);
}

TEST_P(Watchers, CanDestroyThemselvesAndOthersThatAreReadyToo) {
  const std::array<UniqueFd, 3> files{bell(1), bell(1), bell(1)};
  std::vector<std::unique_ptr<Probe>> probes;
  int calls = 0;
  for (const UniqueFd& file : files) {
    probes.push_back(std::make_unique<Probe>());
    probes.back()->on_ready = [&] {
      ++calls;
      // The callback itself goes, too.
      auto gone = std::move(probes);
      probes.clear();
    };
    watch(*probes.back(), file.get(), POLLIN);
  }
  EXPECT_TRUE(turn());
  EXPECT_FALSE(turn());
  EXPECT_EQ(calls, 1);
}

// The number and the place in the loop are used again at once; only the watcher is another.
TEST_P(Watchers, GetNothingOfWhoHadTheirDescriptorBefore) {
  for (const bool ready_at_once : {false, true}) {
    UniqueFd old_file = bell(ready_at_once ? 1 : 0);
    const UniqueFd old_copy = old_file.duplicate().value();
    const int number = old_file.get();
    auto before = std::make_unique<Probe>();
    Probe after;
    Probe bystander([&] {
      before.reset();
      old_file.reset();
      old_file = bell();
      ASSERT_EQ(old_file.get(), number);
      watch(after, old_file.get(), POLLIN);
      loop_->forget(bystander);
      if (!ready_at_once) ring(old_copy);
    });
    const UniqueFd other = bell(1);
    watch(bystander, other.get(), POLLIN);
    watch(*before, old_file.get(), POLLIN);
    EXPECT_TRUE(turn());
    EXPECT_FALSE(turn());
    EXPECT_THAT(after.seen, IsEmpty());
    ring(old_file);
    EXPECT_TRUE(turn());
    EXPECT_THAT(after.seen, ElementsAre(POLLIN));
  }
}

TEST_P(Watchers, LetGoOfTheFileWhenForgotten) {
  Probe probe;
  watch(probe, near_.fd(), POLLIN);
  EXPECT_FALSE(turn());
  loop_->forget(probe);
  near_ = {};
  EXPECT_EQ(code_of(far_.receive(buffer_)), ErrorCode::Disconnected);
  EXPECT_FALSE(turn()) << "what was going on with it is of no interest";
}

TEST_P(Watchers, MayOutliveTheLoopWhichLetsGoOfTheirFiles) {
  Probe probe;
  watch(probe, near_.fd(), POLLIN);
  EXPECT_FALSE(turn());
  loop_.reset();
  EXPECT_FALSE(probe.watched());
  near_ = {};
  EXPECT_EQ(code_of(far_.receive(buffer_)), ErrorCode::Disconnected);
}

TEST_P(Watchers, AreRefusedWhenTheyMakeNoSense) {
  Probe probe;
  EXPECT_EQ(code_of(loop_->watch(probe, -1, POLLIN)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(loop_->watch(probe, near_.fd(), POLLHUP)), ErrorCode::InvalidArgument);
  EXPECT_FALSE(probe.watched());
  watch(probe, near_.fd(), POLLIN);
  EXPECT_EQ(code_of(loop_->watch(probe, near_.fd(), POLLIN)), ErrorCode::AlreadyExists);
  EXPECT_EQ(code_of(loop_->change(probe, POLLHUP)), ErrorCode::InvalidArgument);
  const auto other = EventLoop::create(GetParam()).value();
  EXPECT_EQ(code_of(other->watch(probe, near_.fd(), POLLIN)), ErrorCode::AlreadyExists);
  EXPECT_EQ(code_of(other->change(probe, POLLIN)), ErrorCode::NotFound);
  other->forget(probe);
  EXPECT_TRUE(probe.watched());
}

TEST_P(Watchers, OfOneDescriptorAreAllCalled) {
  const UniqueFd file = bell(1);
  std::array<Probe, 2> probes;
  for (Probe& probe : probes) watch(probe, file.get(), POLLIN);
  EXPECT_TRUE(turn());
  for (const Probe& probe : probes) EXPECT_THAT(probe.seen, SizeIs(1));
}

TEST_P(Watchers, DoNotStarveBesideOneThatIsAlwaysReady) {
  constexpr std::size_t kTurns = 100;
  const UniqueFd always = bell(1);
  const UniqueFd sometimes = bell();
  Probe flood;
  Probe modest([&] { quiet(sometimes); });
  watch(flood, always.get(), POLLIN);
  watch(modest, sometimes.get(), POLLIN);
  for (std::size_t i = 1; i <= kTurns; ++i) {
    ring(sometimes);
    EXPECT_TRUE(turn());
    EXPECT_THAT(modest.seen, SizeIs(i));
    EXPECT_THAT(flood.seen, SizeIs(i));
  }
}

TEST_P(Watchers, ThatThrowLeaveTheOthersForTheNextTurn) {
  const std::array<UniqueFd, 2> files{bell(1), bell(1)};
  std::array<Probe, 2> probes;
  for (std::size_t i = 0; i < files.size(); ++i) {
    probes[i].on_ready = [&, i] {
      loop_->forget(probes[i]);
      throw std::runtime_error("thrown by the test");
    };
    watch(probes[i], files[i].get(), POLLIN);
  }
  EXPECT_THROW((void)loop_->run_once(0), std::runtime_error);
  EXPECT_THROW((void)loop_->run_once(0), std::runtime_error);
  EXPECT_FALSE(turn());
  for (const Probe& probe : probes) EXPECT_THAT(probe.seen, SizeIs(1));
}

TEST_P(Watchers, StopTheLoop) {
  const UniqueFd file = bell(1);
  Probe probe;
  probe.on_ready = [&] {
    if (probe.seen.size() % 2 == 0) loop_->stop();
  };
  watch(probe, file.get(), POLLIN);
  EXPECT_TRUE(loop_->run());
  EXPECT_THAT(probe.seen, SizeIs(2));
  loop_->stop();
  EXPECT_TRUE(loop_->run());
  EXPECT_THAT(probe.seen, SizeIs(2)) << "stopped before it began";
  EXPECT_TRUE(loop_->run());
  EXPECT_THAT(probe.seen, SizeIs(4)) << "once";
}

// A child has the ring's memory in common with its parent.
TEST_P(Watchers, OfAChildDoNotDisturbItsParent) {
  const UniqueFd file = bell();
  auto probe = std::make_unique<Probe>();
  watch(*probe, file.get(), POLLIN);
  EXPECT_FALSE(turn());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Probe another;
    const bool refused =
        code_of(loop_->run_once(0)) == ErrorCode::Disconnected &&
        code_of(loop_->watch(another, file.get(), POLLIN)) == ErrorCode::Disconnected &&
        code_of(loop_->change(*probe, POLLOUT)) == ErrorCode::Disconnected;
    probe.reset();
    loop_.reset();
    ::_exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(turn());
  ring(file);
  EXPECT_TRUE(turn());
  EXPECT_THAT(probe->seen, ElementsAre(POLLIN));
}

INSTANTIATE_TEST_SUITE_P(Backends, Watchers,
                         testing::Values(EventLoop::Backend::Uring, EventLoop::Backend::Poll),
                         backend_of);

/// More watchers than any queue of the ring has room for, each with a descriptor of its own.
class Crowd : public LoopTest {
 protected:
  static constexpr std::size_t kWatchers = 3000;
  static constexpr rlim_t kOthers = 64;

  void SetUp() override {
    LoopTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    if (before_.rlim_max < kWatchers + kOthers) GTEST_SKIP() << "too few descriptors allowed";
    rlimit raised = before_;
    raised.rlim_cur = std::max<rlim_t>(before_.rlim_cur, kWatchers + kOthers);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &raised), 0);
    raised_ = true;
    while (probes_.size() < kWatchers) {
      files_.push_back(bell_.duplicate().value());
      watch(probes_.emplace_back(), files_.back().get(), POLLIN);
    }
  }
  void TearDown() override {
    probes_.clear();
    files_.clear();
    if (raised_) {
      EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0);
    }
  }

  /// How many were called `calls` times.
  std::ptrdiff_t called(std::size_t calls) {
    return std::ranges::count_if(probes_,
                                 [&](const Probe& probe) { return probe.seen.size() == calls; });
  }

  rlimit before_{};
  bool raised_ = false;
  const UniqueFd bell_ = bell();
  std::vector<UniqueFd> files_;
  std::deque<Probe> probes_;
};

TEST_P(Crowd, IsCalledOnceATurn) {
  EXPECT_FALSE(turn());
  // They wait; all wake at once, and find the completion queue too short.
  ring(bell_);
  EXPECT_TRUE(turn());
  EXPECT_EQ(called(1), kWatchers);
  // They are ready from the start.
  EXPECT_TRUE(turn());
  EXPECT_EQ(called(2), kWatchers);
  quiet(bell_);
  EXPECT_FALSE(turn());
}

TEST_P(Crowd, IsForgottenByTheFirstOfIt) {
  EXPECT_FALSE(turn());
  for (Probe& probe : probes_) {
    probe.on_ready = [&] {
      for (Probe& other : probes_) loop_->forget(other);
    };
  }
  ring(bell_);
  EXPECT_TRUE(turn());
  EXPECT_FALSE(turn());
  EXPECT_EQ(called(1), 1);
  EXPECT_EQ(called(0), kWatchers - 1);
}

TEST_P(Crowd, ChangesItsMindAtOnce) {
  EXPECT_FALSE(turn());
  for (Probe& probe : probes_) ASSERT_TRUE(loop_->change(probe, POLLOUT));
  EXPECT_TRUE(turn());
  EXPECT_EQ(called(1), kWatchers);
  for (Probe& probe : probes_) ASSERT_TRUE(loop_->change(probe, POLLIN));
  EXPECT_FALSE(turn());
}

INSTANTIATE_TEST_SUITE_P(Backends, Crowd,
                         testing::Values(EventLoop::Backend::Uring, EventLoop::Backend::Poll),
                         backend_of);

}  // namespace
}  // namespace resmgr::daemon
