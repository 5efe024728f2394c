// SPDX-License-Identifier: Apache-2.0
//
// A client killed between any two instructions of what it does with a pool of a real resmgrd (I3).
// As soon as its place is free, all that it had is back, nothing of another's is gone, and each
// block can be had once. The instructions themselves are gone through in tests/pool/kill_test.cpp;
// here it is resmgrd that takes blocks back, and attaching is what it is between two processes.
//
// RESMGR_KILLS: so many kills at moments chosen by RESMGR_SEED, for each operation; without it, a
// kill at each instruction of all but attaching.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "resmgr/client/domain.hpp"
#include "resmgr/client/served_authority.hpp"
#include "tests/base/seed.hpp"
#include "tests/integration/served_support.hpp"
#include "tests/pool/support.hpp"
#include "tests/registry/stepper.hpp"

namespace resmgr::pool::test {
namespace {

using client::Domain;
using client::ServedAuthority;
using hal::test::eventually;
using registry::test::kill_where;

constexpr std::uint32_t kBlocks = 70;
constexpr std::uint32_t kHandedOver = 4;  ///< blocks that the maker allocated

/// The victim, in its own process.
struct Victim {
  explicit Victim(const std::string& socket) : domain(Domain::connect({socket}).value()) {
    if (!domain->register_driver("user")) std::abort();
  }
  void attach() {
    auto file =
        domain->authority().open_file(domain->view().lookup("p"), Rights::Read | Rights::Write);
    if (!file) std::abort();
    pool = BlockPool::attach(std::move(*file), {.owner = domain->block_owner()}).value();
    if (!domain->pools().add(domain->view().lookup("p"), pool)) std::abort();
  }
  void allocate(int count) {
    for (; count != 0; --count) blocks.push_back(pool->try_allocate());
  }
  [[nodiscard]] std::vector<void*> handed_over() const {
    std::vector<void*> here;
    for (const std::uint32_t number : numbers) {
      here.push_back(pool->region().tables().block(number));
    }
    return here;
  }

  std::shared_ptr<Domain> domain;
  PoolPtr pool;
  std::vector<void*> blocks;
  std::vector<std::uint32_t> numbers;  ///< of blocks of the maker's
};

struct Operation {
  const char* name;
  void (*prepare)(Victim&);
  void (*act)(Victim&);
  bool is_long = false;  ///< so many instructions that some of them have to do
};

std::ostream& operator<<(std::ostream& out, const Operation& operation) {
  return out << operation.name;
}

void attached(Victim& v) { v.attach(); }
void nothing(Victim&) {}

const Operation kOperations[] = {
    {"attach", nothing, [](Victim& v) { v.attach(); }, true},
    {"allocate", attached, [](Victim& v) { v.allocate(1); }},
    {"allocate_many", attached, [](Victim& v) { v.allocate(12); }},
    {"free_its_own",
     [](Victim& v) {
       v.attach();
       v.allocate(12);
     },
     [](Victim& v) {
       for (void* const block : v.blocks) (void)v.pool->try_free(block);
     }},
    {"free_anothers", attached,
     [](Victim& v) {
       for (void* const block : v.handed_over()) (void)v.pool->try_free(block);
       v.pool->flush();
     }},
    {"adopt", attached,
     [](Victim& v) {
       for (void* const block : v.handed_over()) (void)v.pool->adopt(block);
     }},
    {"flush",
     [](Victim& v) {
       v.attach();
       v.allocate(20);
       for (void* const block : v.blocks) (void)v.pool->try_free(block);
     },
     [](Victim& v) { v.pool->flush(); }},
    {"close",
     [](Victim& v) {
       v.attach();
       v.allocate(3);
     },
     [](Victim& v) { v.domain->close(); }, true},
};

class PoolClientKill : public ::testing::TestWithParam<Operation> {
 protected:
  void SetUp() override {
    if (const auto why = registry::test::stepping_far_is_impossible()) GTEST_SKIP() << *why;
    auto attached = ServedAuthority::attach({daemon_.socket()});
    ASSERT_TRUE(attached) << attached.error().message();
    looker_.emplace(std::move(*attached));
    domain_ = Domain::connect({daemon_.socket()}).value();
    const std::uint32_t maker = domain_->register_driver("maker").value();
    const std::uint32_t user = domain_->register_driver("user").value();
    PoolSettings wanted = settings(kBlocks);
    wanted.owner = domain_->block_owner();
    wanted.thread_safe = false;
    maker_ = BlockPool::create(std::move(wanted)).value();
    client::Registration registration;
    registration.description.type = ResourceType::Memory;
    registration.description.class_name = "pool";
    registration.description.flags = ResourceFlags::Shareable;
    registration.description.owner_driver = maker;
    registration.file = {UniqueFd(::fcntl(maker_->region().fd(), F_DUPFD_CLOEXEC, 0)), 0};
    const Handle handle = domain_->register_resource("p", registration).value();
    ASSERT_TRUE(domain_->authority().share(handle, maker, user, Rights::Read | Rights::Write));
  }

  /// Besides the two clients that this process is, nobody has a place.
  [[nodiscard]] bool only_two_are_left() const {
    const lock::LockTables& t = looker_->locks.tables();
    std::uint32_t places = 0;
    for (std::uint32_t i = 0; i < t.client_count; ++i) {
      if ((load(t.client(i)->state) & RM_CONTEXT_STATE_MASK) != RM_CONTEXT_FREE) ++places;
    }
    return places == 2;
  }
  /// False if the victim was killed when it was done.
  bool kill_at(const std::function<bool()>& here) {
    std::vector<void*> mine;
    std::vector<std::uint32_t> numbers;
    for (std::uint32_t i = 0; i < kHandedOver; ++i) {
      mine.push_back(maker_->try_allocate());
      numbers.push_back(maker_->number_of(mine.back()));
    }
    maker_->flush();
    std::optional<Victim> victim;
    const auto killed = kill_where(
        [&] {
          victim.emplace(daemon_.socket()).numbers = numbers;
          GetParam().prepare(*victim);
        },
        [&] { GetParam().act(*victim); }, [&](std::uintptr_t) { return here(); });
    EXPECT_TRUE(killed) << "the victim ended by itself";
    EXPECT_TRUE(eventually([&] { return only_two_are_left(); })) << "the dead one is not buried";
    look_around(mine);
    return killed.value_or(false);
  }
  // Its place is free: at once.
  void look_around(const std::vector<void*>& mine) {
    const Census census = maker_->depot().count();
    EXPECT_EQ(census.claimed_groups, 0u);
    EXPECT_EQ(census.cached, 0u);
    EXPECT_LE(census.allocated, kHandedOver);
    EXPECT_EQ(census.in_depot + census.allocated, kBlocks);
    std::uint32_t freed = 0;
    // What it had taken from us, or freed, is not ours any more.
    for (void* const block : mine) freed += maker_->try_free(block) == ErrorCode{};
    EXPECT_EQ(freed, census.allocated);
    maker_->flush();
    expect_whole(*maker_);
  }

  hal::test::Daemon daemon_;
  std::optional<ServedAuthority::Attached> looker_;
  std::shared_ptr<Domain> domain_;
  PoolPtr maker_;
};

TEST_P(PoolClientKill, LeavesNothingBehind) {
  std::size_t length = 0;
  ASSERT_FALSE(kill_at([&] {
    ++length;
    return false;
  }));
  ASSERT_GT(length, 4u);
  const char* const sample = std::getenv("RESMGR_KILLS");
  std::vector<std::size_t> moments(length);
  for (std::size_t i = 0; i < length; ++i) moments[i] = i;
  constexpr std::size_t kOfLong = 200;
  const std::size_t most = GetParam().is_long ? kOfLong : length;
  std::mt19937_64 random(resmgr::test::seed());
  std::ranges::shuffle(moments, random);
  moments.resize(std::min(most, sample ? std::strtoul(sample, nullptr, 10) : length));
  std::size_t kills = 0;
  for (const std::size_t moment : moments) {
    SCOPED_TRACE("before instruction " + std::to_string(moment));
    std::size_t number = 0;
    if (kill_at([&] { return number++ == moment; })) ++kills;
    if (HasFailure()) return;  // the first one says it all
  }
  std::cout << GetParam().name << ": " << kills << " kills in " << length << " instructions\n";
  EXPECT_GT(kills, 0u);
}

INSTANTIATE_TEST_SUITE_P(Operations, PoolClientKill, ::testing::ValuesIn(kOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

}  // namespace
}  // namespace resmgr::pool::test
