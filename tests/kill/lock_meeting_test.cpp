// SPDX-License-Identifier: Apache-2.0
//
// Two who meet at every moment: one is stopped between any two instructions of a lock operation,
// somebody else does something from beginning to end, and the first goes on (I1, I2, I6, I7, I11).
// What of a race can happen to one of the two in the middle, happens here in each run; longer
// exchanges are for the race tests.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <thread>

#include "resmgr/lock/wait.hpp"
#include "tests/kill/lock_inspection.hpp"
#include "tests/lock/fixture.hpp"
#include "tests/registry/stepper.hpp"

namespace resmgr::lock::test {
namespace {

using registry::test::moments_of;
using registry::test::step_from_here;
using registry::test::stepping_far_is_impossible;
using registry::test::stop_after;

/// Three contexts without threads. The first is he who is stopped, in a process of his own.
class Encounter {
 public:
  Encounter() { store(domain.tables().region->next_ticket, 100); }

  void hold(Context& who, Handle handle, HoldKind kind = HoldKind::Exclusive) {
    ASSERT_TRUE(domain.engine.acquire(who, handle, trying(kind)));
  }
  void release(Context& who, Handle handle, HoldKind kind = HoldKind::Exclusive) {
    EXPECT_TRUE(domain.engine.release(who, handle, kind));
  }
  void begin(Context& who, Wait& wait, Handle handle, HoldKind kind = HoldKind::Exclusive) {
    Grant grant;
    const auto at_once = domain.engine.begin(who, handle, blocking(kind), wait, grant);
    if (at_once && !*at_once) (void)domain.engine.sleep_on(who, wait);
  }
  void begin_any(Context& who, Wait& wait, HoldKind kind = HoldKind::Exclusive) {
    Grant grant;
    const std::array any{r, s};
    const auto at_once = domain.engine.begin_any(who, any, blocking(kind), wait, members, grant);
    if (at_once && !*at_once) (void)domain.engine.sleep_on(who, wait);
  }
  /// Of a list that names one of them twice. Takes what was granted.
  void share_any_of_one(Context& who, Handle handle) {
    Grant grant;
    const std::array twice{handle, handle};
    const auto at_once =
        domain.engine.begin_any(who, twice, blocking(HoldKind::Shared), first, members, grant);
    if (at_once && !*at_once && domain.engine.is_decided(first)) {
      (void)domain.engine.finish(who, first);
    }
  }
  /// Whether he was faster: then he has it.
  bool give_up(Context& who, Wait& wait) {
    (void)domain.engine.give_up(wait, RM_NODE_TIMED_OUT);
    return domain.engine.finish(who, wait).has_value();
  }
  /// A thread waits with the peer's context to upgrade its share of r, until time_out_upgrade().
  void begin_upgrade() {
    upgrader = std::jthread([this] {
      peer.thread = this_thread();
      (void)domain.engine.upgrade(peer, r, blocking());
      const auto kind = domain.engine.held_kind(peer, r);
      had = kind.has_value();
      if (had) released = domain.engine.release(peer, r, *kind).has_value();
    });
    wait_until([&] { return has_node(peer, RM_NODE_WAITING); });
    settle();
  }
  /// And lets go of what it has then, in whatever way.
  void time_out_upgrade() {
    domain.engine.graph().for_each_wait(peer.id, [&](const Waiter& waiter) {
      (void)domain.engine.decide(waiter, RM_NODE_CANCELLED);
      return true;
    });
    upgrader.join();
  }
  void settle() {
    wait_until([&] {
      bool asleep = false;
      domain.engine.graph().for_each_wait(peer.id, [&](const Waiter& waiter) {
        asleep = waiter.word.asleep();
        return !asleep;
      });
      return asleep;
    });
  }
  [[nodiscard]] std::span<std::byte> region() const {
    return {reinterpret_cast<std::byte*>(domain.tables().region),
            domain.region.header().region_bytes};
  }
  [[nodiscard]] std::uint16_t owner(Handle handle) const { return domain.word(handle).owner(); }
  /// Whether a wait of his says so.
  [[nodiscard]] bool has_node(const Context& who, unsigned state) const {
    const LockTables& tables = domain.tables();
    for (std::uint32_t i = 0; i < tables.node_count; ++i) {
      const rm_node& node = tables.nodes[i];
      if (load(node.refs) == 0 || load(node.context) != who.id) continue;
      if (NodeWord{load(node.word)}.state() == state) return true;
    }
    return false;
  }

  Domain domain{tiny_capacities(1)};
  Handle r = domain.arm(1);
  Handle s = domain.arm(2);
  Handle t = domain.arm(3);
  Context& stopped = domain.open(0, this_thread());
  Context& peer = domain.open(0, this_thread());
  Context& third = domain.open(0, this_thread());
  Wait first;
  Wait second;
  std::array<Wait, 2> members;
  bool had = false;  ///< what the meeting says of it
  bool released = false;
  std::jthread upgrader;
};

struct Meeting {
  const char* name;
  std::function<void(Encounter&)> prepare;
  std::function<void(Encounter&)> act;  ///< by the one who is stopped
  std::function<void(Encounter&)> meanwhile;
  std::function<void(Encounter&)> check;
};

std::ostream& operator<<(std::ostream& out, const Meeting& meeting) { return out << meeting.name; }

// Of whatever two do, once both are done.
void check_everything(Encounter& e) {
  const LockTables& t = e.domain.tables();
  const LockInspection inspection(t, {});
  for (const Handle handle : {e.r, e.s, e.t}) {
    if (!e.domain.word(handle).is_tenant(handle.generation())) continue;
    inspection.word_is_settled(handle);
  }
  for (std::uint32_t i = 0; i < t.node_count; ++i) {
    Waiter waiter;
    if (read_waiter(t, t.nodes[i], waiter)) inspection.wait_is_served_or_blocked(t.nodes[i]);
  }
}

class LockMeeting : public ::testing::TestWithParam<Meeting> {
 protected:
  void SetUp() override {
    if (const auto why = stepping_far_is_impossible()) GTEST_SKIP() << *why;
  }
};

TEST_P(LockMeeting, EndsWellAtEveryMoment) {
  const Meeting& meeting = GetParam();
  const auto act = [&](Encounter& encounter) {
    return [&] {
      step_from_here();
      meeting.act(encounter);
      return 0;
    };
  };
  Encounter alone;
  meeting.prepare(alone);
  const auto moments = moments_of(alone.region(), act(alone));
  EXPECT_GT(moments.size(), 5u);
  std::size_t met = 0;
  for (const std::size_t moment : moments) {
    SCOPED_TRACE("after instruction " + std::to_string(moment));
    Encounter encounter;
    meeting.prepare(encounter);
    const auto result = stop_after(moment, act(encounter), [&] { meeting.meanwhile(encounter); });
    if (!result) continue;  // the clock is read in fewer steps now and then
    ++met;
    check_everything(encounter);
    meeting.check(encounter);
    if (HasFailure()) break;  // the first one says it all
  }
  EXPECT_TRUE(HasFailure() || 2 * met > moments.size());
  std::cout << meeting.name << ": " << met << " of " << moments.size() << " moments\n";
}

// r is released while the peer, who waits for it, gives up.
void peer_gives_up(Encounter& e) { e.had = e.give_up(e.peer, e.first); }
void peer_has_it_or_nobody(Encounter& e) {
  EXPECT_EQ(e.owner(e.r), e.had ? e.peer.id : 0);
  EXPECT_TRUE(e.had || is_free(e.domain.word(e.r)));
}
void release_r(Encounter& e) { e.release(e.stopped, e.r); }
void begin_r(Encounter& e) { e.begin(e.stopped, e.first, e.r); }
void release_r_by_third(Encounter& e) { e.release(e.third, e.r); }
// Not while the other has the latch, for who unregisters waits for it.
void r_goes(Encounter& e) { e.had = e.domain.engine.retire(e.third, e.r, 0).has_value(); }
// Who waits for a share is granted it, and nothing else that he asks for meanwhile ends it (I6).
void peer_has_his_share(Encounter& e) {
  EXPECT_FALSE(e.had) << "a share beside the one he waits for";
  EXPECT_TRUE(e.give_up(e.peer, e.first));
  const auto kind = e.domain.engine.held_kind(e.peer, e.r);
  ASSERT_TRUE(kind) << kind.error().message();
  EXPECT_EQ(*kind, HoldKind::Shared);
}
void peer_awaits_a_share(Encounter& e) {
  e.hold(e.stopped, e.r);
  e.begin(e.peer, e.first, e.r, HoldKind::Shared);
}
void one_deadlock(Encounter& e) {
  EXPECT_EQ(load(e.domain.tables().region->deadlocks), 1u) << "I7";
  EXPECT_EQ(load(e.domain.tables().region->late_victims), 0u);
}

const Meeting kMeetings[] = {
    {"release_and_give_up",
     [](Encounter& e) {
       e.hold(e.stopped, e.r);
       e.begin(e.peer, e.first, e.r);
     },
     release_r, peer_gives_up, peer_has_it_or_nobody},
    {"release_and_give_up_before_another",
     [](Encounter& e) {
       e.hold(e.stopped, e.r);
       e.begin(e.peer, e.first, e.r);
       e.begin(e.third, e.second, e.r);
     },
     release_r, peer_gives_up,
     [](Encounter& e) {
       EXPECT_EQ(e.owner(e.r), e.had ? e.peer.id : e.third.id);
       EXPECT_EQ(e.domain.engine.is_decided(e.second), !e.had);
     }},
    {"release_and_give_up_a_share",
     [](Encounter& e) {
       e.hold(e.stopped, e.r);
       e.begin(e.peer, e.first, e.r, HoldKind::Shared);
     },
     release_r, peer_gives_up,
     [](Encounter& e) {
       EXPECT_EQ(e.domain.engine.held_kind(e.peer, e.r).has_value(), e.had);
       EXPECT_TRUE(e.had || is_free(e.domain.word(e.r)));
     }},
    {"release_and_try_what_is_waited_for", peer_awaits_a_share, release_r,
     [](Encounter& e) {
       e.had = e.domain.engine.acquire(e.peer, e.r, trying(HoldKind::Shared)).has_value();
     },
     peer_has_his_share},
    {"release_and_wait_for_it_twice", peer_awaits_a_share, release_r,
     [](Encounter& e) {
       Grant grant;
       const auto again =
           e.domain.engine.begin(e.peer, e.r, blocking(HoldKind::Shared), e.second, grant);
       e.had = again.has_value();
       EXPECT_TRUE(again || again.error().code() == ErrorCode::Deadlock);
     },
     peer_has_his_share},
    {"begin_any_of_one_twice_and_release", [](Encounter& e) { e.hold(e.third, e.r); },
     [](Encounter& e) { e.share_any_of_one(e.stopped, e.r); }, release_r_by_third,
     [](Encounter& e) {
       const auto kind = e.domain.engine.held_kind(e.stopped, e.r);
       ASSERT_TRUE(kind) << kind.error().message();
       EXPECT_EQ(*kind, HoldKind::Shared) << "I11";
     }},
    {"last_other_reader_goes_and_give_up_an_upgrade",
     [](Encounter& e) {
       e.hold(e.stopped, e.r, HoldKind::Shared);
       e.hold(e.peer, e.r, HoldKind::Shared);
       e.begin_upgrade();
     },
     [](Encounter& e) { e.release(e.stopped, e.r, HoldKind::Shared); },
     [](Encounter& e) { e.time_out_upgrade(); },
     [](Encounter& e) {
       EXPECT_TRUE(e.had) << "I2: what he had, or what he wanted";
       EXPECT_TRUE(e.released);
       EXPECT_TRUE(HoldList(e.peer).empty());
       EXPECT_TRUE(is_free(e.domain.word(e.r)));
     }},
    {"last_reader_goes_and_give_up",
     [](Encounter& e) {
       e.hold(e.stopped, e.r, HoldKind::Shared);
       e.begin(e.peer, e.first, e.r);
     },
     [](Encounter& e) { e.release(e.stopped, e.r, HoldKind::Shared); }, peer_gives_up,
     peer_has_it_or_nobody},
    {"downgrade_and_give_up",
     [](Encounter& e) {
       e.hold(e.stopped, e.r);
       e.begin(e.peer, e.first, e.r, HoldKind::Shared);
     },
     [](Encounter& e) { EXPECT_TRUE(e.domain.engine.downgrade(e.stopped, e.r)); }, peer_gives_up,
     [](Encounter& e) {
       EXPECT_EQ(e.domain.engine.held_kind(e.peer, e.r).has_value(), e.had);
       EXPECT_EQ(*e.domain.engine.held_kind(e.stopped, e.r), HoldKind::Shared);
     }},
    {"begin_and_release", [](Encounter& e) { e.hold(e.third, e.r); }, begin_r, release_r_by_third,
     [](Encounter& e) { EXPECT_EQ(e.owner(e.r), e.stopped.id) << "I6"; }},
    {"begin_to_share_and_release", [](Encounter& e) { e.hold(e.third, e.r); },
     [](Encounter& e) { e.begin(e.stopped, e.first, e.r, HoldKind::Shared); }, release_r_by_third,
     [](Encounter& e) {
       EXPECT_EQ(*e.domain.engine.held_kind(e.stopped, e.r), HoldKind::Shared) << "I6";
     }},
    {"share_and_acquire", [](Encounter&) {},
     [](Encounter& e) { (void)e.domain.engine.acquire(e.stopped, e.r, trying(HoldKind::Shared)); },
     [](Encounter& e) { e.had = e.domain.engine.acquire(e.peer, e.r, trying()).has_value(); },
     [](Encounter& e) {
       EXPECT_NE(e.had, e.domain.engine.held_kind(e.stopped, e.r).has_value()) << "I1";
     }},
    {"begin_while_the_resource_goes", [](Encounter& e) { e.hold(e.third, e.r); }, begin_r, r_goes,
     [](Encounter& e) {
       // Or the request came too late for the resource.
       EXPECT_NE(e.had, e.has_node(e.stopped, RM_NODE_WAITING)) << "I6";
     }},
    {"two_close_a_cycle",
     [](Encounter& e) {
       e.hold(e.stopped, e.s);
       e.hold(e.third, e.r);
     },
     begin_r, [](Encounter& e) { e.begin(e.third, e.second, e.s); }, one_deadlock},
    {"two_release_what_a_group_waits_for",
     [](Encounter& e) {
       e.hold(e.stopped, e.r);
       e.hold(e.third, e.s);
       e.begin_any(e.peer, e.first);
     },
     release_r, [](Encounter& e) { e.release(e.third, e.s); },
     [](Encounter& e) {
       EXPECT_TRUE(e.domain.engine.is_decided(e.first)) << "I6";
       EXPECT_TRUE(e.give_up(e.peer, e.first));
       EXPECT_EQ(e.owner(e.first.handle), e.peer.id);
       EXPECT_TRUE(is_free(e.domain.word(e.first.handle == e.r ? e.s : e.r))) << "I11";
     }},
    {"release_and_a_group_gives_up",
     [](Encounter& e) {
       e.hold(e.stopped, e.r);
       e.hold(e.third, e.s);
       e.begin_any(e.peer, e.first);
     },
     release_r, peer_gives_up, peer_has_it_or_nobody},
    {"release_and_a_group_that_shares_gives_up",
     [](Encounter& e) {
       e.hold(e.stopped, e.r);
       e.hold(e.third, e.s);
       e.begin_any(e.peer, e.first, HoldKind::Shared);
     },
     release_r, peer_gives_up,
     [](Encounter& e) {
       EXPECT_EQ(e.domain.engine.held_kind(e.peer, e.r).has_value(), e.had);
       EXPECT_TRUE(e.had || is_free(e.domain.word(e.r)));
     }},
    {"begin_any_and_release",
     [](Encounter& e) {
       e.hold(e.third, e.r);
       e.hold(e.third, e.s);
     },
     [](Encounter& e) { e.begin_any(e.stopped, e.first); },
     [](Encounter& e) { e.release(e.third, e.s); },
     [](Encounter& e) { EXPECT_EQ(e.owner(e.s), e.stopped.id) << "I6"; }},
    {"begin_any_and_release_of_both",
     [](Encounter& e) {
       e.hold(e.third, e.r);
       e.hold(e.third, e.s);
     },
     [](Encounter& e) { e.begin_any(e.stopped, e.first); },
     [](Encounter& e) {
       e.release(e.third, e.r);
       e.release(e.third, e.s);
     },
     [](Encounter& e) {
       EXPECT_NE(e.owner(e.r) == e.stopped.id, e.owner(e.s) == e.stopped.id) << "I11";
     }},
    {"begin_any_while_one_goes",
     [](Encounter& e) {
       e.hold(e.third, e.r);
       e.hold(e.peer, e.s);
     },
     [](Encounter& e) { e.begin_any(e.stopped, e.first); }, r_goes,
     [](Encounter& e) {
       e.release(e.peer, e.s);
       EXPECT_EQ(e.owner(e.s), e.stopped.id) << "I6";
     }},
    {"a_group_closes_a_cycle",
     [](Encounter& e) {
       e.hold(e.third, e.r);
       e.hold(e.third, e.s);
       e.hold(e.stopped, e.t);
     },
     [](Encounter& e) { e.begin_any(e.stopped, e.first); },
     [](Encounter& e) { e.begin(e.third, e.second, e.t); }, one_deadlock},
    {"the_last_way_becomes_a_cycle",
     [](Encounter& e) {
       e.hold(e.stopped, e.r);
       e.hold(e.third, e.s);
       e.hold(e.peer, e.t);
       e.begin_any(e.peer, e.first);
     },
     [](Encounter& e) { e.begin(e.stopped, e.second, e.t); },
     [](Encounter& e) {
       // The other process has its own of these.
       e.begin(e.third, e.second, e.t);
     },
     one_deadlock},
};

INSTANTIATE_TEST_SUITE_P(Moments, LockMeeting, ::testing::ValuesIn(kMeetings),
                         [](const auto& meeting) { return std::string(meeting.param.name); });

}  // namespace
}  // namespace resmgr::lock::test
