// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/pools.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class NodePoolTest : public ::testing::Test {
 protected:
  rm_node& taken() {
    rm_node* node = pool.take(context);
    EXPECT_NE(node, nullptr);
    return *node;
  }

  Domain domain;
  NodePool pool{domain.tables()};
  Context& context = domain.open(0, this_thread());
};

TEST_F(NodePoolTest, GivesEachNodeOnceUntilAllAreOut) {
  std::set<rm_node*> nodes;
  for (std::uint32_t i = 0; i < kSmall.nodes; ++i) nodes.insert(&taken());
  EXPECT_EQ(nodes.size(), kSmall.nodes);
  EXPECT_EQ(pool.take(context), nullptr);
  EXPECT_EQ(load(domain.tables().region->nodes.high_water), kSmall.nodes);

  rm_node& back = **nodes.begin();
  pool.unlinked(back);
  EXPECT_EQ(pool.take(context), nullptr) << "its owner has not left it";
  pool.leave(context, back);
  EXPECT_EQ(pool.take(context), &back);
}

TEST_F(NodePoolTest, WhoeverLetsGoLastGivesBack) {
  rm_node& node = taken();
  pool.leave(context, node);
  EXPECT_EQ(context.spare_node_link, 0u) << "a queue still links it";
  EXPECT_EQ(take_census(domain).nodes_lost, 1u);
  pool.unlinked(node);
  EXPECT_EQ(take_census(domain).nodes_lost, 0u);

  rm_node& spare = taken();
  pool.unlinked(spare);
  pool.leave(context, spare);
  EXPECT_EQ(context.spare_node_link, domain.tables().link_of(&spare));
  EXPECT_EQ(take_census(domain).nodes_lost, 0u);
}

TEST_F(NodePoolTest, OneSpareIsKeptAndGivenBackAtTheEnd) {
  rm_node& a = taken();
  rm_node& b = taken();
  for (rm_node* node : {&a, &b}) {
    pool.unlinked(*node);
    pool.leave(context, *node);
  }
  EXPECT_EQ(context.spare_node_link, domain.tables().link_of(&a));
  domain.contexts.close(context, false);
  EXPECT_EQ(take_census(domain).nodes_lost, 0u);
  Context& next = domain.open();
  const std::set<rm_node*> again{pool.take(next), pool.take(next)};
  EXPECT_EQ(again, (std::set<rm_node*>{&a, &b}));
}

TEST_F(NodePoolTest, UnlinkingWhatWasNotLinkedFreesNothing) {
  rm_node& node = taken();
  pool.unlinked(node);
  pool.unlinked(node);
  pool.leave(context, node);
  context.spare_node_link = 0;
  EXPECT_NE(pool.take(context), &node) << "it was freed twice";
}

TEST_F(NodePoolTest, AHintOutsideTheTableIsNone) {
  store(domain.tables().region->nodes.hint, 0xffff'fff0u);
  EXPECT_EQ(pool.take(context), domain.tables().nodes);
}

// Given back between his two steps, by who took it for a leftover of the dead.
TEST_F(NodePoolTest, ABitWithoutAnEntryGivesNothingTwice) {
  const rm_node& first = taken();
  pool.bits().give_back(0);
  EXPECT_FALSE(pool.bits().is_taken(0));
  EXPECT_NE(&taken(), &first);
  EXPECT_TRUE(pool.bits().is_taken(0));
}

// A repair that saw the last wait links the node while its owner takes it up again.
TEST_F(NodePoolTest, ASpareThatIsLinkedIsLeftAlone) {
  rm_node& node = taken();
  pool.unlinked(node);
  pool.leave(context, node);
  ASSERT_NE(context.spare_node_link, 0u);
  atomic(node.refs).fetch_or(RM_NODE_REF_LINKED | RM_NODE_REF_QUEUED);
  EXPECT_NE(&taken(), &node);
  EXPECT_EQ(load(node.refs), RM_NODE_REF_LINKED | RM_NODE_REF_QUEUED);
  EXPECT_TRUE(pool.bits().is_taken(0));
  pool.unlinked(node);
  EXPECT_FALSE(pool.bits().is_taken(0));
}

class CellPoolTest : public ::testing::Test {
 protected:
  rm_cell* park(Context& who, Handle handle) {
    return pool.park(who, domain.slot(handle), handle.slot(), handle.generation()).cell;
  }
  static void hold(rm_cell& cell) {
    store(cell.word, CellWord{load(cell.word)}.to(RM_CELL_HELD).bits);
  }
  std::vector<rm_cell*> chain(Handle handle) {
    std::vector<rm_cell*> cells;
    (void)pool.for_each(domain.slot(handle), handle.generation(), [&](rm_cell& cell, CellWord) {
      cells.push_back(&cell);
      return true;
    });
    return cells;
  }
  /// The resource goes and another one comes, as retire() and arm() do it.
  Handle next_tenant(Handle handle) {
    rm_slot& slot = domain.slot(handle);
    store(slot.word, StateWord::free(handle.generation() + 1).with(RM_WORD_ABSENT).bits);
    pool.retire_chain(slot);
    return domain.arm(handle.slot(), 0, 0, handle.generation() + 1);
  }

  Domain domain;
  CellPool pool{domain.tables()};
  Context& a = domain.open(0, this_thread());
  Context& b = domain.open(0, this_thread());
  Handle h = domain.arm(1);
};

TEST_F(CellPoolTest, AParkedCellIsKept) {
  rm_cell* cell = park(a, h);
  ASSERT_NE(cell, nullptr);
  EXPECT_EQ(park(a, h), cell);
  EXPECT_EQ(pool.parked(a, 1, 1), cell);
  EXPECT_EQ(pool.parked(a, 1, 2), nullptr);
  EXPECT_EQ(pool.parked(a, 2, 1), nullptr);
  EXPECT_EQ(pool.parked(b, 1, 1), nullptr);
  hold(*cell);
  EXPECT_EQ(pool.find_in_use(domain.slot(h), 1, a.id), cell);
  EXPECT_EQ(pool.find_in_use(domain.slot(h), 1, b.id), nullptr);
  pool.vacate(*cell);
  EXPECT_EQ(pool.find_in_use(domain.slot(h), 1, a.id), nullptr);
  EXPECT_EQ(pool.parked(a, 1, 1), cell) << "kept for the next hold";
}

TEST_F(CellPoolTest, CellsLeftBehindAreUsedAgain) {
  rm_cell* cell = park(a, h);
  pool.unpark_all(a);
  EXPECT_EQ(pool.parked(a, 1, 1), nullptr);
  EXPECT_EQ(park(b, h), cell);
  EXPECT_EQ(load(domain.tables().region->cells.high_water), 1u);
  EXPECT_EQ(chain(h).size(), 1u);
}

TEST(CellPool, ACollisionInTheCacheGivesUpTheUnusedCell) {
  Domain wide(Capacities{.slots = 256, .contexts = 4, .clients = 1, .nodes = 4, .cells = 8});
  const CellPool cells(wide.tables());
  Context& me = wide.open(0, this_thread());
  const Handle near = wide.arm(1);
  const Handle other = wide.arm(1 + Context::kParked);
  rm_cell* first = cells.park(me, wide.slot(near), near.slot(), 1).cell;
  rm_cell* second = cells.park(me, wide.slot(other), other.slot(), 1).cell;
  EXPECT_EQ(cells.parked(me, near.slot(), 1), nullptr);
  EXPECT_EQ(cells.parked(me, other.slot(), 1), second);
  EXPECT_EQ(CellWord{load(first->word)}.context(), 0);
  EXPECT_EQ(take_census(wide).cells_lost, 0u);
}

TEST_F(CellPoolTest, ACollisionWithAHoldMakesATemporaryCell) {
  Domain wide(Capacities{.slots = 256, .contexts = 4, .clients = 1, .nodes = 4, .cells = 8});
  const CellPool cells(wide.tables());
  Context& me = wide.open(0, this_thread());
  const Handle near = wide.arm(1);
  const Handle other = wide.arm(1 + Context::kParked);
  rm_cell* first = cells.park(me, wide.slot(near), near.slot(), 1).cell;
  hold(*first);
  rm_cell* second = cells.park(me, wide.slot(other), other.slot(), 1).cell;
  EXPECT_EQ(cells.parked(me, near.slot(), 1), first);
  EXPECT_EQ(cells.parked(me, other.slot(), 1), nullptr);
  hold(*second);
  const CellPool::Parking again = cells.park(me, wide.slot(other), other.slot(), 1);
  EXPECT_TRUE(again.busy);
  EXPECT_EQ(again.cell, second) << "a hold without a place in the cache is found in the chain";
  cells.vacate(*second);
  EXPECT_EQ(CellWord{load(second->word)}.context(), 0) << "not kept";
  EXPECT_EQ(load(second->flags), RM_CELL_REF_LINKED);

  rm_cell* unused = cells.park(me, wide.slot(other), other.slot(), 1).cell;
  EXPECT_EQ(unused, second);
  cells.drop_unused(*unused);
  EXPECT_EQ(load(unused->flags), RM_CELL_REF_LINKED);
  cells.drop_unused(*first);
  EXPECT_EQ(load(first->flags), references_of(me.id, RM_CELL_REF_LINKED | RM_CELL_REF_OWNED))
      << "not temporary";
}

TEST_F(CellPoolTest, ExhaustionIsNull) {
  Domain tiny(Capacities{.slots = 8, .contexts = 4, .clients = 1, .nodes = 4, .cells = 2});
  const CellPool cells(tiny.tables());
  Context& me = tiny.open(0, this_thread());
  Context& other = tiny.open(0, this_thread());
  for (std::uint32_t i = 0; i < 3; ++i) (void)tiny.arm(i);
  EXPECT_NE(cells.park(me, tiny.tables().slots[0], 0, 1).cell, nullptr);
  EXPECT_NE(cells.park(me, tiny.tables().slots[1], 1, 1).cell, nullptr);
  EXPECT_EQ(cells.park(me, tiny.tables().slots[2], 2, 1).cell, nullptr);
  cells.unpark_all(me);
  EXPECT_EQ(cells.park(me, tiny.tables().slots[2], 2, 1).cell, nullptr)
      << "a cell belongs to its chain while the resource lives";
  EXPECT_NE(cells.park(other, tiny.tables().slots[1], 1, 1).cell, nullptr);
}

TEST_F(CellPoolTest, TheChainIsFreedWithTheResource) {
  rm_cell* left = park(a, h);
  rm_cell* kept = park(b, h);
  pool.unpark_all(a);
  const Handle next = next_tenant(h);
  EXPECT_TRUE(chain(next).empty());
  EXPECT_EQ(load(left->flags), 0u) << "nobody had it: free";
  EXPECT_EQ(load(kept->flags), references_of(b.id, RM_CELL_REF_OWNED)) << "its context frees it";
  EXPECT_EQ(pool.parked(b, 1, next.generation()), nullptr);
  rm_cell* anew = park(b, next);
  EXPECT_EQ(anew, left);
  EXPECT_EQ(load(kept->flags), 0u) << "given up for the new one";
  EXPECT_EQ(take_census(domain).cells_lost, 0u);
}

// A context that read the word before the resource went parks its cell in the chain of the next
// one. However it gives the cell up, the chain stays whole.
TEST_F(CellPoolTest, ALatecomersCellStaysInTheChainItIsIn) {
  const Handle next = next_tenant(h);
  rm_cell* held = park(b, next);
  rm_cell* late = park(a, h);
  Context& c = domain.open(0, this_thread());
  rm_cell* front = park(c, next);
  hold(*held);
  hold(*front);
  pool.unpark_all(a);
  // Were the late cell free, it would be this one, and what stands behind it be lost.
  rm_cell* other = park(a, domain.arm(2));
  EXPECT_NE(other, late);
  EXPECT_EQ(chain(next), (std::vector<rm_cell*>{front, held}));
  EXPECT_EQ(take_census(domain).cells_lost, 0u);
}

// Cells of one generation are alike in all slots: a walk that strays must not show or take them.
TEST_F(CellPoolTest, AWalkThatStraysShowsNobodyElsesCells) {
  const Handle other = domain.arm(2);
  rm_cell* foreign = park(a, other);
  hold(*foreign);
  rm_cell* own = park(b, h);
  store(own->next_link, domain.tables().link_of(foreign));
  EXPECT_EQ(chain(h), std::vector<rm_cell*>{own});
  pool.vacate(*foreign);
  pool.unpark_all(a);
  Context& c = domain.open(0, this_thread());
  EXPECT_NE(park(c, h), foreign);
  EXPECT_EQ(load(foreign->flags), RM_CELL_REF_LINKED);
}

// A stale granter has made an offer of the cell when its waiter, who gave up, gives it back.
TEST_F(CellPoolTest, AnOfferToOneWhoLeftDoesNotKeepTheCell) {
  rm_cell* cell = park(a, h);
  store(cell->flags, load(cell->flags) | RM_CELL_FLAG_TEMPORARY);
  store(cell->word, CellWord{load(cell->word)}.to(RM_CELL_OFFERED).bits);
  pool.drop_unused(*cell);
  EXPECT_EQ(load(cell->flags), RM_CELL_REF_LINKED);
  EXPECT_FALSE(CellWord{load(cell->word)}.in_use());
}

// The same of a cell that it would have kept, when the context ends.
TEST_F(CellPoolTest, AnOfferToOneWhoEndsDoesNotKeepTheCell) {
  rm_cell* cell = park(a, h);
  store(cell->word, CellWord{load(cell->word)}.to(RM_CELL_OFFERED).bits);
  pool.unpark_all(a);
  EXPECT_EQ(load(cell->flags), RM_CELL_REF_LINKED);
  EXPECT_FALSE(CellWord{load(cell->word)}.in_use());
}

TEST_F(CellPoolTest, EachParkingHasItsNumber) {
  rm_cell* cell = park(a, h);
  const CellWord first{load(cell->word)};
  pool.unpark_all(a);
  ASSERT_EQ(park(a, h), cell);
  const CellWord second{load(cell->word)};
  EXPECT_EQ(second.context(), first.context());
  EXPECT_NE(second, first) << "who looked before could not tell the next tenant from this one";
}

TEST_F(CellPoolTest, OfTwoWhoEndAHoldOneFindsItGone) {
  rm_cell* cell = park(a, h);
  hold(*cell);
  EXPECT_TRUE(pool.vacate(*cell));
  EXPECT_FALSE(pool.vacate(*cell));
}

TEST_F(CellPoolTest, LoopsInAChainEnd) {
  rm_cell* cell = park(a, h);
  store(cell->next_link, domain.tables().link_of(cell));
  std::uint32_t visits = 0;
  EXPECT_TRUE(pool.for_each(domain.slot(h), 1, [&](rm_cell&, CellWord) { return ++visits != 0; }));
  EXPECT_EQ(visits, kSmall.cells);
  pool.retire_chain(domain.slot(h));
}

}  // namespace
}  // namespace resmgr::lock::test
