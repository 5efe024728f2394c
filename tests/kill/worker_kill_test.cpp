// SPDX-License-Identifier: Apache-2.0
//
// A worker of resmgrd killed between any two instructions of what a clerk does (I3). What it does
// runs in a child process, step by step; after each store into a region, or into what the keeper
// was told, the child counts as dead: a successor takes over, the clients come back, and who was
// answered nothing asks again, as a link does. Whatever the moment, it ends as if done once.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <iostream>
#include <optional>
#include <ostream>
#include <string>

#include "resmgr/base/clock.hpp"
#include "tests/kill/worker_scene.hpp"
#include "tests/registry/stepper.hpp"

namespace resmgr::daemon::test {
namespace {

using registry::test::for_each_death;
using registry::test::stepping_far_is_impossible;
using Refusal = std::optional<ErrorCode>;

struct Operation {
  const char* name;
  std::function<void(Scene&)> prepare;
  std::function<Refusal(Scene&)> act;
  std::size_t at_least;  ///< so many stores it has
  /// What the same request is refused with if it was done before; such a refusal is a success.
  Refusal done_before = {};
  bool is_asked_again = true;  ///< not so what is done for the dead, which is begun anew
};

std::ostream& operator<<(std::ostream& out, const Operation& operation) {
  return out << operation.name;
}

class WorkerKill : public ::testing::TestWithParam<Operation> {
 protected:
  void SetUp() override {
    if (const auto why = stepping_far_is_impossible()) GTEST_SKIP() << *why;
  }

  // What there is if nobody is killed.
  [[nodiscard]] static std::string undisturbed() {
    Scene scene;
    GetParam().prepare(scene);
    EXPECT_EQ(GetParam().act(scene), Refusal());
    return scene.contents();
  }

  static void succeed(Scene& scene, const std::string& wanted) {
    Succession next(scene);
    if (GetParam().is_asked_again) next.check();
    next.clients_return();
    next.check();
    if (GetParam().is_asked_again) {
      const Refusal refusal = GetParam().act(scene);
      EXPECT_TRUE(!refusal || refusal == GetParam().done_before) << to_string(*refusal);
      next.check();
    }
    EXPECT_EQ(scene.contents(), wanted);
    next.newcomer_works();
  }
};

TEST_P(WorkerKill, ASuccessorLeavesItAsIfDoneOnce) {
  const std::string wanted = undisturbed();
  Scene scene;
  GetParam().prepare(scene);
  std::size_t number = 0;
  const std::size_t deaths = for_each_death(
      scene.memories(), [&] { (void)GetParam().act(scene); },
      [&] {
        SCOPED_TRACE("after store " + std::to_string(number++));
        if (HasFailure()) return;  // the first one says it all
        succeed(scene, wanted);
      });
  EXPECT_GE(deaths, GetParam().at_least);
  std::cout << GetParam().name << ": " << deaths << " deaths\n";
}

// ---- what there is ------------------------------------------------------------------------------

const std::array<PairText, 2> kPairs{{{"format", "XR24"}, {"width", "1920"}}};
using Step = wire::UnregisterStep;

wire::Record record(const Peer& who, std::string_view name) {
  return {
      .name = name,
      .description = {
          .class_name = "class", .flags = ResourceFlags::Shareable, .owner_driver = who.driver}};
}

Handle added(Peer& who, std::string_view name) { return who.add(record(who, name)).handle; }

Refusal unregister(Scene& scene, Step step) {
  return scene.owner->request(wire::UnregisterRequest{step, scene.a});
}

// Two, of which somebody living holds one, and another waits for it.
void two(Scene& scene) {
  scene.a = added(*scene.owner, "a");
  scene.b = added(*scene.owner, "b");
  scene.hold(*scene.user, scene.b);
  scene.wait(*scene.owner, scene.b, RM_WAIT_EXCLUSIVE, 1);
}

void two_and_one_begun(Scene& scene) {
  two(scene);
  ASSERT_FALSE(unregister(scene, Step::Begin));
}

// About to be finished, with somebody who waits for it.
void two_and_one_closed(Scene& scene) {
  two_and_one_begun(scene);
  ASSERT_TRUE(scene.owner->engine->acquire(*scene.owner->context, scene.a, trying()));
  scene.wait(*scene.user, scene.a, RM_WAIT_EXCLUSIVE, 2);
}

void two_and_a_share(Scene& scene) {
  two(scene);
  ASSERT_FALSE(scene.owner->request(
      wire::ShareRequest{.handle = scene.a, .driver = "user", .rights = Rights::Read}));
}

void two_and_an_edge(Scene& scene) {
  two(scene);
  ASSERT_FALSE(
      scene.owner->request(wire::DependencyRequest{wire::DependencyChange::Add, scene.a, scene.b}));
}

void a_lazy_one(Scene& scene) {
  two(scene);
  wire::Record lazy = record(*scene.owner, "lazy");
  lazy.description.size_bytes = 4096;
  lazy.lazy = true;
  scene.a = scene.owner->add(lazy).handle;
}

// ---- what is asked ------------------------------------------------------------------------------

Refusal add(Scene& scene, wire::Record what) { return scene.owner->add(what).error; }

Refusal add_one(Scene& scene) { return add(scene, record(*scene.owner, "new")); }

Refusal add_with_pairs(Scene& scene) {
  wire::Record what = record(*scene.owner, "new");
  what.description.class_name = "new-class";
  what.description.pairs = kPairs;
  return add(scene, what);
}

Refusal add_with_file(Scene& scene) {
  wire::Record what = record(*scene.owner, "new");
  what.description.size_bytes = 4096;
  what.fd = 0;
  auto file = scene.file();
  return scene.owner->add(what, file).error;
}

Refusal add_lazily(Scene& scene) {
  wire::Record what = record(*scene.owner, "new");
  what.description.size_bytes = 4096;
  what.lazy = true;
  return add(scene, what);
}

// The first of two is what a link asks about.
Refusal add_with_needed(Scene& scene) {
  wire::Record needing = record(*scene.owner, "new");
  needing.needs_next = true;
  wire::Record needed = record(*scene.owner, "needed");
  needed.description.size_bytes = 4096;
  needed.fd = 0;
  auto file = scene.file();
  return scene.owner->add(std::array{needing, needed}, file).at(0).error;
}

Refusal greet_late(Scene& scene) {
  Client late{.pid = 77, .start_time = 1};
  return scene.greet(late, "late");
}

template <typename Request>
std::function<Refusal(Scene&)> asking(Request (*request)(const Scene&)) {
  return [request](Scene& scene) { return scene.owner->request(request(scene)); };
}

Refusal give_memory(Scene& scene) {
  auto file = scene.file();
  return scene.owner->request(wire::SetStateRequest{.handle = scene.a, .has_fd = true}, file);
}

// ---- who died -----------------------------------------------------------------------------------

void owns(Scene& scene) {
  two(scene);
  (void)added(*scene.victim, "orphan");
  const Handle begun = added(*scene.victim, "begun");
  ASSERT_FALSE(scene.victim->request(wire::UnregisterRequest{Step::Begin, begun}));
}

void holds(Scene& scene, HoldKind kind) {
  two(scene);
  scene.hold(*scene.victim, scene.a, kind);
  scene.wait(*scene.user, scene.a, RM_WAIT_EXCLUSIVE, 2);
}

void waits(Scene& scene) {
  two(scene);
  scene.wait(*scene.victim, scene.b, RM_WAIT_EXCLUSIVE, 2);
}

void holds_exclusively(Scene& scene) { holds(scene, HoldKind::Exclusive); }

// Hardware is behind it, and whoever waits for it waits for more than its holder's end.
void holds_hardware(Scene& scene) {
  two(scene);
  wire::Record hardware = record(*scene.owner, "hardware");
  hardware.quiesce_hook = true;
  scene.a = scene.owner->add(hardware).handle;
  scene.hold(*scene.victim, scene.a);
  scene.wait(*scene.user, scene.a, RM_WAIT_EXCLUSIVE, 2);
}

// In the middle of a release: the word is latched.
void holds_the_latch(Scene& scene) {
  holds(scene, HoldKind::Exclusive);
  scene.latch(*scene.victim, scene.a);
}

// Buried as far as it goes while somebody who lives has the latch.
void is_half_buried(Scene& scene) {
  owns(scene);
  scene.hold(*scene.victim, scene.a);
  scene.latch(*scene.user, scene.a);
  scene.kill_victim();
  scene.clerk().bury(scene.victim->client);
  ASSERT_TRUE(scene.clerk().recover()) << "somebody has the latch";
  scene.unlatch(scene.a);
}

void an_orphan(Scene& scene) {
  two(scene);
  wire::Record what = record(*scene.victim, "orphan");
  what.description.size_bytes = 4096;
  what.fd = 0;
  auto file = scene.file();
  scene.a = scene.victim->add(what, file).handle;
  scene.kill_victim();
  scene.clerk().bury(scene.victim->client);
}

void an_orphan_in_use(Scene& scene) {
  an_orphan(scene);
  scene.hold(*scene.user, scene.a);
}

std::function<void(Scene&)> dead(std::function<void(Scene&)> prepare) {
  return [prepare = std::move(prepare)](Scene& scene) {
    prepare(scene);
    scene.kill_victim();
  };
}

// By a new process of its driver.
Refusal adopt(Scene& scene) {
  (void)scene.owner->request(wire::InternDriverRequest{.driver = "victim"});
  wire::Record what = record(*scene.victim, "orphan");
  what.description.size_bytes = 4096;
  what.fd = 0;
  auto file = scene.file();
  return scene.owner->add(what, file).error;
}

Refusal destroy_orphans(Scene& scene) {
  constexpr std::uint64_t kLongAfter = ~std::uint64_t{0};
  (void)scene.clerk().destroy_orphans(kLongAfter);
  return {};
}

Refusal bury(Scene& scene) {
  scene.clerk().bury(scene.victim->client);
  return {};
}

void leaves_hardware(Scene& scene) {
  holds_hardware(scene);
  scene.kill_victim();
  scene.clerk().bury(scene.victim->client);
}

Refusal unpoison(Scene& scene) {
  const auto done = scene.clerk().unpoison(scene.owner->client, scene.a);
  return done ? Refusal() : done.error().code();
}

// All attempts fail; until somebody says that it is quiet nobody can work with it.
Refusal poison_and_unpoison(Scene& scene) {
  constexpr std::uint64_t kHour = 3'600'000'000'000;
  std::uint64_t now = monotonic_ns();
  for (int i = 0; i < 12; ++i) (void)scene.clerk().quiesce(now += kHour);
  return unpoison(scene);
}

const Operation kOperations[] = {
    {"hello", two, greet_late, 4},
    {"register", two, add_one, 15, ErrorCode::AlreadyExists},
    {"register_with_pairs", two, add_with_pairs, 30, ErrorCode::AlreadyExists},
    {"register_with_a_file", two, add_with_file, 20, ErrorCode::AlreadyExists},
    {"register_lazily", two, add_lazily, 20, ErrorCode::AlreadyExists},
    {"register_with_what_it_needs", two, add_with_needed, 40, ErrorCode::AlreadyExists},
    {"begin_unregister", two, [](Scene& s) { return unregister(s, Step::Begin); }, 2,
     ErrorCode::InUse},
    {"cancel_unregister", two_and_one_begun, [](Scene& s) { return unregister(s, Step::Cancel); },
     2, ErrorCode::InvalidArgument},
    {"finish_unregister", two_and_one_closed, [](Scene& s) { return unregister(s, Step::Finish); },
     15, ErrorCode::StaleHandle},
    {"share", two, asking(+[](const Scene& s) {
       return wire::ShareRequest{.handle = s.a, .driver = "user", .rights = Rights::Read};
     }),
     3},
    {"share_with_nobody_yet", two, asking(+[](const Scene& s) {
       return wire::ShareRequest{.handle = s.a, .driver = "later", .rights = Rights::Read};
     }),
     5},
    {"unshare", two_and_a_share, asking(+[](const Scene& s) {
       return wire::ShareRequest{.change = wire::ShareChange::Unshare,
                                 .handle = s.a,
                                 .driver = "user",
                                 .rights = Rights::All};
     }),
     3, ErrorCode::NotFound},
    {"add_dependency", two, asking(+[](const Scene& s) {
       return wire::DependencyRequest{wire::DependencyChange::Add, s.a, s.b};
     }),
     4, ErrorCode::AlreadyExists},
    {"remove_dependency", two_and_an_edge, asking(+[](const Scene& s) {
       return wire::DependencyRequest{wire::DependencyChange::Remove, s.a, s.b};
     }),
     3, ErrorCode::NotFound},
    // A link takes any refusal.
    {"give_memory", a_lazy_one, give_memory, 3, ErrorCode::InvalidArgument},
    {"intern_driver", two,
     asking(+[](const Scene&) { return wire::InternDriverRequest{.driver = "another"}; }), 2},
    {"adopt", an_orphan_in_use, adopt, 3, ErrorCode::AlreadyExists},
    {"destroy_orphans", an_orphan, destroy_orphans, 12},
    {"bury_an_owner", dead(owns), bury, 6, {}, false},
    {"bury_a_holder", dead(holds_exclusively), bury, 10, {}, false},
    {"bury_a_reader", dead([](Scene& s) { holds(s, HoldKind::Shared); }), bury, 10, {}, false},
    {"bury_a_waiter", dead(waits), bury, 8, {}, false},
    {"bury_one_with_the_latch", dead(holds_the_latch), bury, 10, {}, false},
    {"bury_a_holder_of_hardware", dead(holds_hardware), bury, 10, {}, false},
    {"unpoison", leaves_hardware, unpoison, 6, ErrorCode::InvalidArgument},
    {"poison", leaves_hardware, poison_and_unpoison, 10, ErrorCode::InvalidArgument},
    {"bury_one_who_hung_up",
     [](Scene& s) {
       owns(s);
       s.hold(*s.victim, s.a);
       s.let_victim_hang_up();
     },
     bury,
     10,
     {},
     false},
    {"bury_the_rest",
     is_half_buried,
     [](Scene& s) {
       (void)s.clerk().recover();
       return Refusal();
     },
     4,
     {},
     false},
};

INSTANTIATE_TEST_SUITE_P(Operations, WorkerKill, ::testing::ValuesIn(kOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

}  // namespace
}  // namespace resmgr::daemon::test
