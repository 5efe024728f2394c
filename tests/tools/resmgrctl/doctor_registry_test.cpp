// SPDX-License-Identifier: Apache-2.0
//
// What the doctor finds in a registry that was damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>

#include "resmgr/lock/word.hpp"
#include "resmgr/registry/index_state.hpp"
#include "tests/tools/resmgrctl/support.hpp"

namespace resmgrctl::test {
namespace {

using resmgr::Handle;
using resmgr::load;
using resmgr::lock::Context;
using resmgr::lock::StateWord;
using resmgr::registry::Word;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DoctorRegistryTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_THAT(found(), IsEmpty()); }

  [[nodiscard]] std::vector<std::string> found() { return checks_of(world.diagnose().findings); }
  [[nodiscard]] rm_registry_region& root() { return *world.state().registry().tables().root; }
  /// The word of the entry that has the byte at this offset.
  [[nodiscard]] Word& word_at(Handle handle, std::size_t offset) {
    return world.entry(handle)[offset / sizeof(Word)];
  }

  World world;
  Handle x = world.add("x");
  Handle y = world.add("y");
  Context& a = world.open();
};

TEST_F(DoctorRegistryTest, FindsEntriesThatCantBe) {
  const Damage damage(word_at(x, offsetof(rm_entry, type)), ~Word{0});
  EXPECT_THAT(found(), ElementsAre("entry-damaged"));
}

TEST_F(DoctorRegistryTest, FindsEntriesWhoseSlotIsAnothers) {
  const Damage damage(world.slot(x).word, StateWord::free(5).bits);
  EXPECT_THAT(found(), ElementsAre("entry-without-slot"));
}

TEST_F(DoctorRegistryTest, FindsSlotsWithoutAnEntry) {
  ASSERT_TRUE(world.acquire(a, x));
  const Damage damage(*world.entry(x), Word{x.generation()} << 32);
  EXPECT_THAT(found(), Contains("slot-without-entry"));
}

TEST_F(DoctorRegistryTest, FindsChainsThatLeadNowhere) {
  Word& links = word_at(x, offsetof(rm_entry, pairs_link));
  const Damage damage(links, ~Word{0});
  EXPECT_THAT(found(), ElementsAre("record-chain-broken"));
}

TEST_F(DoctorRegistryTest, FindsNamesThatLeadNowhere) {
  const auto& tables = world.state().registry().tables();
  const auto state =
      resmgr::registry::IndexState::decode(load(*tables.index_state), tables.index.count());
  ASSERT_TRUE(state);
  Word* cell = nullptr;
  for (std::uint32_t i = 0; i < state->cells() && cell == nullptr; ++i) {
    Word* const words = tables.index.at(state->first + i);
    if (words[0] >> 32 == y.slot() && words[0] != 0) cell = words;
  }
  ASSERT_NE(cell, nullptr);
  {
    const Damage damage(*cell, Word{RM_INDEX_TOMBSTONE});
    EXPECT_THAT(found(), ElementsAre("name-lost"));
  }
  const Damage damage(*cell, *cell | Word{0xff00});
  EXPECT_THAT(found(), Contains("index-astray"));
}

TEST_F(DoctorRegistryTest, FindsAnIndexThatIsNone) {
  const Damage damage(root().index_state, Word{0});
  EXPECT_THAT(found(), ElementsAre("index-damaged", "name-lost"));
}

TEST_F(DoctorRegistryTest, FindsACounterThatIsWrong) {
  const Damage damage(root().live, 7u);
  EXPECT_THAT(found(), ElementsAre("resources-miscounted"));
}

TEST_F(DoctorRegistryTest, KnowsWhatIsOpenForNobody) {
  const auto prepared = world.state().writer().prepare("z", {});
  ASSERT_TRUE(prepared);
  world.engine().arm(prepared->slot, prepared->generation, 0, 0);
  EXPECT_THAT(found(), IsEmpty());
  ASSERT_TRUE(world.state().writer().abandon(*prepared));
  EXPECT_THAT(checks_of(world.diagnose().notes), ElementsAre("slot-without-entry"));
}

TEST_F(DoctorRegistryTest, LeavesWhatIsGoingInPeace) {
  ASSERT_TRUE(world.state().writer().begin_unregister(x));
  EXPECT_THAT(found(), IsEmpty());
  ASSERT_TRUE(world.acquire(a, x));
  ASSERT_TRUE(world.engine().retire(a, x, ~std::uint64_t{0}));
  EXPECT_THAT(found(), IsEmpty());
  ASSERT_TRUE(world.state().writer().finish_unregister(x));
}

TEST(DoctorCompactTest, FindsAGenerationThatDoesNotFit) {
  World world(RM_DOMAIN_COMPACT_HANDLES);
  const Handle x = world.add("x");
  EXPECT_THAT(world.diagnose().findings, IsEmpty());
  Word& first = *world.entry(x);
  const Damage entry(first, (first & 0xffffffff) | Word{5000} << 32);
  const Damage slot(world.slot(x).word, StateWord::free(5000).bits);
  EXPECT_THAT(checks_of(world.diagnose().findings), Contains("generation-too-high"));
}

}  // namespace
}  // namespace resmgrctl::test
