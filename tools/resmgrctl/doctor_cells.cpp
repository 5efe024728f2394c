// SPDX-License-Identifier: Apache-2.0
//
// Shared holds: the cells of each chain, and those of the pool (I2 to I5).
#include <string>
#include <vector>

#include "resmgr/lock/pools.hpp"
#include "tools/resmgrctl/examination.hpp"

namespace resmgrctl {
namespace {

using Life = Examination::Life;
using resmgr::load;
using resmgr::lock::CellWord;
using resmgr::lock::StateWord;

constexpr const char* kRebuildChain =
    "keep 'resmgrctl snapshot FILE' for a report; to unregister the resource and register it again "
    "makes its chain anew";

/// A link of each cell of the look: the slot in whose chain it is, and one; 0: in none.
using Chains = std::vector<std::uint32_t>;

void check_hold(Examination& ex, std::uint32_t index, const rm_slot& slot, const rm_cell& cell) {
  const StateWord word{load(slot.word)};
  const CellWord held{load(cell.word)};
  // While the word is exclusive, cells are ignored.
  if (held.generation() != word.generation() || word.owner() != 0) return;
  if (!word.has(RM_WORD_SHARED)) return;
  const std::uint16_t context = held.context();
  Evidence evidence;
  evidence.add(slot).add(cell).add_context(ex.tables().context(context));
  Finding finding{
      .resource = ex.name(index), .next_step = kRecover, .subject = ex.tables().link_of(&cell)};
  if (held.state() == RM_CELL_OFFERED && word.latch() == 0) {
    finding.check = "share-offer-left";
    finding.invariant = 3;
    finding.text = "is offered to " + ex.who(context) + ", and nobody is about to complete it";
    ex.add(std::move(finding), evidence);
    return;
  }
  if (held.state() != RM_CELL_HELD) return;
  switch (ex.life(context)) {
    case Life::Live:
      return;
    case Life::Dead:
      if (word.latch() != 0 && ex.life(word.latch()) == Life::Live) return;
      finding.check = "share-of-dead";
      finding.invariant = 4;
      finding.text = "is held shared by " + ex.who(context) + ", which is dead";
      break;
    case Life::Free:
    case Life::Nobody:
      finding.check = "share-of-nobody";
      finding.invariant = 5;
      finding.text = "is held shared by context " + std::to_string(context) + ", which nobody has";
      break;
  }
  ex.add(std::move(finding), evidence);
}

void check_chain(Examination& ex, std::uint32_t index, Chains& chains) {
  const auto& t = ex.tables();
  const rm_slot& slot = *t.slot(index);
  const StateWord word{load(slot.word)};
  const bool tenant = !word.has(RM_WORD_ABSENT) && word.generation() != 0;
  const Walk walk = walk_cells(t, slot, ex.budget(), [&](const rm_cell& cell) {
    chains[t.link_of(&cell) - 1] = index + 1;
    if (!tenant) return;
    if (load(cell.slot) == index) {
      check_hold(ex, index, slot, cell);
      return;
    }
    Evidence evidence;
    evidence.add(slot).add(cell);
    ex.add({.check = "cell-astray",
            .invariant = 2,
            .resource = ex.name(index),
            .text = "has a cell in its chain that is another resource's",
            .next_step = kRebuildChain,
            .subject = t.link_of(&cell)},
           evidence);
  });
  if (walk == Walk::Whole || !tenant) return;
  Evidence evidence;
  evidence.add(slot);
  ex.add({.check = "chain-broken",
          .invariant = 2,
          .resource = ex.name(index),
          .text = "has a chain of shared holds that leads nowhere",
          .next_step = kRebuildChain,
          .subject = index},
         evidence);
}

void check_pool_entry(Examination& ex, const rm_cell& cell, const Chains& chains) {
  const auto& t = ex.tables();
  const std::uint32_t flags = load(cell.flags);
  if (flags == 0) return;
  const std::uint16_t taker = resmgr::lock::taker_of(flags);
  const std::uint32_t link = t.link_of(&cell);
  const std::uint32_t index = load(cell.slot);
  Evidence evidence;
  evidence.add(cell).add_context(t.context(taker));
  if (taker != 0) {
    const Life life = ex.life(taker);
    if (life == Life::Live || life == Life::Dead) return;
    ex.add({.check = "cell-leaked",
            .invariant = 5,
            .resource = "hold cell " + std::to_string(link - 1),
            .text = "belongs to context " + std::to_string(taker) + ", which nobody has",
            .next_step = "one shared hold fewer is to be had until resmgrd is started anew",
            .subject = link},
           evidence);
    return;
  }
  const rm_slot* const slot = t.slot(index);
  if ((flags & RM_CELL_REF_LINKED) == 0 || slot == nullptr || chains[link - 1] == index + 1) {
    return;
  }
  // A chain that is being taken apart belongs to nobody any more.
  const StateWord word{load(slot->word)};
  if (word.has(RM_WORD_ABSENT) || word.generation() == 0) return;
  evidence.add(*slot);
  ex.add({.check = "cell-lost",
          .invariant = 5,
          .resource = "hold cell " + std::to_string(link - 1),
          .text = "should be in the chain of " + ex.name(index) + ", and is not",
          .next_step = "one shared hold fewer is to be had until resmgrd is started anew",
          .subject = link},
         evidence);
}

}  // namespace

void check_cells(Examination& ex) {
  const auto& t = ex.tables();
  Chains chains(t.cell_count);
  for (std::uint32_t index = 0; index < ex.slot_end(); ++index) check_chain(ex, index, chains);
  for (std::uint32_t i = 0; i < used_cells(t); ++i) check_pool_entry(ex, t.cells[i], chains);
}

}  // namespace resmgrctl
