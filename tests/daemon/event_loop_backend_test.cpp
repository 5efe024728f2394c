// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/event_loop_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "resmgr/base/clock.hpp"
#include "resmgr/daemon/event_loop.hpp"
#include "tests/base/support.hpp"
#include "tests/daemon/event_loop_support.hpp"

namespace resmgr::daemon {
namespace {

using resmgr::test::code_of;
using test::Alarm;
using test::bell;
using test::Probe;
using testing::ElementsAre;

template <int kErrno>
Result<std::unique_ptr<Poller>> refuse() {
  return fail_errno(kErrno, "refused by the test");
}
template <int kErrno>
constexpr LoopBackend kRefused{.name = "refused", .create = refuse<kErrno>};

Result<std::unique_ptr<Poller>> lack() { return fail(ErrorCode::Unsupported); }
constexpr LoopBackend kLacking{.name = "lacking", .create = lack};

TEST(LoopBackends, AreTriedInTurnWhereTheMachineRefuses) {
  for (const LoopBackend* refused : {&kRefused<EPERM>, &kRefused<EACCES>, &kRefused<ENOSYS>,
                                     &kRefused<EOPNOTSUPP>, &kRefused<ENOMEM>, &kLacking}) {
    const std::array<const LoopBackend*, 3> candidates{refused, refused, &kPollBackend};
    const auto loop = EventLoop::create(candidates);
    ASSERT_TRUE(loop) << loop.error().message();
    EXPECT_EQ((*loop)->backend_name(), "poll");
  }
}

TEST(LoopBackends, AreNotTriedOnAfterOtherErrors) {
  const std::array<const LoopBackend*, 2> candidates{&kRefused<EMFILE>, &kPollBackend};
  EXPECT_EQ(code_of(EventLoop::create(candidates)), ErrorCode::CapacityExceeded);
}

TEST(LoopBackends, TellWhyTheLastOneWasRefused) {
  const std::array<const LoopBackend*, 2> candidates{&kRefused<ENOSYS>, &kRefused<EPERM>};
  const auto loop = EventLoop::create(candidates);
  ASSERT_FALSE(loop);
  EXPECT_EQ(loop.error(), ErrorCode::NotPermitted);
  EXPECT_EQ(loop.error().system_errno(), EPERM);
}

/// From here on io_uring_setup(2) fails in this process, as it does in many containers.
bool forbid_io_uring(int error) {
  std::array<sock_filter, 4> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/// 0 if the loop does without io_uring, otherwise which step went wrong.
int without_io_uring(int error) {
  if (!forbid_io_uring(error)) return 1;
  const auto refused = EventLoop::create(EventLoop::Backend::Uring);
  if (refused || refused.error().system_errno() != error) return 2;
  const auto loop = EventLoop::create();
  if (!loop || (*loop)->backend_name() != "poll") return 3;
  const UniqueFd file = bell(1);
  Probe probe;
  if (!(*loop)->watch(probe, file.get(), POLLIN) || (*loop)->run_once(kNever) != true) return 4;
  return 0;
}

TEST(LoopBackends, DoWithoutIoUringWhereItIsForbidden) {
  for (const int error : {EPERM, ENOSYS}) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) ::_exit(without_io_uring(error));
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0) << "errno " << error;
  }
}

TEST(LoopBackends, OfPollTakeNoMoreThanThereCanBeDescriptors) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const auto loop = EventLoop::create(EventLoop::Backend::Poll).value();
  const UniqueFd file = bell(1);
  // Some for the sanitizers, which open descriptors of their own.
  constexpr std::size_t kLimit = 64;
  std::array<Probe, kLimit + 1> probes;
  for (Probe& probe : probes) ASSERT_TRUE(loop->watch(probe, file.get(), POLLIN));
  loop->forget(probes.back());
  rlimit lowered = before;
  lowered.rlim_cur = kLimit;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lowered), 0);
  const auto refused = loop->watch(probes.back(), file.get(), POLLIN);
  const auto called = loop->run_once(0);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(code_of(refused), ErrorCode::CapacityExceeded);
  EXPECT_EQ(called, true);
}

/// What the fake is to do, and what it was told.
struct Script {
  ErrorCode add_fails{};
  ErrorCode wait_fails{};
  std::vector<std::uint32_t> added;
  std::vector<std::uint32_t> removed;
  std::vector<std::uint64_t> waited_until;
};

/// A kernel that does as the test says.
class FakePoller final : public Poller {
 public:
  using Poller::time_left;
  // A backend is made by a plain function, so that what it is to do stands here.
  static inline Script script;

  Result<void> add(std::uint32_t index, int /*fd*/, unsigned /*events*/) override {
    if (script.add_fails != ErrorCode{}) return fail(script.add_fails);
    script.added.push_back(index);
    return {};
  }
  void change(std::uint32_t /*index*/, unsigned /*events*/) noexcept override {}
  void remove(std::uint32_t index) noexcept override { script.removed.push_back(index); }
  Result<void> wait(std::uint64_t deadline_ns,
                    std::vector<FdReport>& /*reports*/) noexcept override {
    script.waited_until.push_back(deadline_ns);
    if (script.wait_fails != ErrorCode{}) return fail(script.wait_fails);
    return {};
  }
};

Result<std::unique_ptr<Poller>> fake() { return std::make_unique<FakePoller>(); }
constexpr LoopBackend kFake{.name = "fake", .create = fake};

class FakeBackend : public testing::Test {
 protected:
  void SetUp() override {
    FakePoller::script = Script{};
    constexpr std::array<const LoopBackend*, 1> kCandidates{&kFake};
    loop_ = EventLoop::create(kCandidates).value();
  }

  Script& script_ = FakePoller::script;
  std::unique_ptr<EventLoop> loop_;
  const UniqueFd file_ = bell();
};

TEST_F(FakeBackend, ThatRefusesADescriptorLeavesTheWatcherUnwatched) {
  script_.add_fails = ErrorCode::CapacityExceeded;
  {
    Probe probe;
    EXPECT_EQ(code_of(loop_->watch(probe, file_.get(), POLLIN)), ErrorCode::CapacityExceeded);
    EXPECT_FALSE(probe.watched());
  }
  EXPECT_THAT(script_.removed, ElementsAre());
  script_.add_fails = {};
  Probe probe;
  EXPECT_TRUE(loop_->watch(probe, file_.get(), POLLIN));
  EXPECT_THAT(script_.added, ElementsAre(0)) << "the index is still free";
}

TEST_F(FakeBackend, IsToldOnceOfWhoGoes) {
  {
    std::array<Probe, 2> probes;
    for (Probe& probe : probes) EXPECT_TRUE(loop_->watch(probe, file_.get(), POLLIN));
    EXPECT_THAT(script_.added, ElementsAre(0, 1));
    loop_->forget(probes[0]);
    loop_->forget(probes[0]);
    EXPECT_THAT(script_.removed, ElementsAre(0));
    loop_.reset();
    EXPECT_THAT(script_.removed, ElementsAre(0, 1));
  }
  EXPECT_THAT(script_.removed, ElementsAre(0, 1));
}

TEST_F(FakeBackend, IsNotToldOfWhoGoesInAChild) {
  auto probe = std::make_unique<Probe>();
  ASSERT_TRUE(loop_->watch(*probe, file_.get(), POLLIN));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    probe.reset();
    loop_.reset();
    ::_exit(script_.removed.empty() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// What is left is added to the time that it is, in the kernel, and must not become the past.
TEST_F(FakeBackend, NeverWaitsLongerThanTheKernelCanCount) {
  constexpr auto kLast = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  EXPECT_LT(FakePoller::time_left(kNever), kLast - Clock::now());
  EXPECT_GT(FakePoller::time_left(kNever), kLast / 3);
  EXPECT_EQ(FakePoller::time_left(Clock::now()), 0u);
}

TEST_F(FakeBackend, ThatFailsEndsTheLoop) {
  script_.wait_fails = ErrorCode::System;
  EXPECT_EQ(code_of(loop_->run()), ErrorCode::System);
  EXPECT_EQ(code_of(loop_->run_once(0)), ErrorCode::System);
}

TEST_F(FakeBackend, WaitsForWhatComesFirst) {
  EXPECT_EQ(loop_->run_once(kNever), false);
  Alarm alarm;
  loop_->arm(alarm, kNever - 1);
  EXPECT_EQ(loop_->run_once(kNever), false);
  EXPECT_EQ(loop_->run_once(1), false);
  loop_->disarm(alarm);
  EXPECT_EQ(loop_->run_once(kNever), false);
  EXPECT_THAT(script_.waited_until, ElementsAre(kNever, kNever - 1, 1, kNever));
}

}  // namespace
}  // namespace resmgr::daemon
