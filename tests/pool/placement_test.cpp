// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/placement.hpp"

#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "tests/pool/support.hpp"

namespace resmgr::pool::test {
namespace {

/// A kernel that says what it is told to, and remembers what it was asked.
class FakeCalls final : public MemoryCalls {
 public:
  struct Call {
    std::string name;
    int detail = 0;
    std::size_t bytes = 0;
    friend bool operator==(const Call&, const Call&) = default;
  };

  int bind(std::span<std::byte> memory, int mode,
           std::span<const std::uint64_t> nodes) noexcept override {
    calls.push_back({"bind", mode, memory.size()});
    mask.assign(nodes.begin(), nodes.end());
    return bind_error;
  }
  int advise(std::span<std::byte> memory, int advice) noexcept override {
    calls.push_back({"advise", advice, memory.size()});
    return advise_error;
  }
  int lock(std::span<std::byte> memory) noexcept override {
    calls.push_back({"lock", 0, memory.size()});
    return lock_error;
  }
  void unlock(std::span<std::byte> memory) noexcept override {
    calls.push_back({"unlock", 0, memory.size()});
  }
  int nodes_of(std::span<void* const> pages, std::span<int> nodes) noexcept override {
    for (std::size_t i = 0; i < pages.size(); ++i) nodes[i] = static_cast<int>(asked++ % 4) - 1;
    return 0;
  }

  std::vector<Call> calls;
  std::vector<std::uint64_t> mask;
  std::size_t asked = 0;
  int bind_error = 0;
  int advise_error = 0;
  int lock_error = 0;
};

using Calls = std::vector<FakeCalls::Call>;
constexpr std::size_t kBytes = 64 * 4096;

PoolSettings placed(Placement placement, FakeCalls& calls, std::uint32_t initial = 64) {
  PoolSettings wanted = settings(64, 4096);
  wanted.initial_blocks = initial;
  wanted.placement = std::move(placement);
  wanted.calls = &calls;
  return wanted;
}

TEST(Placement, AsksForTheNodesGiven) {
  struct {
    Placement placement;
    int mode;
    std::uint64_t first;
    std::uint64_t second;
  } const kCases[] = {
      {{.numa = NumaPolicy::Prefer, .nodes = {1}}, MPOL_PREFERRED, 2, 0},
      {{.numa = NumaPolicy::Bind, .nodes = {0, 64}}, MPOL_BIND, 1, 1},
      {{.numa = NumaPolicy::Interleave, .nodes = {0, 1, 3}}, MPOL_INTERLEAVE, 11, 0},
  };
  for (const auto& each : kCases) {
    FakeCalls calls;
    ASSERT_TRUE(BlockPool::create(placed(each.placement, calls)));
    EXPECT_EQ(calls.calls, (Calls{{"bind", each.mode, kBytes}}));
    EXPECT_EQ(calls.mask.at(0), each.first);
    EXPECT_EQ(calls.mask.at(1), each.second);
  }
  FakeCalls calls;
  ASSERT_TRUE(BlockPool::create(placed({}, calls)));
  EXPECT_EQ(calls.calls, Calls());  // local is what the kernel does by itself
}

TEST(Placement, RefusesNodesThatDontGoWithThePolicy) {
  const Placement kWrong[] = {
      {.numa = NumaPolicy::Local, .nodes = {0}},
      {.numa = NumaPolicy::Prefer, .nodes = {}},
      {.numa = NumaPolicy::Prefer, .nodes = {0, 1}},
      {.numa = NumaPolicy::Bind, .nodes = {}},
      {.numa = NumaPolicy::Bind, .nodes = {-1}},
      {.numa = NumaPolicy::Interleave, .nodes = {1024}},
  };
  for (const Placement& wrong : kWrong) {
    FakeCalls calls;
    EXPECT_EQ(code_of(BlockPool::create(placed(wrong, calls))), ErrorCode::InvalidArgument);
    EXPECT_EQ(calls.calls, Calls());
  }
}

TEST(Placement, SaysWhereABindCantBe) {
  FakeCalls calls;
  const Placement bound{.numa = NumaPolicy::Bind, .nodes = {7}};
  calls.bind_error = EINVAL;
  EXPECT_EQ(code_of(BlockPool::create(placed(bound, calls))), ErrorCode::InvalidArgument);
  calls.bind_error = ENOSYS;
  EXPECT_FALSE(BlockPool::create(placed(bound, calls)));
  // Whoever only prefers a place takes what there is on a kernel without places.
  EXPECT_TRUE(BlockPool::create(placed({.numa = NumaPolicy::Prefer, .nodes = {0}}, calls)));
}

TEST(Placement, HugePagesFallBack) {
  FakeCalls calls;
  const Placement joined{.huge_pages = HugePages::Transparent};
  EXPECT_EQ(BlockPool::create(placed(joined, calls)).value()->statistics().pages,
            HugePages::Transparent);
  EXPECT_EQ(calls.calls, (Calls{{"advise", MADV_HUGEPAGE, kBytes}}));
  calls.advise_error = EINVAL;
  EXPECT_EQ(BlockPool::create(placed(joined, calls)).value()->statistics().pages, HugePages::None);
  // A quarter of a terabyte of them was set apart nowhere.
  FakeCalls others;
  PoolSettings many = placed({.huge_pages = HugePages::Reserved}, others, 1);
  many.shape = {.block_bytes = 1 << 20, .max_blocks = 1 << 18};
  const PoolPtr pool = BlockPool::create(std::move(many)).value();
  EXPECT_EQ(pool->statistics().pages, HugePages::Transparent);
  EXPECT_NE(pool->try_allocate(), nullptr);
}

TEST(Placement, MakesBlocksReadyBeforeTheyAreGivenOut) {
  FakeCalls calls;
  const PoolPtr pool =
      BlockPool::create(placed({.prefault = true, .lock = true}, calls, 16)).value();
  EXPECT_EQ(calls.calls,
            (Calls{{"advise", MADV_POPULATE_WRITE, 16 * 4096}, {"lock", 0, 16 * 4096}}));
  calls.calls.clear();
  ASSERT_TRUE(pool->reserve(20));
  EXPECT_EQ(calls.calls, (Calls{{"advise", MADV_POPULATE_WRITE, 4 * 4096}, {"lock", 0, 4 * 4096}}));
  calls.calls.clear();
  EXPECT_EQ(pool->shrink(18), 2u);
  EXPECT_EQ(calls.calls, (Calls{{"unlock", 0, 2 * 4096}}));
}

TEST(Placement, MemoryThatCantBeLockedIsNotGivenOut) {
  FakeCalls calls;
  std::uint64_t paid = 0;
  PoolSettings wanted = placed({.lock = true}, calls, 0);
  wanted.payer.may_grow = [&](std::uint64_t bytes) -> Result<void> {
    paid += bytes;
    return {};
  };
  wanted.payer.gave_up = [&](std::uint64_t bytes) { paid -= bytes; };
  calls.lock_error = EAGAIN;
  const PoolPtr pool = BlockPool::create(std::move(wanted)).value();
  const auto refused = pool->allocate();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().system_errno(), EAGAIN);
  EXPECT_EQ(paid, 0u);
  calls.lock_error = 0;
  EXPECT_TRUE(pool->allocate());
  EXPECT_NE(paid, 0u);
}

TEST(Placement, CountsPagesByNode) {
  FakeCalls calls;
  const PoolPtr pool = make_pool(64, 4096);
  const NodePages counted = count_pages(pool->region().blocks(), calls).value();
  EXPECT_EQ(counted.untouched, 16u);
  EXPECT_EQ(counted.by_node, (std::vector<std::uint64_t>{16, 16, 16}));
}

// With the kernel that is here: prefaulted memory is there.
TEST(Placement, PrefaultedPagesAreThere) {
  PoolSettings wanted = settings(64, 4096);
  wanted.placement.prefault = true;
  const PoolPtr pool = BlockPool::create(std::move(wanted)).value();
  struct stat status{};
  ASSERT_EQ(::fstat(pool->region().fd(), &status), 0);
  EXPECT_GE(status.st_blocks, 64 * 8);
}

}  // namespace
}  // namespace resmgr::pool::test
