// SPDX-License-Identifier: Apache-2.0
//
// Loans among those who begin to wait at the same moment: whoever of two is seen second lends, or
// inherits.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "resmgr/base/spin.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

// Member 0, critical, asks for what member 1 holds, he for what member 2 holds, and so on; the last
// resource is the bystander's. All ask at once.
TEST(LendRace, TheWholeChainMovesUp) {
  constexpr std::size_t kMembers = 4;
  const std::uint64_t seed = seed_from_environment();
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 300 : 3000);
  std::mt19937_64 random(seed);
  Domain domain;
  std::vector<Handle> handles;
  std::vector<std::unique_ptr<Actor>> members;
  for (std::uint32_t i = 0; i < kMembers; ++i) {
    handles.push_back(domain.arm(i));
    members.push_back(std::make_unique<Actor>(domain));
  }
  Actor bystander(domain);
  const auto rank_of = [&](const Actor& actor) {
    std::uint16_t rank = 0;
    domain.engine.graph().for_each_wait(actor.id(), [&](const Waiter& waiter) {
      rank = waiter.rank.priority;
      return true;
    });
    return rank;
  };

  constexpr auto kHigh = ResourcePriority::Critical;
  std::uint64_t late = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    ASSERT_TRUE(bystander.acquire(handles.back()));
    for (std::size_t i = 1; i < kMembers; ++i) ASSERT_TRUE(members[i]->acquire(handles[i - 1]));
    std::array<std::size_t, kMembers> order{};
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    std::atomic<std::size_t> ready = 0;
    for (const std::size_t i : order) {
      const auto pause = static_cast<int>(random() % 64);
      members[i]->start([&, i, pause](Context& me) {
        ++ready;
        wait_until([&] { return ready.load() == kMembers; });
        for (int turn = 0; turn < pause; ++turn) cpu_relax();
        const auto priority = i == 0 ? kHigh : ResourcePriority::Low;
        return domain.engine.acquire(me, handles[i], blocking(HoldKind::Exclusive, priority));
      });
    }
    for (const auto& member : members) wait_until([&] { return member->settled(); });
    for (const auto& member : members) {
      if (rank_of(*member) != static_cast<std::uint16_t>(kHigh)) ++late;
    }
    ASSERT_TRUE(bystander.release(handles.back()));
    for (std::size_t i = kMembers; i-- > 0;) {
      ASSERT_TRUE(members[i]->finish());
      ASSERT_TRUE(members[i]->release(handles[i]));
      if (i == 0) break;
      ASSERT_TRUE(members[i]->release(handles[i - 1]));
    }
  }
  EXPECT_EQ(late, 0u) << "members that nobody lent to, in " << rounds << " rounds, seed " << seed;
}

}  // namespace
}  // namespace resmgr::lock::test
