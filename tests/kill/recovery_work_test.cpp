// SPDX-License-Identifier: Apache-2.0
//
// How much recovery has to do, whatever the dead left, and living latch holders, whatever a peer
// wrote and however many have come or are about to: twice the table, twice the work, or a little
// more for sorting. What is counted is instructions, of a child that does it step by step.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "resmgr/lock/recovery.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/kill/lock_inspection.hpp"
#include "tests/lock/fixture.hpp"
#include "tests/registry/stepper.hpp"

namespace resmgr::lock::test {
namespace {

using registry::test::kill_where;
using registry::test::stepping_is_impossible;

constexpr std::uint32_t kDead = 1;
constexpr std::uint32_t kFew = 40;
constexpr std::uint32_t kMany = 4 * kFew;

Capacities of_size(std::uint32_t size) {
  return {.slots = size,
          .contexts = size + 1,
          .clients = kDead + 1,
          .nodes = size,
          .cells = size,
          .classes = 2,
          .drivers = 2,
          .pairs = 0,
          .dependencies = 0,
          .shares = 0};
}

/// A domain that one client filled with whatever it liked.
struct Scene {
  explicit Scene(std::uint32_t entries) : size(entries), domain(of_size(entries)) {}
  Context& dead() { return *domain.contexts.open(kDead, 0, 0, this_thread()).value(); }
  /// Node `index`, of a dead context, QUEUED for a slot, where none of it needs to be true.
  rm_node& node(Context& who, std::uint32_t slot, std::uint16_t priority, std::uint32_t refs) {
    rm_node& taken = *NodePool(domain.tables()).take(who);
    store(taken.slot, slot);
    store(taken.generation, 1u);
    store(taken.context, who.id);
    store(taken.priority, priority);
    store(taken.mode, std::uint8_t{RM_WAIT_EXCLUSIVE});
    store(taken.refs, std::uint32_t{who.id} << RM_REF_CONTEXT_SHIFT | refs);
    store(taken.word, std::uint64_t{1} << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING);
    return taken;
  }
  /// Priorities by which each but the first belongs between all before it and the first.
  [[nodiscard]] std::uint16_t worst(std::uint32_t i) const noexcept {
    return static_cast<std::uint16_t>(i == 0 ? 0 : size - i);
  }
  void set_word(Handle handle, const std::function<StateWord(StateWord)>& change) {
    store(domain.slot(handle).word, change(domain.word(handle)).bits);
  }

  std::uint32_t size;
  std::deque<Wait> waits;
  Domain domain;
};

constexpr std::uint32_t kQueued = RM_NODE_REF_OWNER | RM_NODE_REF_LINKED | RM_NODE_REF_QUEUED;
constexpr std::uint32_t kUnpushed = RM_NODE_REF_OWNER | RM_NODE_REF_LINKED;

// Those who wait live; who had the latch does not.
void one_long_queue(Scene& scene) {
  const Handle h = scene.domain.arm(0);
  Context& living = scene.domain.open();
  Context& dead = scene.dead();
  for (std::uint32_t i = 0; i < scene.size; ++i) {
    (void)scene.node(living, 0, scene.worst(i), kQueued);
  }
  scene.set_word(h, [&](StateWord word) { return word.with_owner(living.id).with_latch(dead.id); });
}

// The same, in the inbox of a resource whose latch is free.
void one_long_inbox(Scene& scene) {
  const Handle h = scene.domain.arm(0);
  Context& living = scene.domain.open();
  for (std::uint32_t i = 0; i < scene.size; ++i) {
    rm_node& node = scene.node(living, 0, scene.worst(i), kUnpushed);
    WaitQueue(scene.domain.tables(), scene.domain.slot(h), 0, 1).push(node);
  }
  scene.set_word(h, [&](StateWord word) {
    return word.with_owner(living.id).with(RM_WORD_WAITERS | RM_WORD_WORK);
  });
  (void)scene.dead();
}

// Each resource was in the middle of a grant.
void many_latches(Scene& scene) {
  Context& dead = scene.dead();
  for (std::uint32_t i = 0; i < scene.size; ++i) {
    const Handle h = scene.domain.arm(i);
    (void)scene.node(dead, i, 1, kQueued);
    scene.set_word(h, [&](StateWord word) {
      return word.with_owner(dead.id).with_latch(dead.id).with(RM_WORD_GRANTING);
    });
  }
}

// Where there is no resource any more.
void never_pushed(Scene& scene) {
  Context& dead = scene.dead();
  const LockTables& t = scene.domain.tables();
  store(t.slots[0].word, StateWord::free(1).with(RM_WORD_ABSENT).bits);
  for (std::uint32_t i = 0; i < scene.size; ++i) {
    rm_node& node = scene.node(dead, 0, 1, kUnpushed);
    store(node.next_link, load(t.slots[0].inbox_link));
    if (i % 2 == 0) store(t.slots[0].inbox_link, t.link_of(&node));
  }
}

// Readers of one resource.
void one_long_chain(Scene& scene) {
  const Handle h = scene.domain.arm(0);
  for (std::uint32_t i = 0; i < scene.size; ++i) {
    ASSERT_TRUE(scene.domain.engine.acquire(scene.dead(), h, trying(HoldKind::Shared)));
  }
}

// Everybody says that he holds the one resource.
void many_hold_lists(Scene& scene) {
  const Handle h = scene.domain.arm(0);
  Context& living = scene.domain.open();
  for (std::uint32_t i = 0; i + 1 < scene.size; ++i) {
    Context& dead = scene.dead();
    for (int times = 0; times < 4; ++times) (void)HoldList(dead).add(h, 0, false, {});
    (void)CellPool(scene.domain.tables()).park(dead, scene.domain.slot(h), 0, 1);
  }
  scene.set_word(h, [&](StateWord word) { return word.with_owner(living.id); });
}

/// What a living one does who may find anything.
using Action = std::function<void()>;

// He has the resource, and releases it.
Action one_queue(Scene& scene, const std::function<std::uint16_t(std::uint32_t)>& priority,
                 std::uint8_t attributes, const std::function<bool(std::uint32_t)>& is_new) {
  const Handle h = scene.domain.arm(0, 0, attributes);
  Context& living = *scene.domain.contexts.open(0, 0, 0, this_thread()).value();
  EXPECT_TRUE(scene.domain.engine.acquire(living, h, trying()));
  const LockTables& t = scene.domain.tables();
  rm_slot& slot = scene.domain.slot(h);
  for (std::uint32_t i = 0; i < scene.size; ++i) {
    if (is_new(i)) continue;
    rm_node& node = scene.node(living, 0, priority(i), kQueued);
    rm_node* const tail = t.node(load(slot.queue_tail_link));
    store(tail ? tail->next_link : slot.queue_head_link, t.link_of(&node));
    store(slot.queue_tail_link, t.link_of(&node));
  }
  for (std::uint32_t i = 0; i < scene.size; ++i) {
    if (!is_new(i)) continue;
    WaitQueue(t, slot, 0, 1).push(scene.node(living, 0, priority(i), kUnpushed));
  }
  scene.set_word(h, [](StateWord word) { return word.with(RM_WORD_WAITERS | RM_WORD_WORK); });
  return
      [&scene, &living, h] { (void)scene.domain.engine.release(living, h, HoldKind::Exclusive); };
}
std::uint16_t scattered(std::uint32_t i) { return static_cast<std::uint16_t>(i * 40503u); }
bool all_are(std::uint32_t) { return true; }
bool none_is(std::uint32_t) { return false; }
bool every_second_is(std::uint32_t i) { return i % 2 == 0; }

Action each_before_the_last(Scene& scene) {
  return one_queue(scene, [&](std::uint32_t i) { return scene.worst(i); }, 0, all_are);
}
Action each_anywhere(Scene& scene) { return one_queue(scene, scattered, 0, all_are); }
Action a_queue_to_sort(Scene& scene) {
  return one_queue(
      scene, [&](std::uint32_t i) { return scene.worst(i); }, RM_SLOT_ATTR_RESORT, none_is);
}
Action as_many_before_as_came(Scene& scene) {
  return one_queue(
      scene, [&](std::uint32_t i) { return static_cast<std::uint16_t>(scene.size - i); }, 0,
      every_second_is);
}
Action an_inbox_without_an_end(Scene& scene) {
  Action action = one_queue(scene, scattered, 0, all_are);
  const LockTables& t = scene.domain.tables();
  store(t.nodes[0].next_link, load(t.slots[0].inbox_link));
  return action;
}

// ---- those who read one resource, by their cells ----

/// The first of them is the one who writes.
std::vector<Context*> open_all(Scene& scene) {
  std::vector<Context*> all(scene.size);
  for (Context*& each : all) each = scene.domain.contexts.open(0, 0, 0, this_thread()).value();
  return all;
}
void wait_for(Scene& scene, Context& context, Handle handle, HoldKind kind) {
  Grant grant;
  const auto at_once =
      scene.domain.engine.begin(context, handle, blocking(kind), scene.waits.emplace_back(), grant);
  ASSERT_TRUE(at_once && !*at_once);
}

// He has it, and they wait.
Action readers_who_come(Scene& scene, std::uint8_t attributes) {
  const Handle h = scene.domain.arm(0, 0, attributes);
  const auto all = open_all(scene);
  EXPECT_TRUE(scene.domain.engine.acquire(*all[0], h, trying()));
  for (std::size_t i = 1; i < all.size(); ++i) wait_for(scene, *all[i], h, HoldKind::Shared);
  return [&scene, h, writer = all[0]] {
    (void)scene.domain.engine.release(*writer, h, HoldKind::Exclusive);
    for (const Wait& wait : scene.waits) {
      if (!scene.domain.engine.is_decided(wait)) std::abort();
    }
  };
}
// They have it, and let it go one after the other, while he waits.
Action readers_who_go(Scene& scene, const std::function<std::size_t(std::size_t)>& order) {
  const Handle h = scene.domain.arm(0);
  const auto all = open_all(scene);
  for (std::size_t i = 1; i < all.size(); ++i) {
    EXPECT_TRUE(scene.domain.engine.acquire(*all[i], h, trying(HoldKind::Shared)));
  }
  wait_for(scene, *all[0], h, HoldKind::Exclusive);
  std::vector<Context*> going;
  for (std::size_t i = 1; i < all.size(); ++i) going.push_back(all[1 + order(i - 1)]);
  return [&scene, h, going] {
    for (Context* each : going) (void)scene.domain.engine.release(*each, h, HoldKind::Shared);
    if (!scene.domain.engine.is_decided(scene.waits.front())) std::abort();
  };
}
Action readers_who_waited(Scene& scene) { return readers_who_come(scene, 0); }
Action readers_of_hardware(Scene& scene) { return readers_who_come(scene, RM_SLOT_ATTR_QUIESCE); }
Action the_first_goes_first(Scene& scene) {
  return readers_who_go(scene, [](std::size_t i) { return i; });
}
Action the_last_goes_first(Scene& scene) {
  return readers_who_go(scene, [&](std::size_t i) { return scene.size - 2 - i; });
}
Action they_go_anyhow(Scene& scene) {
  // 7 has no factor in common with how many they are.
  return readers_who_go(scene, [&](std::size_t i) { return i * 7 % (scene.size - 1); });
}

struct Damage {
  const char* name;
  void (*fill)(Scene&);
};
struct Find {
  const char* name;
  Action (*fill)(Scene&);
};
std::ostream& operator<<(std::ostream& out, const Find& find) { return out << find.name; }
std::ostream& operator<<(std::ostream& out, const Damage& damage) { return out << damage.name; }

template <typename Param>
class Work : public ::testing::TestWithParam<Param> {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "the instructions of a sanitizer are not ours";
    if (const auto why = stepping_is_impossible()) GTEST_SKIP() << *why;
  }
  static std::uint64_t count(const Action& action) {
    std::uint64_t instructions = 0;
    const auto stopped = kill_where([] {}, action,
                                    [&](std::uintptr_t) {
                                      ++instructions;
                                      return false;
                                    });
    EXPECT_EQ(stopped, false) << "it ended otherwise";
    return instructions;
  }
  static void compare(const char* name, std::uint64_t few, std::uint64_t many) {
    std::cout << name << ": " << few << ", " << many << " instructions\n";
    ASSERT_GT(few, 1000u);
    // Four times as much, and for sorting up to half more; the square would be sixteen times.
    EXPECT_LT(many, 7 * few);
  }
};

class RecoveryWork : public Work<Damage> {
 protected:
  static std::uint64_t instructions(std::uint32_t size) {
    Scene scene(size);
    GetParam().fill(scene);
    if (HasFatalFailure()) return 0;
    Recovery recovery(scene.domain.engine);
    (void)recovery.mark_dead(kDead);
    return count([&] { (void)recovery.run(size); });
  }
};

TEST_P(RecoveryWork, GrowsWithTheTable) {
  compare(GetParam().name, instructions(kFew), instructions(kMany));
}

class LivingWork : public Work<Find> {
 protected:
  static std::uint64_t instructions(std::uint32_t size) {
    Scene scene(size);
    const Action action = GetParam().fill(scene);
    return HasFailure() ? 0 : count(action);
  }
};

TEST_P(LivingWork, GrowsWithWhatIsFound) {
  compare(GetParam().name, instructions(kFew), instructions(kMany));
}

constexpr Damage kDamages[] = {
    {"one_long_queue", one_long_queue}, {"one_long_inbox", one_long_inbox},
    {"many_latches", many_latches},     {"never_pushed", never_pushed},
    {"one_long_chain", one_long_chain}, {"many_hold_lists", many_hold_lists},
};

constexpr Find kFinds[] = {
    {"each_before_the_last", each_before_the_last},
    {"each_anywhere", each_anywhere},
    {"a_queue_to_sort", a_queue_to_sort},
    {"as_many_before_as_came", as_many_before_as_came},
    {"an_inbox_without_an_end", an_inbox_without_an_end},
    {"readers_who_waited", readers_who_waited},
    {"readers_of_hardware", readers_of_hardware},
    {"the_first_goes_first", the_first_goes_first},
    {"the_last_goes_first", the_last_goes_first},
    {"they_go_anyhow", they_go_anyhow},
};

INSTANTIATE_TEST_SUITE_P(Finds, LivingWork, ::testing::ValuesIn(kFinds),
                         [](const auto& find) { return std::string(find.param.name); });

INSTANTIATE_TEST_SUITE_P(Damages, RecoveryWork, ::testing::ValuesIn(kDamages),
                         [](const auto& damage) { return std::string(damage.param.name); });

}  // namespace
}  // namespace resmgr::lock::test
