// SPDX-License-Identifier: Apache-2.0
//
// What the kernel may refuse or run out of: submission and completion queues that are full, rings
// that may not do what waiting takes. No outcome is lost, and none comes twice.
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <hal/ring.hpp>

#include "tests/hal/async_support.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using Step = AsyncAcquire::Step;

constexpr std::uint64_t kNobody = ~std::uint64_t{0};

class AsyncFaultTest : public ManagerTest, public ::testing::WithParamInterface<AsyncPath> {
 protected:
  void SetUp() override {
    restart({.async_path = GetParam()});
    other_.emplace(manager_->create_context().value());
  }
  /// So many resources, which this thread holds.
  void hold(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      handles_.push_back(add("gpu0/frame/" + std::to_string(i)));
      holds_.push_back(manager_->try_acquire(handles_.back()).value());
    }
  }
  /// Of the other context; every second one with a deadline, which takes a second submission.
  [[nodiscard]] AcquireOptions wanted(std::size_t i) {
    return {.mode = i % 2 == 0 ? AcquisitionMode::Blocking : AcquisitionMode::Timeout,
            .timeout = hours(1),
            .context = &*other_};
  }
  void begin_all() {
    for (std::size_t i = 0; i < handles_.size(); ++i) {
      waits_.emplace_back(*manager_, handles_[i], wanted(i));
      ASSERT_FALSE(waits_.back().done());
    }
  }
  /// Prepares what the wait wants, or nothing: then its entries are filled, as they must be.
  [[nodiscard]] static Result<void> prepare(AuthorsRing& ring, AsyncAcquire& wait,
                                            std::uint64_t user_data) {
    std::array<io_uring_sqe*, 2> entries{};
    const auto due = std::span(entries).first(wait.submissions());
    for (io_uring_sqe*& sqe : due) sqe = ::io_uring_get_sqe(&ring.raw());
    auto prepared = wait.prepare(due, user_data);
    if (prepared) return prepared;
    for (io_uring_sqe* sqe : due) {
      if (!sqe) continue;
      ::io_uring_prep_nop(sqe);
      ::io_uring_sqe_set_data64(sqe, kNobody);
    }
    return prepared;
  }
  /// Prepares and submits them all. Returns how often the queue was full.
  std::size_t arm_all(AuthorsRing& ring) {
    std::size_t full = 0;
    for (std::size_t i = 0; i < waits_.size(); ++i) {
      while (waits_[i].submissions() != 0) {
        const auto prepared = prepare(ring, waits_[i], i);
        if (prepared) break;
        EXPECT_EQ(prepared.error(), ErrorCode::CapacityExceeded);
        EXPECT_GE(::io_uring_submit(&ring.raw()), 0);
        ++full;
      }
    }
    ::io_uring_submit(&ring.raw());
    return full;
  }
  /// Takes completions until each wait is done, and each has been told once.
  void complete_all(AuthorsRing& ring) {
    std::size_t open = waits_.size();
    while (open != 0) {
      const io_uring_cqe seen = ring.next();
      if (seen.user_data == kNobody) continue;
      AsyncAcquire& wait = waits_.at(seen.user_data);
      const Step step = wait.complete(&seen);
      ASSERT_NE(step, Step::NotMine);
      if (step == Step::Rearm) {
        ASSERT_TRUE(ring.arm(wait, seen.user_data));
      }
      if (step == Step::Done) --open;
    }
  }
  void let_all_go() {
    for (ScopedResource& held : holds_) ASSERT_TRUE(held.release());
  }
  void expect_all_granted() {
    for (AsyncAcquire& wait : waits_) {
      const auto hold = wait.take();
      EXPECT_TRUE(hold) << hold.error().message();
    }
    waits_.clear();
    for (const Handle handle : handles_) EXPECT_TRUE(manager_->try_acquire(handle));
  }

  std::optional<Context> other_;
  std::vector<Handle> handles_;
  std::vector<ScopedResource> holds_;
  std::deque<AsyncAcquire> waits_;
};

TEST_P(AsyncFaultTest, AFullSubmissionQueueIsSubmittedAndTriedAgain) {
  AuthorsRing ring(2);
  ASSERT_TRUE(ring.is_open());
  hold(300);
  begin_all();
  EXPECT_GE(arm_all(ring), 100u) << "it was to be full";
  let_all_go();
  complete_all(ring);
  expect_all_granted();
  EXPECT_FALSE(ring.has_more());
}

TEST_P(AsyncFaultTest, CompletionsThatFindNoRoomAreNotLost) {
  AuthorsRing ring(2, 2);
  ASSERT_TRUE(ring.is_open());
  hold(300);
  begin_all();
  (void)arm_all(ring);
  let_all_go();
  // More than two are kept by the kernel until there is room.
  while ((IO_URING_READ_ONCE(*ring.raw().sq.kflags) & IORING_SQ_CQ_OVERFLOW) == 0) {
    ASSERT_GE(::io_uring_get_events(&ring.raw()), 0);
  }
  complete_all(ring);
  expect_all_granted();
}

TEST_P(AsyncFaultTest, ARingOfOneEntryTellsThousandsOnce) {
  constexpr std::size_t kWaits = 4000;
  const auto ring = Ring::create({.entries = 1, .async_path = GetParam()}).value();
  hold(kWaits);
  std::vector<int> told(kWaits);
  for (std::size_t i = 0; i < kWaits; ++i) {
    ASSERT_TRUE(ring->acquire(*manager_, handles_[i], wanted(i), [&told, i](auto had) {
      EXPECT_TRUE(had) << had.error().message();
      ++told[i];
    }));
  }
  EXPECT_EQ(ring->poll().value(), 0u);
  EXPECT_EQ(ring->pending(), kWaits);
  let_all_go();
  ASSERT_TRUE(ring->run());
  EXPECT_EQ(told, std::vector<int>(kWaits, 1));
  expect_all_granted();
}

TEST_P(AsyncFaultTest, ThousandsAreCancelledAtOnce) {
  constexpr std::size_t kWaits = 4000;
  const auto ring = Ring::create({.entries = 1, .async_path = GetParam()}).value();
  hold(kWaits);
  std::vector<Ring::Token> tokens;
  std::size_t told = 0;
  for (std::size_t i = 0; i < kWaits; ++i) {
    const auto token = ring->acquire(*manager_, handles_[i], wanted(i), [&told](auto had) {
      EXPECT_EQ(code_of(had), ErrorCode::Cancelled);
      ++told;
    });
    tokens.push_back(token.value());
  }
  EXPECT_EQ(ring->poll().value(), 0u);
  for (const Ring::Token token : tokens) EXPECT_TRUE(ring->cancel(token));
  ASSERT_TRUE(ring->run());
  EXPECT_EQ(told, kWaits);
  let_all_go();
  expect_all_granted();
}

// By way of a completion that the test makes up: whatever it says, the wait goes on.
TEST_P(AsyncFaultTest, ARefusedSubmissionIsNotAnOutcome) {
  for (const int result : {-EINVAL, -EOPNOTSUPP, -ENOSYS, -EACCES, -EPERM, -ENOMEM, -EFAULT}) {
    AuthorsRing ring;
    hold(1);
    begin_all();
    AsyncAcquire& wait = waits_.front();
    io_uring_sqe never_submitted{};
    std::array<io_uring_sqe*, 1> entries{&never_submitted};
    ASSERT_TRUE(wait.prepare(entries, 0));
    io_uring_cqe completion{};
    completion.res = result;
    EXPECT_EQ(wait.complete(&completion), Step::Rearm) << result;
    EXPECT_EQ(wait.submissions(), 1u);
    let_all_go();
    const bool has_another_way =
        GetParam() == AsyncPath::Futex || result == -ENOMEM || result == -EFAULT;
    if (has_another_way) {
      ring.finish(wait, 0);
    } else {
      EXPECT_EQ(prepare(ring, wait, 0).error(), ErrorCode::Unsupported);
      EXPECT_TRUE(wait.check());
    }
    expect_all_granted();
    ASSERT_TRUE(manager_->unregister_resource(handles_.front()));
    handles_.clear();
    holds_.clear();
  }
}

/// A ring that may do NOP and these.
class RestrictedRing : public AuthorsRing {
 public:
  explicit RestrictedRing(const std::vector<int>& operations)
      : AuthorsRing(64, 0, IORING_SETUP_R_DISABLED) {
    std::vector<io_uring_restriction> rules;
    const auto allow = [&rules](std::uint16_t what, int value) {
      io_uring_restriction rule{};
      rule.opcode = what;
      rule.sqe_op = static_cast<std::uint8_t>(value);
      rules.push_back(rule);
    };
    allow(IORING_RESTRICTION_SQE_FLAGS_ALLOWED, IOSQE_IO_LINK);
    allow(IORING_RESTRICTION_SQE_OP, IORING_OP_NOP);
    for (const int operation : operations) allow(IORING_RESTRICTION_SQE_OP, operation);
    is_restricted_ =
        is_open() &&
        tell(IORING_REGISTER_RESTRICTIONS, rules.data(), static_cast<unsigned>(rules.size())) &&
        tell(IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  }
  [[nodiscard]] bool is_restricted() const { return is_restricted_; }

 private:
  // liburing 2.3 as Debian builds it has no function for these.
  [[nodiscard]] bool tell(unsigned what, const void* argument, unsigned count) {
    return ::syscall(SYS_io_uring_register, raw().ring_fd, what, argument, count) == 0;
  }

  bool is_restricted_ = false;
};

TEST_P(AsyncFaultTest, WhereFutexesAreRefusedAThreadWaits) {
  RestrictedRing ring({IORING_OP_POLL_ADD, IORING_OP_LINK_TIMEOUT});
  ASSERT_TRUE(ring.is_restricted());
  hold(50);
  begin_all();
  for (std::size_t i = 0; i < waits_.size(); ++i) ASSERT_TRUE(ring.arm(waits_[i], i));
  // What is refused is so at once, and each is once.
  const int completions = GetParam() == AsyncPath::Futex ? 75 : 0;
  int seen_so_far = 0;
  for (; ring.has_more() && seen_so_far <= completions; ++seen_so_far) {
    const io_uring_cqe seen = ring.next();
    AsyncAcquire& wait = waits_.at(seen.user_data);
    if (wait.complete(&seen) == Step::Rearm) {
      ASSERT_TRUE(ring.arm(wait, seen.user_data));
    }
  }
  EXPECT_EQ(seen_so_far, completions);
  let_all_go();
  complete_all(ring);
  expect_all_granted();
}

TEST_P(AsyncFaultTest, WhereFutexesAreRefusedDeadlinesAreKept) {
  RestrictedRing ring({IORING_OP_POLL_ADD, IORING_OP_LINK_TIMEOUT});
  ASSERT_TRUE(ring.is_restricted());
  hold(1);
  AcquireOptions options = wanted(1);
  options.timeout = milliseconds(1);
  AsyncAcquire wait(*manager_, handles_.front(), options);
  ring.finish(wait, 1);
  EXPECT_EQ(wait.take().error(), ErrorCode::TimedOut);
}

TEST_P(AsyncFaultTest, WhereAllIsRefusedSubmittingEnds) {
  RestrictedRing ring({});
  ASSERT_TRUE(ring.is_restricted());
  hold(2);
  begin_all();
  for (std::size_t i = 0; i < 2; ++i) {
    AsyncAcquire& wait = waits_[i];
    Result<void> armed = ring.arm(wait, i);
    for (int tries = 0; armed; ++tries) {
      ASSERT_LT(tries, 2);
      while (wait.submissions() == 0) {
        const io_uring_cqe seen = ring.next();
        ASSERT_FALSE(wait.done());
        (void)wait.complete(&seen);
      }
      armed = prepare(ring, wait, i);
      if (armed) ::io_uring_submit(&ring.raw());
    }
    EXPECT_EQ(armed.error(), ErrorCode::Unsupported);
  }
  EXPECT_TRUE(waits_[0].cancel());
  EXPECT_EQ(waits_[0].take().error(), ErrorCode::Cancelled);
  waits_.pop_front();
  let_all_go();
  EXPECT_TRUE(waits_.front().check());
  expect_all_granted();
}

INSTANTIATE_TEST_SUITE_P(Paths, AsyncFaultTest,
                         ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell), name_of_path);

}  // namespace
}  // namespace hal::test
