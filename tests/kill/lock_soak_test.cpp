// SPDX-License-Identifier: Apache-2.0
//
// Processes that share one lock region and die of SIGKILL wherever they are, or stop and go on
// (I1, I3 to I6). Each holder leaves his mark beside the resource, so that two at a time would see
// each other; in the end everything is free, nothing is lost, and nobody is stuck.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <new>
#include <random>

#include "resmgr/lock/recovery.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint32_t kProcesses = 4;
constexpr std::uint32_t kResources = 3;
constexpr std::uint64_t kPatienceNs = 3'000'000;

/// What the processes tell each other beside the region.
struct Marks {
  std::array<std::atomic<std::uint32_t>, kResources> holder{};
  std::array<std::atomic<std::uint64_t>, kProcesses> calls{};
  std::atomic<std::uint64_t> grants{0};
  std::atomic<std::uint64_t> repaired{0};  ///< holds of the dead that a successor was told of
  std::atomic<std::uint64_t> violations{0};
};

struct Shared {
  Shared() {
    memory =
        ::mmap(nullptr, sizeof(Marks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    marks = ::new (memory) Marks();
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(memory, sizeof(Marks)); }

  void* memory = nullptr;
  Marks* marks = nullptr;
};

/// One process: acquires and releases until somebody ends it.
class Worker {
 public:
  Worker(Domain& domain, Marks& marks, std::uint32_t number, std::uint64_t seed)
      : domain_(domain),
        marks_(marks),
        number_(number),
        random_(seed),
        me_(*domain.contexts.open(number, 0, 0, this_thread()).value()) {}

  [[noreturn]] void run() {
    for (;;) {
      const std::uint32_t first = pick(kResources);
      hold(first, [&] {
        // Sometimes a second one, in no order: cycles are among what is killed in.
        if (pick(3) == 0) hold((first + 1 + pick(kResources - 1)) % kResources, [] {});
      });
      marks_.calls.at(number_).fetch_add(1);
    }
  }

 private:
  std::uint32_t pick(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }

  template <typename Meanwhile>
  void hold(std::uint32_t resource, Meanwhile&& meanwhile) {
    const Handle handle(resource, 1);
    const HoldKind kind = pick(3) == 0 ? HoldKind::Shared : HoldKind::Exclusive;
    const std::uint32_t mode = pick(4);
    const Request request = mode == 0   ? trying(kind)
                            : mode == 1 ? timed(pick(kPatienceNs), kind)
                                        : blocking(kind);
    const auto grant = domain_.engine.acquire(me_, handle, request);
    if (!grant) return;
    marks_.grants.fetch_add(1);
    std::atomic<std::uint32_t>& mark = marks_.holder.at(resource);
    if (kind == HoldKind::Exclusive) {
      const std::uint32_t before = mark.exchange(me_.id);
      if (before != 0 && !grant->inconsistent) marks_.violations.fetch_add(1);
      if (grant->inconsistent) {
        marks_.repaired.fetch_add(1);
        if (!domain_.engine.consistent(me_, handle)) marks_.violations.fetch_add(1);
      }
      meanwhile();
      std::uint32_t mine = me_.id;
      if (!mark.compare_exchange_strong(mine, 0)) marks_.violations.fetch_add(1);
    } else {
      const std::uint32_t before = mark.load();
      if (before != 0 && !grant->inconsistent) marks_.violations.fetch_add(1);
      meanwhile();
      if (mark.load() != before) marks_.violations.fetch_add(1);
    }
    if (!domain_.engine.release(me_, handle, kind)) marks_.violations.fetch_add(1);
  }

  Domain& domain_;
  Marks& marks_;
  std::uint32_t number_;
  std::mt19937_64 random_;
  Context& me_;
};

class LockSoak : public ::testing::Test {
 protected:
  LockSoak() {
    for (std::uint32_t i = 0; i < kResources; ++i) (void)domain_.arm(i);
  }
  ~LockSoak() override {
    for (std::uint32_t number = 0; number < kProcesses; ++number) end(number);
  }
  LockSoak(const LockSoak&) = delete;
  LockSoak& operator=(const LockSoak&) = delete;

  void begin(std::uint32_t number) {
    const std::uint64_t seed = random_();
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) Worker(domain_, *shared_.marks, number, seed).run();
    pids_.at(number) = pid;
  }
  void end(std::uint32_t number) {
    pid_t& pid = pids_.at(number);
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    pid = 0;
  }
  // What is pending is in the hands of somebody who runs.
  void recover(std::uint32_t number) {
    recovery_.mark_dead(number);
    wait_until([&] { return recovery_.run(kSmall.slots).pending == 0; });
  }
  void everybody_goes_on() {
    for (std::uint32_t number = 0; number < kProcesses; ++number) {
      const std::atomic<std::uint64_t>& calls = shared_.marks->calls.at(number);
      const std::uint64_t before = calls.load();
      wait_until([&] { return calls.load() != before; });
    }
  }

  std::uint64_t seed_ = seed_from_environment();
  std::mt19937_64 random_{seed_};
  Domain domain_;
  Shared shared_;
  Recovery recovery_{domain_.engine};
  std::array<pid_t, kProcesses> pids_{};
};

TEST_F(LockSoak, WhoeverDiesTheOthersGoOn) {
  for (std::uint32_t number = 0; number < kProcesses; ++number) begin(number);
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 40 : 150);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const auto number = static_cast<std::uint32_t>(random_() % kProcesses);
    const auto other = (number + 1) % kProcesses;
    // The moment is the test's input, not an order it relies on.
    ::usleep(static_cast<useconds_t>(random_() % 3000));
    if (random_() % 4 == 0) {
      ::kill(pids_.at(other), SIGSTOP);
      end(number);
      recovery_.mark_dead(number);
      (void)recovery_.run(kSmall.slots);  // what the stopped one has in hand stays pending
      ::kill(pids_.at(other), SIGCONT);
    } else {
      end(number);
    }
    recover(number);
    begin(number);
  }
  everybody_goes_on();
  for (std::uint32_t number = 0; number < kProcesses; ++number) end(number);
  for (std::uint32_t number = 0; number < kProcesses; ++number) recover(number);

  const Marks& marks = *shared_.marks;
  EXPECT_EQ(marks.violations.load(), 0u) << "RESMGR_SEED=" << seed_;
  EXPECT_GT(marks.repaired.load(), 0u) << "no holder was met";
  for (std::uint32_t i = 0; i < kResources; ++i) EXPECT_TRUE(is_free(domain_.word(Handle(i, 1))));
  const Census census = take_census(domain_);
  EXPECT_EQ(census.nodes_lost, 0u);
  EXPECT_EQ(census.cells_lost, 0u);
  EXPECT_EQ(census.cells_in_use, 0u);
  std::cout << rounds << " kills, " << marks.grants.load() << " grants, " << marks.repaired.load()
            << " of what a dead one held\n";
}

}  // namespace
}  // namespace resmgr::lock::test
