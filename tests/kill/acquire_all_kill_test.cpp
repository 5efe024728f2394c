// SPDX-License-Identifier: Apache-2.0
//
// A client killed between any two instructions of an acquire_all that no thread waits for (I1 to
// I6): while it asks, waits, is told, gives up, and lets go of what it has of the whole.
#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "resmgr/client/acquire_all.hpp"
#include "resmgr/registry/region.hpp"
#include "resmgr/registry/view.hpp"
#include "tests/kill/lock_scene.hpp"

namespace resmgr::lock::test {
namespace {

using client::AcquireAll;

/// The victim's steps, as who has a ring takes them: Scene::first is the wait for one of them.
class Steps {
 public:
  explicit Steps(Scene& scene, HoldKind second = HoldKind::Exclusive)
      : scene_(scene),
        all_(AcquireAll::make(scene.domain.engine, view_, scene.victim(),
                              std::array{Wanted(scene.r), Wanted(scene.s, second)}, blocking())
                 .value()) {}

  /// Asks until it has to wait, which is slept for, or there is an outcome; or so often.
  void go_on(unsigned most = 10) {
    for (; most != 0 && !ends_ && all_.next(); --most) {
      const Wanted* const next = all_.next();
      scene_.first.wake_target = kVictim + 1;  // its process's doorbell
      Grant grant;
      auto at_once =
          engine().begin(scene_.victim(), next->handle, all_.request(), scene_.first, grant);
      if (at_once && !*at_once && !engine().is_decided(scene_.first)) {
        (void)engine().sleep_on(scene_.victim(), scene_.first);
        return;
      }
      if (at_once && *at_once) {
        all_.granted(grant);
      } else {
        heed(at_once ? engine().finish(scene_.victim(), scene_.first)
                     : std::unexpected(std::move(at_once.error())));
      }
    }
  }
  /// What became of the wait.
  void finish() {
    heed(engine().finish(scene_.victim(), scene_.first));
    go_on();
  }
  void cancel() {
    (void)engine().give_up(scene_.first, RM_NODE_CANCELLED);
    ends_ = true;
    heed(engine().finish(scene_.victim(), scene_.first));
    if (all_.next()) (void)all_.refused(Error(ErrorCode::Cancelled));
  }
  [[nodiscard]] bool has_all() const { return all_.next() == nullptr; }

 private:
  [[nodiscard]] LockEngine& engine() const { return scene_.domain.engine; }
  void heed(Result<Grant> outcome) {
    if (outcome) {
      all_.granted(*outcome);
    } else if (!all_.refused(std::move(outcome.error()))) {
      ends_ = true;
    }
  }

  Scene& scene_;
  /// Of nothing: their class is not known, and they are asked for in the order of their slots.
  registry::RegistryRegion registry_ =
      registry::RegistryRegion::create(tiny_capacities(kVictim), RegionIdentity{.domain_id = 1})
          .value();
  registry::RegistryView view_{registry_};
  AcquireAll all_;
  bool ends_ = false;
};

/// What `prepare` makes, and `act` goes on with.
Steps& make(Scene& s, HoldKind second = HoldKind::Exclusive) {
  const auto made = std::make_shared<Steps>(s, second);
  s.asked = made;
  return *made;
}
Steps& steps(Scene& s) { return *std::static_pointer_cast<Steps>(s.asked); }

void begin(Scene& s, HoldKind second = HoldKind::Exclusive) { make(s, second).go_on(); }

/// By the victim, whose process says nothing else.
void must(bool so) {
  if (!so) std::abort();
}

void nothing(Scene&) {}

// The victim has r, and waits for s; another one waits behind it for r.
void waits_for_the_second(Scene& s) {
  s.hold(s.peer(), s.s);
  begin(s);
  ASSERT_FALSE(steps(s).has_all());
  ASSERT_TRUE(s.domain.engine.held_kind(s.victim(), s.r));
  s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 1000);
}

void was_granted_the_second(Scene& s) {
  waits_for_the_second(s);
  ASSERT_TRUE(s.domain.engine.release(s.peer(), s.s, HoldKind::Exclusive));
  ASSERT_TRUE(s.domain.engine.is_decided(s.first));
}

// It waits for r, has been granted it, and will have to wait for s.
void was_granted_the_first(Scene& s) {
  s.hold(s.peer(), s.r);
  s.hold(s.other(), s.s);
  begin(s);
  ASSERT_TRUE(s.domain.engine.release(s.peer(), s.r, HoldKind::Exclusive));
  ASSERT_TRUE(s.domain.engine.is_decided(s.first));
}

const Operation kOperations[] = {
    {"all_that_are_free", nothing,
     [](Scene& s) {
       begin(s);
       must(steps(s).has_all());
       s.asked.reset();
     },
     12},
    {"all_where_one_is_shared", nothing,
     [](Scene& s) {
       begin(s, HoldKind::Shared);
       must(steps(s).has_all());
       s.asked.reset();
     },
     14},
    {"all_but_one_are_free", [](Scene& s) { s.hold(s.peer(), s.s); }, [](Scene& s) { begin(s); },
     25},
    {"the_first_was_granted", was_granted_the_first, [](Scene& s) { steps(s).finish(); }, 25},
    {"the_last_was_granted", was_granted_the_second,
     [](Scene& s) {
       steps(s).finish();
       must(steps(s).has_all());
     },
     5},
    // Who has s waits for r: a deadlock, of which the victim is the victim.
    {"all_are_let_go_of_and_asked_for_again",
     [](Scene& s) {
       s.hold(s.peer(), s.s);
       make(s).go_on(1);
       s.wait(s.peer(), s.r, RM_WAIT_EXCLUSIVE, 1);
     },
     [](Scene& s) {
       steps(s).go_on();
       must(!steps(s).has_all() && !s.domain.engine.held_kind(s.victim(), s.r));
     },
     40},
    {"all_are_given_up", waits_for_the_second, [](Scene& s) { steps(s).cancel(); }, 15},
    {"all_are_given_up_between_two", was_granted_the_first, [](Scene& s) { steps(s).cancel(); },
     10},
    {"all_are_given_up_too_late", was_granted_the_second, [](Scene& s) { steps(s).cancel(); }, 5},
    {"all_are_let_go_of", was_granted_the_second,
     [](Scene& s) {
       steps(s).finish();
       s.asked.reset();
     },
     15},
};

class AcquireAllKill : public LockKill {};

TEST_P(AcquireAllKill, LeavesNothingBehind) { kill_after_each_store(); }

INSTANTIATE_TEST_SUITE_P(Operations, AcquireAllKill, ::testing::ValuesIn(kOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

}  // namespace
}  // namespace resmgr::lock::test
