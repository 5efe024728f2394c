// SPDX-License-Identifier: Apache-2.0
//
// Who is asked in an emergency, what follows when, and what is written down.
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "resmgr/lock/emergencies.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint64_t kYield = 100;
constexpr std::uint64_t kGrace = 50;
constexpr std::uint64_t kStart = 1'000'000;

class Host final : public EmergencyHost {
 public:
  void ask(const Emergency&, const Participant& holder, std::uint64_t until_ns) override {
    asked.emplace_back(holder.context, until_ns);
  }
  std::optional<std::uint64_t> quiesce(Handle, std::uint32_t attempt,
                                       std::uint64_t now_ns) override {
    attempts.push_back(attempt);
    return now_ns + kGrace;
  }
  bool may_open(Handle) override { return opens; }
  void told(const Emergency&, EmergencyStep step, const Participant&, std::string_view) override {
    steps.push_back(step);
  }

  bool opens = true;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> asked;
  std::vector<std::uint32_t> attempts;
  std::vector<EmergencyStep> steps;
};

class EmergenciesTest : public ::testing::Test {
 protected:
  /// The wait of somebody who sleeps.
  [[nodiscard]] Emergency wait_of(const Actor& actor) {
    Emergency found{.handle = h_, .context = actor.id(), .yield_ns = kYield};
    domain_.engine.graph().for_each_wait(actor.id(), [&](const Waiter& waiter) {
      found.node_link = domain_.tables().link_of(waiter.node);
      found.sequence = waiter.word.sequence();
      return false;
    });
    return found;
  }
  /// What the recorder has of the emergencies of a context: operation and argument.
  [[nodiscard]] std::vector<std::pair<unsigned, std::uint64_t>> recorded(const Actor& actor) const {
    std::vector<std::pair<unsigned, std::uint64_t>> all;
    for (std::uint32_t i = 0; i < RM_TRACE_RECORDS; ++i) {
      const rm_trace_record& record =
          domain_.tables().trace[std::uint64_t{actor.id() - 1u} * RM_TRACE_RECORDS + i];
      if (record.time != 0 && record.operation >= RM_TRACE_ASK &&
          record.operation <= RM_TRACE_FENCE) {
        EXPECT_EQ(record.slot, h_.slot());
        EXPECT_EQ(record.context, actor.id());
        all.emplace_back(record.operation, record.argument);
      }
    }
    return all;
  }
  [[nodiscard]] bool closed() const { return domain_.word(h_).has(RM_WORD_QUARANTINED); }

  Domain domain_;
  const Handle h_ = domain_.arm(1, 0, RM_SLOT_ATTR_QUIESCE);
  Host host_;
  Emergencies emergencies_{domain_.engine, host_, 7};
};

TEST_F(EmergenciesTest, EachStepIsToldAndInTheFlightRecorder) {
  Actor holder(domain_), urgent(domain_);
  ASSERT_TRUE(holder.acquire(h_));
  urgent.begin(h_, emergency());
  ASSERT_TRUE(emergencies_.begin(wait_of(urgent), kStart));
  EXPECT_EQ(host_.asked,
            (std::vector{std::pair<std::uint32_t, std::uint64_t>(holder.id(), kStart + kYield)}));
  EXPECT_EQ(emergencies_.proceed(kStart + kYield - 1), kStart + kYield);
  EXPECT_FALSE(closed());
  EXPECT_EQ(emergencies_.proceed(kStart + kYield), kStart + kYield + kGrace);
  EXPECT_TRUE(closed());
  EXPECT_EQ(host_.attempts, std::vector{7u});
  EXPECT_FALSE(emergencies_.answered(h_, 8, {}, kStart)) << "another question's";
  EXPECT_TRUE(emergencies_.answered(h_, 7, {}, kStart + kYield + 1));
  EXPECT_FALSE(emergencies_.answered(h_, 7, {}, kStart + kYield + 1)) << "once";
  EXPECT_FALSE(closed());
  EXPECT_TRUE(urgent.finish());
  EXPECT_EQ(emergencies_.proceed(kStart + kYield + 2), std::nullopt);
  EXPECT_TRUE(emergencies_.idle());
  EXPECT_EQ(host_.steps, (std::vector{EmergencyStep::Asked, EmergencyStep::TimeOver,
                                      EmergencyStep::Quiet, EmergencyStep::Fenced}));
  EXPECT_EQ(recorded(urgent),
            (std::vector<std::pair<unsigned, std::uint64_t>>{{RM_TRACE_ASK, holder.id()},
                                                             {RM_TRACE_YIELD, 1},
                                                             {RM_TRACE_QUIESCE, 0},
                                                             {RM_TRACE_FENCE, holder.id()}}));
  EXPECT_TRUE(recorded(holder).empty());
}

TEST_F(EmergenciesTest, WhatIsNotQuietInTimeIsInTheRecorderToo) {
  Actor holder(domain_), urgent(domain_);
  ASSERT_TRUE(holder.acquire(h_));
  urgent.begin(h_, emergency());
  ASSERT_TRUE(emergencies_.begin(wait_of(urgent), kStart));
  (void)emergencies_.proceed(kStart + kYield);
  EXPECT_EQ(emergencies_.proceed(kStart + kYield + kGrace), std::nullopt) << "it is over for good";
  EXPECT_FALSE(closed());
  EXPECT_FALSE(urgent.finished());
  EXPECT_EQ(host_.steps.back(), EmergencyStep::NotForced);
  EXPECT_EQ(recorded(urgent).back(),
            (std::pair<unsigned, std::uint64_t>(RM_TRACE_QUIESCE,
                                                static_cast<std::uint64_t>(ErrorCode::TimedOut))));
  EXPECT_FALSE(emergencies_.answered(h_, 7, {}, kStart)) << "too late";
  ASSERT_TRUE(holder.release(h_));
  EXPECT_TRUE(urgent.finish());
}

// Who has the latch lives, and gives it back.
TEST_F(EmergenciesTest, ALatchHolderIsWaitedForWithTheGateClosed) {
  Actor holder(domain_), urgent(domain_);
  ASSERT_TRUE(holder.acquire(h_));
  urgent.begin(h_, emergency());
  ASSERT_TRUE(emergencies_.begin(wait_of(urgent), kStart));
  (void)emergencies_.proceed(kStart + kYield);
  const std::uint16_t stopped = domain_.open().id;
  store(domain_.slot(h_).word, domain_.word(h_).with_latch(stopped).bits);
  EXPECT_TRUE(emergencies_.answered(h_, 7, {}, kStart + kYield));
  EXPECT_TRUE(closed());
  EXPECT_EQ(domain_.word(h_).owner(), holder.id());
  const auto again = emergencies_.proceed(kStart + kYield);
  ASSERT_TRUE(again);
  store(domain_.slot(h_).word, domain_.word(h_).with_latch(0).bits);
  (void)emergencies_.proceed(*again);
  EXPECT_FALSE(closed());
  EXPECT_TRUE(urgent.finish());
}

// Two want it: the owner is asked once for the first, and again when the first has it.
TEST_F(EmergenciesTest, OneFenceAtATime) {
  Actor holder(domain_), first(domain_), second(domain_);
  ASSERT_TRUE(holder.acquire(h_));
  first.begin(h_, emergency());
  second.begin(h_, emergency());
  ASSERT_TRUE(emergencies_.begin(wait_of(first), kStart));
  ASSERT_TRUE(emergencies_.begin(wait_of(second), kStart));
  EXPECT_EQ(host_.asked.size(), 2u) << "once for each wait";
  std::uint64_t now = kStart + kYield;
  (void)emergencies_.proceed(now);
  EXPECT_EQ(host_.attempts.size(), 1u);
  EXPECT_TRUE(emergencies_.answered(h_, 7, {}, now));
  ASSERT_TRUE(first.finish());
  // He who has it now has his time as well.
  (void)emergencies_.proceed(now += 100'000'000);
  ASSERT_EQ(host_.asked.size(), 3u);
  EXPECT_EQ(host_.asked[2].first, first.id());
  EXPECT_EQ(host_.attempts.size(), 1u);
  (void)emergencies_.proceed(now += kYield);
  ASSERT_EQ(host_.attempts.size(), 2u);
  EXPECT_TRUE(emergencies_.answered(h_, host_.attempts[1], {}, now));
  EXPECT_TRUE(second.finish());
}

// The gate is somebody else's by now, who opens it.
TEST_F(EmergenciesTest, TheGateStaysClosedForWhoHasAReason) {
  Actor holder(domain_), urgent(domain_);
  ASSERT_TRUE(holder.acquire(h_));
  urgent.begin(h_, emergency());
  ASSERT_TRUE(emergencies_.begin(wait_of(urgent), kStart));
  (void)emergencies_.proceed(kStart + kYield);
  host_.opens = false;
  EXPECT_TRUE(emergencies_.answered(h_, 7, {}, kStart + kYield));
  EXPECT_TRUE(closed());
  EXPECT_EQ(domain_.word(h_).owner(), 0u);
  EXPECT_FALSE(urgent.finished());
  Fence(domain_.engine).open(h_);
  EXPECT_TRUE(urgent.finish());
}

TEST_F(EmergenciesTest, OnlyOfThoseWhoWaitSo) {
  Actor holder(domain_), waiter(domain_);
  ASSERT_TRUE(holder.acquire(h_));
  waiter.begin(h_, blocking());
  const auto refused = emergencies_.begin(wait_of(waiter), kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), ErrorCode::InvalidArgument);
  EXPECT_TRUE(emergencies_.idle());
  EXPECT_TRUE(host_.asked.empty());
  ASSERT_TRUE(holder.release(h_));
  EXPECT_TRUE(waiter.finish());
}

}  // namespace
}  // namespace resmgr::lock::test
