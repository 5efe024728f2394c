// SPDX-License-Identifier: Apache-2.0
//
// Peers that are killed, or stopped, between any two instructions of a call.
//
// A child makes one call under ptrace, stepped by its parent: once to count the instructions, then
// again and again, killed after each number of them. After every death a new pair of producer and
// consumer must be able to use the ring to its full.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>

#include <hal/queue.hpp>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/spin.hpp"
#include "tests/hal/queue_support.hpp"

namespace hal::test {
namespace {

constexpr std::size_t kBytes = 48;
constexpr std::uint32_t kCapacity = 4;
using Message = std::array<std::byte, kBytes>;

/// A child that attached to a queue and stopped right before `call`; it stops again after it, and
/// ends with 1 if the call said no.
class Stepped {
 public:
  Stepped(const Queue& queue, const std::function<bool(Queue&)>& call) : pid_(::fork()) {
    if (pid_ == 0) {
      auto attached = Queue::attach(queue.memory_fd().value());
      if (!attached || ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(2);
      ::raise(SIGSTOP);
      const bool good = call(*attached);
      ::raise(SIGSTOP);
      ::_exit(good ? 0 : 1);
    }
    ended_ = !wait_for_stop(SIGSTOP);
  }
  Stepped(const Stepped&) = delete;
  Stepped& operator=(const Stepped&) = delete;
  ~Stepped() { kill(); }

  [[nodiscard]] bool can_trace() const { return !ended_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

  /// One instruction. False: the call is over.
  [[nodiscard]] bool step() {
    if (::ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) != 0) return false;
    return wait_for_stop(SIGTRAP);
  }
  void kill() {
    if (ended_) return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    ended_ = true;
  }
  /// Lets it run to its end; returns the exit code.
  [[nodiscard]] int finish() {
    int status = 0;
    while (!ended_) {
      ::ptrace(PTRACE_CONT, pid_, nullptr, nullptr);
      ::waitpid(pid_, &status, 0);
      ended_ = WIFEXITED(status) || WIFSIGNALED(status);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  [[nodiscard]] bool wait_for_stop(int signal) {
    int status = 0;
    if (::waitpid(pid_, &status, 0) != pid_) return false;
    if (WIFEXITED(status) || WIFSIGNALED(status)) ended_ = true;
    return WIFSTOPPED(status) && WSTOPSIG(status) == signal;
  }

  pid_t pid_;
  bool ended_ = false;
};

enum class Call { Push, Pop, SkipDead, SkipMayLive };

struct Case {
  QueueKind kind;
  Call call;
};

class QueueKillTest : public testing::TestWithParam<Case> {
 protected:
  Queue make() {
    return Queue::create(*manager_, "q/" + std::to_string(made_++),
                         {.message_bytes = kBytes, .capacity = kCapacity, .kind = GetParam().kind})
        .value();
  }

  /// A ring in the middle of its second lap, with two messages, or, for the skips, a dead claim.
  void prepare(Queue& queue) const {
    Message got{};
    for (std::uint64_t i = 0; i < kCapacity + 1; ++i) {
      ASSERT_TRUE(queue.try_push(message<kBytes>(i)));
      ASSERT_TRUE(queue.try_pop(got));
    }
    if (GetParam().call == Call::SkipDead || GetParam().call == Call::SkipMayLive) {
      const RingMemory memory(queue);
      const std::uint64_t head = memory.control().head;
      memory.word(head) = ring::slot_word(memory.lap(head), ring::SlotState::Claimed, kGhost);
    }
    for (const std::uint64_t i : {kFirst, kSecond}) ASSERT_TRUE(queue.try_push(message<kBytes>(i)));
  }

  [[nodiscard]] bool call(Queue& queue) const {
    Message got{};
    switch (GetParam().call) {
      case Call::Push:
        return queue.try_push(message<kBytes>(kPushed)).has_value();
      case Call::Pop:
        return queue.try_pop(got).has_value();
      case Call::SkipDead:
      case Call::SkipMayLive:
        return queue
            .skip_stalled({.position = kCapacity + 1, .producer_pid = kGhost},
                          GetParam().call == Call::SkipDead ? StalledProducer::Dead
                                                            : StalledProducer::MayLive)
            .has_value();
    }
    return false;
  }

  /// What every survivor may rely on, whenever the child died.
  void check(Queue& queue, pid_t dead) const {
    Message got{};
    if (const auto slot = queue.stalled(); slot && slot->producer_pid == kGhost) {
      ASSERT_TRUE(queue.skip_stalled(*slot, StalledProducer::Dead));
    }
    // Pop was killed before or after the first message was consumed.
    ASSERT_TRUE(queue.try_pop(got));
    if (GetParam().call != Call::Pop || number_of(got) == kFirst) {
      ASSERT_EQ(got, message<kBytes>(kFirst));
      ASSERT_TRUE(queue.try_pop(got));
    }
    ASSERT_EQ(got, message<kBytes>(kSecond));
    if (queue.try_pop(got)) {
      ASSERT_EQ(GetParam().call, Call::Push);
      ASSERT_EQ(got, message<kBytes>(kPushed));
    } else if (const auto slot = queue.stalled()) {
      ASSERT_EQ(GetParam().call, Call::Push);
      ASSERT_EQ(slot->producer_pid, static_cast<std::uint32_t>(dead));
      ASSERT_TRUE(queue.skip_stalled(*slot, StalledProducer::Dead));
    }
    const bool shorter = GetParam().call == Call::SkipMayLive;
    for (std::uint64_t lap = 0; lap < 3; ++lap) {
      std::uint64_t fits = 0;
      while (queue.try_push(message<kBytes>(fits))) ++fits;
      ASSERT_GE(fits, shorter ? kCapacity - 1 : kCapacity);
      for (std::uint64_t i = 0; i < fits; ++i) {
        ASSERT_TRUE(queue.try_pop(got));
        ASSERT_EQ(got, message<kBytes>(i));
      }
      ASSERT_FALSE(queue.try_pop(got));
    }
  }

  static constexpr std::uint64_t kFirst = 101;
  static constexpr std::uint64_t kSecond = 102;
  static constexpr std::uint64_t kPushed = 103;
  static constexpr std::uint32_t kGhost = 1;  // a PID that no child has

  std::unique_ptr<ResourceManager> manager_ = make_manager();
  int made_ = 0;
};

std::string case_name(const testing::TestParamInfo<Case>& info) {
  const std::string kind = info.param.kind == QueueKind::SingleProducer ? "Single" : "Multi";
  constexpr std::array<const char*, 4> kCalls{"Push", "Pop", "SkipDead", "SkipMayLive"};
  return kind + kCalls[static_cast<std::size_t>(info.param.call)];
}
INSTANTIATE_TEST_SUITE_P(Calls, QueueKillTest,
                         testing::Values(Case{QueueKind::SingleProducer, Call::Push},
                                         Case{QueueKind::SingleProducer, Call::Pop},
                                         Case{QueueKind::MultiProducer, Call::Push},
                                         Case{QueueKind::MultiProducer, Call::Pop},
                                         Case{QueueKind::MultiProducer, Call::SkipDead},
                                         Case{QueueKind::MultiProducer, Call::SkipMayLive}),
                         case_name);

TEST_P(QueueKillTest, AnyInstructionMayBeTheLast) {
  int instructions = 0;
  {
    Queue queue = make();
    prepare(queue);
    Stepped child(queue, [this](Queue& attached) { return call(attached); });
    if (!child.can_trace()) GTEST_SKIP() << "ptrace is not permitted here";
    while (child.step()) ++instructions;
    EXPECT_EQ(child.finish(), 0);
    check(queue, child.pid());
  }
  ASSERT_GT(instructions, 10);
  // Steps add up with the square of the instructions, of which instrumented code has thousands.
  const int stride = std::max(1, instructions * instructions / 400'000);
  for (int last = 0; last < instructions; last += stride) {
    Queue queue = make();
    prepare(queue);
    Stepped child(queue, [this](Queue& attached) { return call(attached); });
    for (int i = 0; i < last && child.step(); ++i) {
    }
    child.kill();
    check(queue, child.pid());
    ASSERT_FALSE(HasFailure()) << "killed after " << last << " of " << instructions
                               << " instructions";
    ASSERT_TRUE(manager_->teardown(queue.handle()));
  }
}

// A producer that was only stopped, and given up for good, does no harm when it goes on.
TEST(QueueStopTest, GivenUpProducerLearnsOfItAndHarmsNobody) {
  auto manager = make_manager();
  Queue queue =
      Queue::create(
          *manager, "q",
          {.message_bytes = kBytes, .capacity = kCapacity, .kind = QueueKind::MultiProducer})
          .value();
  const RingMemory memory(queue);
  Stepped child(queue, [](Queue& attached) {
    const auto pushed = attached.try_push(message<kBytes>(7));
    return !pushed && pushed.error() == ErrorCode::Cancelled;
  });
  if (!child.can_trace()) GTEST_SKIP() << "ptrace is not permitted here";
  while (ring::slot_state(resmgr::load(memory.word(0))) != ring::SlotState::Claimed) {
    ASSERT_TRUE(child.step());
  }
  Message got{};
  EXPECT_EQ(queue.try_pop(got).error(), ErrorCode::WouldBlock);
  EXPECT_EQ(queue.pop(got, in(1ms)).error(), ErrorCode::TimedOut);
  const auto slot = queue.stalled();
  ASSERT_TRUE(slot);
  ASSERT_TRUE(queue.skip_stalled(*slot, StalledProducer::MayLive));
  EXPECT_FALSE(queue.stalled());
  for (std::uint64_t i = 0; i < kCapacity - 1; ++i) ASSERT_TRUE(queue.try_push(message<kBytes>(i)));
  EXPECT_EQ(child.finish(), 0);
  for (std::uint64_t i = 0; i < kCapacity - 1; ++i) {
    ASSERT_TRUE(queue.try_pop(got));
    EXPECT_EQ(got, message<kBytes>(i));
  }
  EXPECT_EQ(queue.try_pop(got).error(), ErrorCode::WouldBlock);
}

TEST(QueueStopTest, SkippingWhatIsNotStalledIsRefused) {
  auto manager = make_manager();
  for (const QueueKind kind : {QueueKind::SingleProducer, QueueKind::MultiProducer}) {
    Queue queue = Queue::create(*manager, kind == QueueKind::SingleProducer ? "one" : "many",
                                {.message_bytes = kBytes, .capacity = kCapacity, .kind = kind})
                      .value();
    EXPECT_FALSE(queue.stalled());
    EXPECT_EQ(queue.skip_stalled({}, StalledProducer::Dead).error(), ErrorCode::NotFound);
    ASSERT_TRUE(queue.try_push(message<kBytes>(1)));
    EXPECT_FALSE(queue.stalled());
    EXPECT_EQ(queue.skip_stalled({}, StalledProducer::MayLive).error(), ErrorCode::NotFound);
    EXPECT_EQ(queue.skip_stalled({}, static_cast<StalledProducer>(2)).error(),
              ErrorCode::InvalidArgument);
    Message got{};
    EXPECT_TRUE(queue.try_pop(got));
  }
}

// Killed at random in a stream of messages: what arrived is whole and in order, and the ring goes
// on.
TEST(QueueStopTest, ProducersKilledInFullFlight) {
  auto manager = make_manager();
  std::mt19937_64 random(seed());
  constexpr std::size_t kLarge = Queue::kMaxMessageBytes;  // most of the time is spent copying
  static std::array<std::byte, kLarge> got;
  Queue queue =
      Queue::create(*manager, "q",
                    {.message_bytes = kLarge, .capacity = 4, .kind = QueueKind::MultiProducer})
          .value();
  int stalls = 0;
  for (int round = 0; round < 100; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto mine = Queue::attach(queue.memory_fd().value());
      for (std::uint64_t i = 0;; ++i) {
        if (!mine || !mine->push(message<kLarge>(i), patience())) ::_exit(1);
      }
    }
    ASSERT_GT(child, 0);
    std::uint64_t expected = 0;
    for (const std::uint64_t count = random() % 8; expected < count; ++expected) {
      ASSERT_TRUE(queue.pop(got, patience()));
      ASSERT_EQ(got, message<kLarge>(expected));
    }
    for (std::uint64_t turns = random() % 2000; turns > 0; --turns) resmgr::cpu_relax();
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    while (queue.try_pop(got)) {
      ASSERT_EQ(got, message<kLarge>(expected));
      ++expected;
    }
    if (const auto slot = queue.stalled()) {
      ++stalls;
      ASSERT_EQ(slot->producer_pid, static_cast<std::uint32_t>(child));
      ASSERT_TRUE(queue.skip_stalled(*slot, StalledProducer::Dead));
    }
    ASSERT_EQ(queue.try_pop(got).error(), ErrorCode::WouldBlock);
    ASSERT_FALSE(queue.stalled());
  }
  RecordProperty("stalls", stalls);
}

}  // namespace
}  // namespace hal::test
