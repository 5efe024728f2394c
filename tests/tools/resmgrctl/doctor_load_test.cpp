// SPDX-License-Identifier: Apache-2.0
//
// A sound domain under load: a thousand looks find nothing.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "resmgr/base/clock.hpp"
#include "tests/lock/fixture.hpp"
#include "tests/tools/resmgrctl/support.hpp"

namespace resmgrctl::test {
namespace {

using resmgr::AcquisitionMode;
using resmgr::Handle;
using resmgr::HoldKind;

constexpr std::uint64_t kLooks = resmgr::lock::test::kSanitized ? 50 : 1000;

// Acquires and releases whatever comes, waits among it, with a new context now and then.
void use(World& world, const std::vector<Handle>& resources, unsigned seed,
         const std::atomic<bool>& stop) {
  std::uint64_t state = seed;
  const auto random = [&](std::uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
  };
  while (!stop) {
    resmgr::lock::Context& context = world.open();
    for (int i = 0; i < 50 && !stop; ++i) {
      const Handle handle = resources[random(resources.size())];
      const HoldKind kind = random(3) == 0 ? HoldKind::Exclusive : HoldKind::Shared;
      const resmgr::lock::Request request{
          .kind = kind,
          .mode = random(2) == 0 ? AcquisitionMode::NonBlocking : AcquisitionMode::Timeout,
          .deadline_ns = resmgr::monotonic_ns() + 100'000 * random(20),
          .place = {}};
      auto grant = world.engine().acquire(context, handle, request);
      if (grant) {
        if (random(4) == 0) std::this_thread::yield();
        (void)world.engine().release(context, handle, kind);
      }
    }
    world.close(context);
  }
}

// Comes and goes, as the authority does beside its clients.
void come_and_go(World& world, const std::atomic<bool>& stop) {
  resmgr::lock::Context& context = world.open();
  for (unsigned round = 0; !stop; ++round) {
    const Handle handle = world.add("coming/" + std::to_string(round % 7));
    world.remove(handle, context);
    std::this_thread::yield();
  }
  world.close(context);
}

TEST(DoctorLoadTest, FindsNothingInASoundDomain) {
  World world;
  std::vector<Handle> resources;
  for (int i = 0; i < 4; ++i) resources.push_back(world.add("used/" + std::to_string(i)));
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 3; ++seed) {
    threads.emplace_back([&, seed] { use(world, resources, seed, stop); });
  }
  threads.emplace_back([&] { come_and_go(world, stop); });

  std::uint64_t looks = 0;
  std::uint64_t again = 0;
  while (looks < kLooks && !::testing::Test::HasFailure()) {
    const Diagnosis diagnosis = world.diagnose();
    looks += diagnosis.looks;
    again += diagnosis.looks - 1;
    for (const Finding& finding : diagnosis.findings) {
      ADD_FAILURE() << finding.check << ": " << finding.resource << ' ' << finding.text;
    }
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  RecordProperty("looks_again", std::to_string(again));
  EXPECT_TRUE(world.diagnose().findings.empty());
}

}  // namespace
}  // namespace resmgrctl::test
