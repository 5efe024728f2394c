// SPDX-License-Identifier: Apache-2.0
//
// A sound domain that changes while the doctor looks at it. Its authority stands still after any
// store, for as long as three looks take; or it is so quick that each look has some of before and
// some of after. Neither is a finding.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <functional>
#include <iostream>
#include <optional>
#include <ostream>
#include <span>
#include <string>

#include "tests/registry/stepper.hpp"
#include "tests/tools/resmgrctl/support.hpp"

namespace resmgrctl::test {
namespace {

using resmgr::Handle;
using resmgr::load;
using ::testing::IsEmpty;

// As little memory as it takes: all of it is compared after each instruction.
constexpr resmgr::Capacities kTiny{.slots = 8,
                                   .contexts = 6,
                                   .clients = 4,
                                   .nodes = 8,
                                   .cells = 12,
                                   .classes = 10,
                                   .drivers = 8,
                                   .pairs = 8,
                                   .dependencies = 8,
                                   .shares = 8};

// ---- stopped ------------------------------------------------------------------------------------

struct Scene {
  [[nodiscard]] std::array<std::span<std::byte>, 2> memories() {
    auto& state = world.state();
    auto* const locks = reinterpret_cast<std::byte*>(state.locks().tables().region);
    auto* const registry = reinterpret_cast<std::byte*>(state.registry().tables().root);
    return {std::span(registry, state.registry().header().region_bytes),
            std::span(locks, state.locks().header().region_bytes)};
  }
  [[nodiscard]] resmgr::registry::RegistryWriter& writer() { return world.state().writer(); }

  World world{0, kTiny};
  std::uint32_t driver = world.driver("user");
  Handle a = world.add("a", {.flags = resmgr::ResourceFlags::Shareable});
  Handle b = world.add("b");
  resmgr::lock::Context& context = world.open();
};

struct Operation {
  const char* name;
  std::function<void(Scene&)> prepare;
  std::function<void(Scene&)> act;
  std::size_t at_least;  ///< so many stores it has
};

std::ostream& operator<<(std::ostream& out, const Operation& operation) {
  return out << operation.name;
}

class DoctorStopTest : public ::testing::TestWithParam<Operation> {};

TEST_P(DoctorStopTest, FindsNothingWhereverTheAuthorityStands) {
  if (const auto why = resmgr::registry::test::stepping_is_impossible()) GTEST_SKIP() << *why;
  Scene scene;
  GetParam().prepare(scene);
  const auto memories = scene.memories();
  std::size_t number = 0;
  const std::size_t stops = resmgr::registry::test::for_each_death(
      memories, [&] { GetParam().act(scene); },
      [&] {
        SCOPED_TRACE("after store " + std::to_string(number++));
        if (HasFailure()) return;  // the first one says it all
        // Nothing moves: whatever one look shows, all that follow show.
        auto shown = examine(scene.world.look());
        std::erase_if(shown, &Finding::note);
        EXPECT_THAT(checks_of(shown), IsEmpty());
      });
  EXPECT_GE(stops, GetParam().at_least);
  std::cout << GetParam().name << ": " << stops << " stops\n";
}

void nothing(Scene&) {}

void shared(Scene& scene) {
  ASSERT_TRUE(scene.writer().shares().share(scene.a, 0, scene.driver, resmgr::Rights::Read));
}

void bound(Scene& scene) { ASSERT_TRUE(scene.writer().dependencies().add(scene.a, scene.b)); }

void add_two(Scene& scene) {
  const auto needing = scene.writer().prepare("needing", {.owner_client = World::kClient});
  const auto needed = scene.writer().prepare("needed", {.owner_client = World::kClient});
  for (const auto& each : {*needing, *needed}) {
    scene.world.engine().arm(each.slot, each.generation, each.class_id, 0);
  }
  using resmgr::Lifecycle;
  (void)scene.writer().publish_with_needed(*needing, Lifecycle::Ready, *needed, Lifecycle::Ready);
}

void adopt(Scene& scene) {
  (void)scene.writer().adopt(scene.a, World::kClient, 7, resmgr::Lifecycle::Ready);
}

constexpr std::array<resmgr::PairText, 2> kPairs{{{"format", "XR24"}, {"width", "1920"}}};

const Operation kOperations[] = {
    {"register", nothing, [](Scene& s) { s.world.add("c"); }, 15},
    {"register_with_pairs", nothing,
     [](Scene& s) { s.world.add("c", {.class_name = "new", .pairs = kPairs}); }, 30},
    {"register_with_what_it_needs", nothing, add_two, 30},
    {"unregister", nothing, [](Scene& s) { s.world.remove(s.a, s.context); }, 15},
    {"unregister_what_needs_another", bound, [](Scene& s) { s.world.remove(s.a, s.context); }, 20},
    {"register_in_a_slot_again", [](Scene& s) { s.world.remove(s.a, s.context); },
     [](Scene& s) { s.world.add("c"); }, 15},
    {"share", nothing, shared, 3},
    {"unshare", shared, [](Scene& s) { (void)s.writer().shares().unshare(s.a, 0, s.driver); }, 3},
    {"add_dependency", nothing, bound, 4},
    {"remove_dependency", bound, [](Scene& s) { (void)s.writer().dependencies().remove(s.a, s.b); },
     3},
    {"adopt",
     [](Scene& s) { ASSERT_TRUE(s.writer().set_lifecycle(s.a, resmgr::Lifecycle::Orphaned)); },
     adopt, 3},
    {"recover", bound, [](Scene& s) { (void)s.writer().recover(); }, 10},
};

INSTANTIATE_TEST_SUITE_P(Operations, DoctorStopTest, ::testing::ValuesIn(kOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

// ---- quick --------------------------------------------------------------------------------------

/// Each look has the root from a moment when there was a resource that its entries, copied later,
/// have no more; and so has the next one of a resource that came and went since.
class TornLooks final : public Source {
 public:
  explicit TornLooks(World& world) : world_(world), context_(world.open()) {}

  [[nodiscard]] Outcome<Look> look() override {
    rm_registry_region& root = *world_.state().registry().tables().root;
    const Handle coming = world_.add("coming");
    const std::uint32_t live = load(root.live);
    const std::uint32_t changes = load(root.changes_seq);
    world_.remove(coming, context_);
    const Damage old_live(root.live, live);
    const Damage old_changes(root.changes_seq, changes);
    return world_.look();
  }
  [[nodiscard]] std::optional<Outcome<Look>> look_before() override { return std::nullopt; }
  [[nodiscard]] const Origin& origin() const noexcept override { return origin_; }
  [[nodiscard]] resmgr::client::Link* link() noexcept override { return nullptr; }

 private:
  World& world_;
  resmgr::lock::Context& context_;
  Origin origin_;
};

TEST(DoctorChangeTest, FindsNothingInLooksOfSeveralMoments) {
  World world;
  world.add("used");
  TornLooks source(world);
  const auto first = source.look();
  ASSERT_TRUE(first);
  ASSERT_THAT(checks_of(examine(*first)), ::testing::ElementsAre("resources-miscounted"))
      << "one look alone can't be told from a wrong counter";
  const auto diagnosis = diagnose(source, std::chrono::milliseconds(0));
  ASSERT_TRUE(diagnosis);
  EXPECT_GT(diagnosis->looks, 1u);
  EXPECT_THAT(checks_of(diagnosis->findings), IsEmpty());
}

}  // namespace
}  // namespace resmgrctl::test
