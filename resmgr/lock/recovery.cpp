// SPDX-License-Identifier: Apache-2.0
//
// What is done for the dead of a domain as a whole; what is done at one slot is in repair.cpp.
#include "resmgr/lock/recovery.hpp"

#include <algorithm>
#include <bitset>

#include "resmgr/base/futex.hpp"
#include "resmgr/lock/planted_bug.hpp"

namespace resmgr::lock {

Recovery::Recovery(LockEngine& engine)
    : engine_(engine),
      t_(engine.tables()),
      nodes_(t_),
      cells_(t_),
      index_(t_),
      sorted_(t_.slot_count),
      visited_(t_.slot_count),
      left_(t_.slot_count),
      marked_(t_.slot_count),
      listed_(std::max(t_.node_count, t_.cell_count)) {
  self_.id = RM_AUTHORITY_CONTEXT;
  room_.reserve(t_.node_count);
  quarantined_.reserve(t_.slot_count);
}

template <typename Visitor>
void Recovery::for_each_dead(Visitor&& visitor) const noexcept {
  const std::uint32_t end = std::min(load(t_.region->context_high_water), t_.context_count);
  for (std::uint32_t id = 1; id <= end; ++id) {
    if (t_.is_dead(id)) visitor(id, *t_.context(id));
  }
}

std::uint32_t Recovery::mark_dead(std::uint32_t client) noexcept {
  std::uint32_t marked = 0;
  // No further than anybody ever was: what is looked at takes memory.
  const std::uint32_t end = std::min(load(t_.region->context_high_water), t_.context_count);
  for (std::uint32_t id = 1; id <= end; ++id) {
    rm_context& record = *t_.context(id);
    std::uint64_t state = load(record.state);
    while ((state & RM_CONTEXT_STATE_MASK) == RM_CONTEXT_LIVE && client_of(state) == client) {
      const std::uint64_t dead = (state & ~std::uint64_t{RM_CONTEXT_STATE_MASK}) | RM_CONTEXT_DEAD;
      // seq_cst: a granter who wrote this context into a word before reads it again after that.
      if (!cas(record.state, state, dead)) continue;
      ++marked;
      break;
    }
  }
  return marked;
}

Recovery::Report Recovery::run(std::uint32_t slots) noexcept {
  Report report;
  const std::uint32_t end = std::min(slots, t_.slot_count);
  cancel_waits(report);
  index_.build();
  slots_ = end;
  sorted_.clear();
  serve_the_waiting(report);
  // What their hold lists name comes before the scan as well: somebody may be about to wait for it.
  begin_step();
  for_each_dead([&](std::uint32_t, const rm_context& record) {
    const std::uint64_t used = load(record.hold_bitmap);
    for (unsigned position = 0; position < RM_CONTEXT_HOLDS; ++position) {
      if ((used >> position & 1) == 0) continue;
      const std::uint64_t entry = load(record.holds[position]);
      (void)visit_once(static_cast<std::uint32_t>(entry >> RM_HOLD_SLOT_SHIFT), report);
    }
  });
  // R3, the truth: a release that died with its caller may have left a free word that names nobody,
  // and waiters behind it.
  for (std::uint32_t slot = 0; slot < end; ++slot) {
    if (concerns_us(t_.slots[slot])) (void)visit(slot, report);
  }
  // Cells first: the nodes say which of them were ever taken.
  take_cells_back(report);
  take_nodes_back(report);
  wake_the_decided();
  free_contexts(end, report);
  slots_ = 0;
  return report;
}

// R2
void Recovery::cancel_waits(Report& report) noexcept {
  const std::uint32_t end = nodes_.bits().high_water();
  for (std::uint32_t i = 0; i < end; ++i) {
    rm_node& node = t_.nodes[i];
    if (!t_.is_dead(taker_of(load(node.refs)))) continue;
    Waiter waiter;
    if (read_waiter(t_, node, waiter) && engine_.decide(waiter, RM_NODE_CANCELLED)) {
      ++report.waits_cancelled;
    }
    engine_.end_group(node);
    engine_.settle_member(node);
    // Swept from wherever it stands in the queue, as if he had given up; perhaps he just had.
    rm_slot* const slot = t_.slot(load(node.slot));
    if (slot) atomic(slot->attributes).fetch_or(static_cast<std::uint8_t>(RM_SLOT_ATTR_RESORT));
  }
}

// Who waits for one of the dead is served before the scan, which may have a million words to look
// at. A hint: which nodes there are is not what R3 relies on.
void Recovery::serve_the_waiting(Report& report) noexcept {
  const std::uint32_t end = nodes_.bits().high_water();
  for (std::uint32_t i = 0; i < end; ++i) {
    if (!NodeWord{load(t_.nodes[i].word)}.waiting()) continue;
    const std::uint32_t index = load(t_.nodes[i].slot);
    const rm_slot* const slot = t_.slot(index);
    if (!slot) continue;
    const StateWord word{load(slot->word)};
    if (t_.is_dead(word.owner()) || t_.is_dead(word.latch())) (void)visit(index, report);
  }
}

// Whether there is anything to do for a latch holder, or somebody who won't come back.
bool Recovery::concerns_us(const rm_slot& slot) const noexcept {
  const StateWord word{load(slot.word)};
  if (planted::kNamedOnly) return t_.is_dead(word.owner()) || t_.is_dead(word.latch());
  return word.has_any(RM_WORD_WAITERS | RM_WORD_WORK | RM_WORD_GRANTING) || word.latch() != 0 ||
         load(slot.inbox_link) != 0 || (word.owner() != 0 && t_.is_dead(word.owner()));
}

void Recovery::begin_step() noexcept {
  visited_.clear();
  left_.clear();
}

// For what is done once for all that a slot has to do with.
Recovery::Visit Recovery::visit_once(std::uint32_t index, Report& report) noexcept {
  if (index >= slots_) return Visit::NoTenant;
  if (visited_[index]) return left_[index] ? Visit::LeftTo : Visit::Served;
  const Visit visited = visit(index, report);
  visited_.set(index, visited != Visit::NoTenant);
  left_.set(index, visited == Visit::LeftTo);
  return visited;
}

// Each node or cell that is in a list of this slot once, whatever the links say.
template <typename Entry>
void Recovery::mark_list(std::uint32_t index, std::uint32_t link,
                         Entry* (LockTables::*entry)(std::uint32_t) const noexcept) noexcept {
  marked_.set(index);
  while (const Entry* const at = (t_.*entry)(link)) {
    if (listed_[link - 1]) return;
    listed_.set(link - 1);
    link = load_acquire(at->next_link);
  }
}

// What they had of nodes is over. One that is in no list and never will be, for its owner died on
// the way to push it, is told from others under the latch: whatever was pushed is QUEUED or gone
// when its slot was served.
void Recovery::take_nodes_back(Report& report) noexcept {
  const TakenBits bits = nodes_.bits();
  const std::uint32_t end = bits.high_water();
  for (std::uint32_t i = 0; i < end; ++i) {
    // Taken, and given up, or never had: his second step did not come.
    if (load(t_.nodes[i].refs) == 0 && bits.is_taken(i)) bits.give_back(i);
  }
  listed_.clear();
  begin_step();
  marked_.clear();
  for (const NodeIndex::Entry& entry : index_.all()) {
    rm_node& node = t_.nodes[entry.node];
    const std::uint32_t refs = load(node.refs);
    if (!t_.is_dead(taker_of(refs))) continue;
    if ((refs & RM_NODE_REF_LINKED) != 0 && (refs & RM_NODE_REF_QUEUED) == 0) {
      const std::uint32_t slot = load(node.slot);
      const Visit visited = visit_once(slot, report);
      if (visited == Visit::LeftTo) continue;  // once more, when the latch is free
      if (visited == Visit::NoTenant && slot < slots_ && !marked_[slot]) {
        mark_list(slot, load(t_.slots[slot].inbox_link), &LockTables::node);
      }
      const bool lost =
          visited == Visit::Served
              ? (load(node.refs) & (RM_NODE_REF_LINKED | RM_NODE_REF_QUEUED)) == RM_NODE_REF_LINKED
              : !listed_[entry.node];
      if (lost && !planted::kKeepUnpushed) nodes_.unlinked(node);
    }
    const NodeWord word{load(node.word)};
    // Whoever ends the hold, a living latch holder, looks at this.
    if (word.state() == RM_NODE_GRANTED && is_granted(node, taker_of(refs))) continue;
    if (!word.waiting()) store(node.word, word.to(RM_NODE_IDLE).bits);
    nodes_.disown(node);
  }
}

bool Recovery::is_granted(const rm_node& node, std::uint16_t taker) const noexcept {
  if ((load(node.flags) & RM_NODE_FLAG_GROUP) != 0) return false;
  const rm_slot* const slot = t_.slot(load(node.slot));
  const rm_cell* const cell = t_.cell(load(node.cell_link));
  if (slot && StateWord{load(slot->word)}.owner() == taker) return true;
  const CellWord word{cell ? load(cell->word) : 0};
  return word.in_use() && word.context() == taker;
}

void Recovery::take_cells_back(Report& report) noexcept {
  const TakenBits bits = cells_.bits();
  const std::uint32_t end = bits.high_water();
  listed_.clear();
  marked_.clear();
  begin_step();
  for (std::uint32_t i = 0; i < end; ++i) {
    rm_cell& cell = t_.cells[i];
    const std::uint32_t flags = load(cell.flags);
    if (flags == 0 && bits.is_taken(i)) bits.give_back(i);
    const std::uint16_t taker = taker_of(flags);
    if (!t_.is_dead(taker)) continue;
    const CellWord word{load(cell.word)};
    // Reaped under the latch, or an offer that a living granter is about to take back. What is HELD
    // where the word is not SHARED never was a hold: he died in try_shared() before he looked at
    // it.
    const std::uint32_t slot = load(cell.slot);
    if (word.context() == taker && word.in_use() && visit_once(slot, report) == Visit::LeftTo) {
      continue;
    }
    if (slot < slots_ && !marked_[slot]) {
      mark_list(slot, load(t_.slots[slot].cell_link), &LockTables::cell);
    }
    // It may never have got there, or its resource be gone.
    if (!listed_[i]) atomic(cell.flags).fetch_and(~std::uint32_t{RM_CELL_REF_LINKED});
    cells_.abandon(cell);
  }
}

// R4. A granter who died between decision and wake leaves no other trace. Nor does a lender who
// died before he looked for the cycles that his loan closed (I7): the borrowers look themselves.
void Recovery::wake_the_decided() noexcept {
  const std::uint32_t end = nodes_.bits().high_water();
  for (std::uint32_t i = 0; i < end; ++i) {
    rm_node& node = t_.nodes[i];
    const NodeWord word{load(node.word)};
    if (word.state() == RM_NODE_IDLE) continue;
    Wakeup owed;
    if (word.waiting()) {
      rm_node* const whole = t_.node(load(node.group));
      const bool borrows = load(node.priority) != load(node.base_priority);
      if (borrows && !planted::kTrustLenders) engine_.rouse(whole ? *whole : node, owed);
      continue;
    }
    engine_.call(node, owed);
  }
}

// R5
void Recovery::free_contexts(std::uint32_t slots, Report& report) noexcept {
  std::bitset<0x10000> named;  // an id is 16 bits, whatever the region says
  for (std::uint32_t i = 0; i < nodes_.bits().high_water(); ++i) {
    named.set(taker_of(load(t_.nodes[i].refs)));
  }
  for (std::uint32_t i = 0; i < cells_.bits().high_water(); ++i) {
    named.set(taker_of(load(t_.cells[i].flags)));
  }
  quarantined_.clear();
  for (std::uint32_t i = 0; i < slots; ++i) {
    const StateWord word{load(t_.slots[i].word)};
    named.set(word.owner());
    named.set(word.latch());
    if (word.has(RM_WORD_QUARANTINED) && !word.has(RM_WORD_ABSENT)) quarantined_.push_back(i);
  }
  for_each_dead([&](std::uint32_t id, rm_context& record) {
    if (named.test(id)) {
      ++report.pending;
      return;
    }
    std::uint64_t state = load(record.state);
    const std::uint64_t free = (state & ~std::uint64_t{RM_CONTEXT_STATE_MASK}) | RM_CONTEXT_FREE;
    if (cas(record.state, state, free)) ++report.contexts_freed;
  });
}

}  // namespace resmgr::lock
