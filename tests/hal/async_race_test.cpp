// SPDX-License-Identifier: Apache-2.0
//
// Grants, deadlines and cancellations that race: each wait has one outcome, and nothing is lost.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include <hal/ring.hpp>

#include "tests/base/seed.hpp"
#include "tests/hal/async_support.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

std::uint64_t races() {
  const char* const wanted = std::getenv("RESMGR_RACES");
  return wanted ? std::strtoull(wanted, nullptr, 0) : 20'000;
}

constexpr std::uint64_t kLongNs = 20'000;

struct Outcomes {
  std::uint64_t granted = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t others = 0;

  void count(const Result<ScopedResource>& hold) {
    if (hold) {
      ++granted;
    } else if (hold.error() == ErrorCode::TimedOut) {
      ++timed_out;
    } else if (hold.error() == ErrorCode::Cancelled) {
      ++cancelled;
    } else {
      ++others;
    }
  }
  [[nodiscard]] std::uint64_t sum() const { return granted + timed_out + cancelled + others; }
};

/// Somebody holds a resource again and again.
class Race : public ManagerTest {
 protected:
  void begin(AsyncPath path) {
    restart({.async_path = path});
    resource_ = add("dma0/channel/0");
    context_ = std::make_unique<Context>(manager_->create_context().value());
    holder_ = std::thread([this] { hold_again_and_again(); });
  }
  void TearDown() override {
    over_.store(true);
    holder_.join();
    ASSERT_TRUE(manager_->try_acquire(resource_)) << "nobody has it any more";
    EXPECT_EQ(inside_.load(), 0);
    EXPECT_EQ(manager_->get_resource_stats(resource_).value().waiting, 0u);
    context_.reset();
  }
  /// With a deadline that is over soon, or is not.
  [[nodiscard]] AcquireOptions soon(std::mt19937_64& random) {
    return {.mode = AcquisitionMode::Timeout,
            .timeout = std::chrono::nanoseconds(random() % kLongNs),
            .context = context_.get()};
  }
  /// Waits until the other thread has it, or has just let it go.
  void let_the_holder_in() {
    while (!held_.load()) std::this_thread::yield();
  }
  /// Nobody else is here meanwhile.
  void be_inside() {
    EXPECT_EQ(inside_.fetch_add(1), 0);
    inside_.fetch_sub(1);
  }

  Handle resource_;
  std::unique_ptr<Context> context_;

 private:
  void hold_again_and_again() {
    std::minstd_rand random;
    while (!over_.load()) {
      const auto hold =
          manager_->acquire_scoped_resource(resource_, {.mode = AcquisitionMode::Blocking});
      ASSERT_TRUE(hold) << hold.error().message();
      held_.store(true);
      // About as long as the deadlines of those who wait.
      const auto until =
          std::chrono::steady_clock::now() + std::chrono::nanoseconds(random() % kLongNs);
      do {
        be_inside();
      } while (std::chrono::steady_clock::now() < until);
      held_.store(false);
    }
  }

  std::atomic<bool> over_{false};
  std::atomic<bool> held_{false};
  std::atomic<int> inside_{0};
  std::thread holder_;
};

class AsyncRace : public Race, public ::testing::WithParamInterface<AsyncPath> {
 protected:
  void SetUp() override { begin(GetParam()); }
};

class ThreadRace : public Race {
 protected:
  void SetUp() override { begin(AsyncPath::Auto); }
};

TEST_P(AsyncRace, EachWaitHasOneOutcome) {
  std::mt19937_64 random(resmgr::test::seed());
  AuthorsRing ring;
  ASSERT_TRUE(ring.is_open());
  Outcomes outcomes;
  const std::uint64_t rounds = races();
  std::uint64_t given_up = 0;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    let_the_holder_in();
    std::optional<AsyncAcquire> wait;
    wait.emplace(*manager_, resource_, soon(random));
    unsigned in_flight = 0;
    const auto arm = [&] {
      in_flight += wait->submissions();
      if (wait->submissions() != 0) {
        ASSERT_TRUE(ring.arm(*wait, round));
      }
    };
    arm();
    const std::uint64_t what = random() % 4;
    if (what == 0) (void)wait->cancel();
    if (what == 1) {
      // Whatever it is; its completions are nobody's.
      wait.reset();
      ++given_up;
      for (; in_flight != 0; --in_flight) EXPECT_EQ(ring.next().user_data, round);
      continue;
    }
    while (!wait->done()) {
      const io_uring_cqe seen = ring.next();
      --in_flight;
      ASSERT_NE(wait->complete(&seen), AsyncAcquire::Step::NotMine);
      arm();
    }
    ASSERT_EQ(in_flight, 0u);
    const auto hold = wait->take();
    outcomes.count(hold);
    if (hold) be_inside();
  }
  EXPECT_EQ(outcomes.sum() + given_up, rounds);
  EXPECT_EQ(outcomes.others, 0u);
  EXPECT_GT(outcomes.granted, 0u);
  EXPECT_GT(outcomes.timed_out, 0u);
  std::cout << outcomes.granted << " granted, " << outcomes.timed_out << " timed out, "
            << outcomes.cancelled << " cancelled, " << given_up << " destroyed\n";
}

TEST_P(AsyncRace, EachCallbackIsCalledOnce) {
  std::mt19937_64 random(resmgr::test::seed());
  const auto ring = Ring::create({.async_path = GetParam()}).value();
  Outcomes outcomes;
  const std::uint64_t rounds = races();
  for (std::uint64_t round = 0; round < rounds; ++round) {
    let_the_holder_in();
    const auto token = ring->acquire(*manager_, resource_, soon(random), [&](auto hold) {
      outcomes.count(hold);
      if (hold) be_inside();
    });
    ASSERT_TRUE(token);
    if (random() % 2 == 0) {
      ASSERT_TRUE(ring->poll());
    }
    if (random() % 3 == 0) (void)ring->cancel(*token);
    ASSERT_TRUE(ring->run());
    ASSERT_EQ(outcomes.sum(), round + 1);
  }
  EXPECT_EQ(outcomes.others, 0u);
  EXPECT_GT(outcomes.granted, 0u);
  EXPECT_GT(outcomes.cancelled, 0u);
  std::cout << outcomes.granted << " granted, " << outcomes.timed_out << " timed out, "
            << outcomes.cancelled << " cancelled\n";
}

// Nobody can cancel it.
TEST_F(ThreadRace, EachThreadThatWaitsHasOneOutcome) {
  std::mt19937_64 random(resmgr::test::seed());
  Outcomes outcomes;
  const std::uint64_t rounds = races();
  for (std::uint64_t round = 0; round < rounds; ++round) {
    let_the_holder_in();
    const auto hold = manager_->acquire_scoped_resource(resource_, soon(random));
    outcomes.count(hold);
    if (hold) be_inside();
  }
  EXPECT_EQ(outcomes.sum(), rounds);
  EXPECT_EQ(outcomes.others, 0u);
  EXPECT_GT(outcomes.granted, 0u);
  EXPECT_GT(outcomes.timed_out, 0u);
  std::cout << outcomes.granted << " granted, " << outcomes.timed_out << " timed out\n";
}

INSTANTIATE_TEST_SUITE_P(Paths, AsyncRace, ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell),
                         name_of_path);

}  // namespace
}  // namespace hal::test
