// SPDX-License-Identifier: Apache-2.0
//
// Stress: threads do everything to a few resources at once. At the end nothing is held, nothing is
// queued, no node and no cell is lost, and the counters say what was done.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "resmgr/lock/wait.hpp"
#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint32_t kThreads = 8;
constexpr std::uint32_t kResources = 5;
/// Slots whose tenants come and go; their numbers share a place in the cache of cells.
constexpr std::array<std::uint32_t, 2> kMoving{10, 10 + Context::kParked};

/// One hold that its context offers to any other thread to end.
struct Parcel {
  enum State { Empty, Packing, Offered, Taken };
  std::atomic<int> state = Empty;
  Context* context = nullptr;
  Handle handle;
  HoldKind kind = HoldKind::Exclusive;

  [[nodiscard]] bool move(int from, int to) { return state.compare_exchange_strong(from, to); }
};

struct Scene {
  Scene()
      : domain(
            Capacities{.slots = 128, .contexts = 64, .clients = 1, .nodes = 256, .cells = 4096}) {
    for (std::uint32_t i = 0; i < kResources; ++i) (void)domain.arm(i);
    for (std::size_t i = 0; i < moving.size(); ++i) moving[i] = domain.arm(kMoving[i]).bits();
  }
  Domain domain;
  std::array<std::atomic<std::uint64_t>, kMoving.size()> moving{};
  std::array<std::atomic<std::uint64_t>, kResources> exclusive{};
  std::array<std::atomic<std::uint64_t>, kResources> shared{};
  std::array<Parcel, kThreads> parcels;
  std::atomic<std::uint64_t> tenants = 0;
  std::atomic<std::uint64_t> ended_elsewhere = 0;
  std::atomic<std::uint64_t> any = 0;
};

/// What one thread does.
class Worker {
 public:
  Worker(Scene& scene, std::uint32_t number, std::uint64_t seed)
      : scene_(scene),
        parcel_(scene.parcels.at(number)),
        random_(seed),
        context_(&scene.domain.open(0, this_thread())) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { end_context(); }

  void turn() {
    switch (roll(16)) {
      case 0:
        end_context();
        context_ = &scene_.domain.open(0, this_thread());
        break;
      case 1:
      case 2:
        end_parcel_of(scene_.parcels.at(roll(kThreads)));
        break;
      case 3:
        next_tenant(roll(kMoving.size()));
        break;
      case 4:
        change_kind(Handle(roll(kResources), 1));
        break;
      case 5:
      case 6:
        take_any();
        break;
      default:
        take_or_give(roll(3) == 0 ? Handle::from_bits(scene_.moving.at(roll(2)).load())
                                  : Handle(roll(kResources), 1));
    }
  }

 private:
  [[nodiscard]] std::uint32_t roll(std::size_t most) {
    return static_cast<std::uint32_t>(random_() % most);
  }
  [[nodiscard]] LockEngine& engine() { return scene_.domain.engine; }
  [[nodiscard]] Request any_request() {
    const HoldKind kind = roll(2) == 0 ? HoldKind::Shared : HoldKind::Exclusive;
    const auto priority = static_cast<ResourcePriority>(roll(5));
    switch (roll(4)) {
      case 0:
        return trying(kind);
      case 1:
        return blocking(kind, priority);
      case 2:
        return emergency(kLongNs, kind);
      default:
        return timed(roll(50'000), kind, priority);
    }
  }
  [[nodiscard]] bool promised(Handle handle) const {
    return parcel_.state != Parcel::Empty && parcel_.handle == handle;
  }

  void take_or_give(Handle handle) {
    if (promised(handle)) return;
    if (const auto held = engine().held_kind(*context_, handle)) {
      give(handle, *held);
      return;
    }
    const Request request = any_request();
    if (take(handle, request) && handle.slot() < kResources) {
      auto& counts = request.kind == HoldKind::Shared ? scene_.shared : scene_.exclusive;
      ++counts.at(handle.slot());
    }
  }
  void take_any() {
    std::array<Handle, 3> any;
    for (Handle& handle : any) handle = Handle(roll(kResources), 1);
    if (roll(2) == 0) any[2] = Handle::from_bits(scene_.moving.at(roll(2)).load());
    if (std::ranges::any_of(any, [&](Handle handle) { return promised(handle); })) return;
    const Request request = any_request();
    Wait wait;
    std::array<Wait, any.size()> members;
    if (!engine().acquire_any(*context_, any, request, wait, members)) return;
    EXPECT_TRUE(std::ranges::find(any, wait.handle) != any.end());
    EXPECT_EQ(*engine().held_kind(*context_, wait.handle), request.kind);
    ++scene_.any;
    if (wait.handle.slot() >= kResources) return;
    auto& counts = request.kind == HoldKind::Shared ? scene_.shared : scene_.exclusive;
    ++counts.at(wait.handle.slot());
  }
  [[nodiscard]] bool take(Handle handle, const Request& request) {
    Grant grant;
    const bool waits = request.mode != AcquisitionMode::NonBlocking;
    if (roll(2) == 0) {
      make_plain(engine(), *context_);
      if (take_fast(engine(), *context_, handle, request.kind)) return true;
    }
    const bool fast = request.kind == HoldKind::Shared
                          ? engine().try_shared(*context_, handle, waits, request.place, grant)
                          : engine().try_exclusive(*context_, handle, waits, request.place, grant);
    return fast || engine().acquire(*context_, handle, request);
  }
  void give(Handle handle, HoldKind kind) {
    if (roll(3) == 0 && parcel_.move(Parcel::Empty, Parcel::Packing)) {
      parcel_.context = context_;
      parcel_.handle = handle;
      parcel_.kind = kind;
      parcel_.state = Parcel::Offered;
      return;
    }
    if (give_fast(engine(), *context_, handle, kind)) return;
    const auto released = engine().release(*context_, handle, kind);
    EXPECT_TRUE(released) << released.error().message();
  }
  void end_parcel_of(Parcel& parcel) {
    if (!parcel.move(Parcel::Offered, Parcel::Taken)) return;
    const auto released = engine().release(*parcel.context, parcel.handle, parcel.kind);
    EXPECT_TRUE(released) << released.error().message();
    ++scene_.ended_elsewhere;
    parcel.state = Parcel::Empty;
  }
  void change_kind(Handle handle) {
    if (promised(handle)) return;
    const auto held = engine().held_kind(*context_, handle);
    if (!held) return;
    if (*held == HoldKind::Exclusive) {
      EXPECT_TRUE(engine().downgrade(*context_, handle));
      return;
    }
    if (engine().upgrade(*context_, handle, any_request())) ++scene_.exclusive.at(handle.slot());
  }
  /// As the authority does it: under an exclusive hold the tenant goes, and another one comes.
  void next_tenant(std::size_t which) {
    const Handle handle = Handle::from_bits(scene_.moving.at(which).load());
    if (promised(handle) || engine().held_kind(*context_, handle)) return;
    if (!take(handle, timed(50'000))) return;
    ASSERT_TRUE(engine().retire(*context_, handle, monotonic_ns() + kLongNs));
    scene_.moving.at(which) =
        scene_.domain.arm(handle.slot(), 0, 0, handle.generation() + 1).bits();
    ++scene_.tenants;
  }
  void end_context() {
    end_parcel_of(parcel_);
    wait_until([&] { return parcel_.state == Parcel::Empty; });
    (void)engine().release_all(*context_, [](Handle, HoldKind) {});
    EXPECT_TRUE(HoldList(*context_).empty());
    scene_.domain.contexts.close(*context_, false);
  }

  Scene& scene_;
  Parcel& parcel_;
  std::mt19937_64 random_;
  Context* context_;
};

/// After how many rounds a latch holder leaves the rest to an exclusive holder.
class Conservation : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(ServiceRounds, Conservation, ::testing::Values(kServiceRounds, 1u),
                         ::testing::PrintToStringParamName());

TEST_P(Conservation, NothingIsLostWhateverIsDone) {
  const std::uint64_t seed = seed_from_environment();
  const std::uint64_t turns = rounds_from_environment(kSanitized ? 3'000 : 30'000);
  Scene scene;
  scene.domain.engine.limit_service(GetParam());
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      Worker worker(scene, i, seed + i);
      for (std::uint64_t turn = 0; turn < turns; ++turn) worker.turn();
    });
  }
  for (std::thread& thread : threads) thread.join();

  const LockTables& t = scene.domain.tables();
  EXPECT_EQ(scene.domain.contexts.size(), 0u);
  for (std::uint32_t i = 0; i < kResources; ++i) {
    EXPECT_TRUE(is_free(scene.domain.engine.word(i))) << "resource " << i;
    const auto counters = scene.domain.engine.counters(Handle(i, 1));
    ASSERT_TRUE(counters);
    EXPECT_EQ(counters->exclusive_acquisitions, scene.exclusive.at(i).load());
    EXPECT_EQ(counters->shared_acquisitions, scene.shared.at(i).load());
  }
  // A latecomer's node may still stand in the inbox of a tenant that he does not know; whoever uses
  // that resource next throws it out.
  Context& last = scene.domain.open(0, this_thread());
  for (const auto& bits : scene.moving) {
    const Handle handle = Handle::from_bits(bits.load());
    ASSERT_TRUE(scene.domain.engine.acquire(last, handle, blocking()));
    ASSERT_TRUE(scene.domain.engine.downgrade(last, handle));
    ASSERT_TRUE(scene.domain.engine.release(last, handle, HoldKind::Shared));
    EXPECT_TRUE(is_free(scene.domain.word(handle)));
  }
  scene.domain.contexts.close(last, false);
  const Census census = take_census(scene.domain);
  EXPECT_EQ(census.nodes_lost, 0u);
  EXPECT_EQ(census.cells_lost, 0u);
  EXPECT_EQ(census.cells_in_use, 0u);
  EXPECT_EQ(census.cells_owned, 0u);
  // A wait for any of three takes four; those of the one before it may still stand in their queues.
  EXPECT_LE(load(t.region->nodes.high_water), 2 * 4 * kThreads) << "nodes pile up";
  EXPECT_GT(scene.tenants.load(), 0u);
  EXPECT_GT(scene.ended_elsewhere.load(), 0u);
  EXPECT_GT(scene.any.load(), 0u);
}

}  // namespace
}  // namespace resmgr::lock::test
