// SPDX-License-Identifier: Apache-2.0
//
// What is asked of a latch holder while he makes an offer: the offer has to stand.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <iostream>
#include <random>

#include "resmgr/base/spin.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

bool is_waiting(Domain& domain, const Actor& actor) {
  bool waiting = false;
  domain.engine.graph().for_each_wait(actor.id(), [&](const Waiter&) {
    waiting = true;
    return false;
  });
  return waiting;
}

// The holder waits for the waiter, who is about to share what it holds. A newcomer who stands
// before the waiter in the queue sees the offer, so no cycle, and never looks again: taken back,
// the offer would leave three waiting for one another (I7). An upgrade, for no loan gets past one.
TEST(OfferRace, WhatANewcomerSawOfferedIsGranted) {
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 200 : 2'000);
  std::mt19937_64 random(seed_from_environment());
  Domain domain;
  const Handle shared = domain.arm(0);
  const Handle other = domain.arm(1);
  rm_slot& slot = domain.slot(shared);
  const std::uint16_t latcher = domain.open().id;
  Actor holder(domain), waiter(domain), newcomer(domain), server(domain);
  const std::array<Actor*, 3> members{&holder, &waiter, &newcomer};
  std::uint64_t refused = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    ASSERT_TRUE(holder.share(shared));
    ASSERT_TRUE(newcomer.share(shared));
    ASSERT_TRUE(waiter.acquire(other));
    // The waiter queues because somebody has the latch, who then goes without a look.
    store(slot.word, domain.word(shared).with_latch(latcher).bits);
    waiter.begin(shared, blocking(HoldKind::Shared));
    holder.begin(other, blocking());
    store(slot.word, domain.word(shared).with_latch(0).bits);

    std::atomic<bool> served = false;
    newcomer.start([&, pause = random() % 16](Context& me) {
      while (domain.word(shared).latch() == 0 && !served) cpu_relax();
      for (std::uint64_t i = 0; i < pause; ++i) cpu_relax();
      const auto upgraded = domain.engine.upgrade(me, shared, blocking());
      return upgraded ? Outcome() : Outcome(std::unexpected(upgraded.error()));
    });
    server.start([&](Context& me) {
      Outcome outcome = domain.engine.acquire(me, shared, trying());  // does what was left to do
      served = true;
      return outcome;
    });
    ASSERT_TRUE(fails_with(server.finish(), ErrorCode::WouldBlock));
    wait_until([&] { return newcomer.settled(); });
    ASSERT_FALSE(is_waiting(domain, holder) && is_waiting(domain, waiter) &&
                 is_waiting(domain, newcomer))
        << "round " << round << ": all wait for one another, and nobody was told";

    std::array<bool, 3> done{};
    for (std::size_t left = members.size(); left != 0;) {
      for (std::size_t i = 0; i < members.size(); ++i) {
        if (done[i] || !members[i]->finished()) continue;
        if (!members[i]->finish()) ++refused;
        (void)members[i]->run_call([&](Context& me) {
          (void)domain.engine.release_all(me, [](Handle, HoldKind) {});
          return Grant{};
        });
        done[i] = true;
        --left;
      }
      std::this_thread::yield();
    }
  }
  std::cout << refused << " of " << rounds << " met before the offer" << std::endl;
}

}  // namespace
}  // namespace resmgr::lock::test
