// SPDX-License-Identifier: Apache-2.0
//
// Regions that hold anything: every verb comes to an end, and stays inside them.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>

#include "tests/base/seed.hpp"
#include "tests/lock/fixture.hpp"
#include "tests/tools/resmgrctl/support.hpp"
#include "tools/resmgrctl/graph.hpp"
#include "tools/resmgrctl/print.hpp"

namespace resmgrctl::test {
namespace {

constexpr std::uint64_t kRounds = resmgr::lock::test::kSanitized ? 20 : 200;

void scribble(std::span<std::byte> region, std::mt19937_64& random) {
  const std::span<std::byte> body = region.subspan(512);
  for (int spot = 0; spot < 400; ++spot) {
    std::uint64_t value = random();
    // Small numbers look like links.
    if (value % 3 == 0) value %= 70;
    // Most of a region is its last tables: the first pages are where everything is.
    const std::size_t reach = spot % 2 == 0 ? body.size() : body.size() / 16;
    const std::size_t at = random() % (reach - sizeof(value)) & ~std::size_t{7};
    std::memcpy(body.data() + at, &value, sizeof(value));
  }
}

TEST(GarbageTest, EveryVerbEnds) {
  std::mt19937_64 random(resmgr::test::seed());
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    World world;
    for (int i = 0; i < 20; ++i) world.add("r" + std::to_string(i));
    auto& a = world.open();
    auto& b = world.open();
    ASSERT_TRUE(world.acquire(a, world.add("held")));
    ASSERT_TRUE(world.acquire(b, world.add("shared"), resmgr::HoldKind::Shared));
    const auto& locks = world.state().locks();
    scribble(world.state().registry().bytes(), random);
    scribble({reinterpret_cast<std::byte*>(locks.tables().region),
              static_cast<std::size_t>(locks.header().region_bytes)},
             random);
    const Look look = world.look();
    const Picture picture = Picture::of(look);
    std::size_t shown = show_list(picture, {}, {}, false).size();
    shown += show_holders(picture, nullptr, true).size();
    shown += show_waiters(picture, nullptr, true).size();
    for (const Resource& resource : picture.resources) {
      shown += show_resource(resource, picture, true).size();
    }
    shown += to_dot(picture).size() + to_graph_json(picture).size();
    EXPECT_GT(shown, 0u);
    EXPECT_FALSE(world.diagnose().findings.empty());
  }
}

}  // namespace
}  // namespace resmgrctl::test
