// SPDX-License-Identifier: Apache-2.0
#include "tests/lock/fixture.hpp"

#include <cstdlib>
#include <iostream>
#include <random>
#include <set>

namespace resmgr::lock::test {
namespace {

std::optional<std::uint64_t> number_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return std::strtoull(text, nullptr, 0);
}

}  // namespace

std::uint64_t seed_from_environment() {
  std::random_device device;
  const std::uint64_t fresh = std::uint64_t{device()} << 32 | device();
  const std::uint64_t seed = number_from_environment("RESMGR_SEED").value_or(fresh);
  ::testing::Test::RecordProperty("seed", std::to_string(seed));
  std::cout << "RESMGR_SEED=" << seed << std::endl;
  return seed;
}

std::uint64_t rounds_from_environment(std::uint64_t otherwise) {
  return number_from_environment("RESMGR_ROUNDS").value_or(otherwise);
}

void count_cells(const LockTables& t, Census& census) {
  std::set<const rm_cell*> cells;
  const TakenBits cell_bits = CellPool(t).bits();
  for (std::uint32_t i = 0; i < cell_bits.high_water(); ++i) {
    if (cell_bits.is_taken(i) || load(t.cells[i].flags) != 0) cells.insert(t.cells + i);
  }
  for (std::uint32_t slot = 0; slot < t.slot_count; ++slot) {
    rm_cell* cell = t.cell(load(t.slots[slot].cell_link));
    for (; cell != nullptr && cells.erase(cell) != 0; cell = t.cell(load(cell->next_link))) {
      const CellWord word{load(cell->word)};
      if (word.in_use()) ++census.cells_in_use;
      if (!word.in_use() && word.context() != 0) ++census.cells_owned;
    }
  }
  census.cells_lost = static_cast<std::uint32_t>(cells.size());
}

Census take_census(Domain& domain) {
  const LockTables& t = domain.tables();
  Census census;

  // What is taken, or says that somebody has it.
  std::set<const rm_node*> nodes;
  const TakenBits node_bits = NodePool(t).bits();
  for (std::uint32_t i = 0; i < node_bits.high_water(); ++i) {
    if (node_bits.is_taken(i) || load(t.nodes[i].refs) != 0) nodes.insert(t.nodes + i);
  }
  domain.contexts.for_each([&](const Context& context) {
    if (const rm_node* spare = t.node(context.spare_node_link)) nodes.erase(spare);
  });
  census.nodes_lost = static_cast<std::uint32_t>(nodes.size());

  count_cells(t, census);
  return census;
}

::testing::AssertionResult is_free(StateWord word) {
  const StateWord rest = word.without(RM_WORD_INCONSISTENT | RM_WORD_ABSENT | RM_WORD_SHARED);
  if (rest == StateWord::free(word.generation())) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "the word is 0x" << std::hex << word.bits;
}

}  // namespace resmgr::lock::test
