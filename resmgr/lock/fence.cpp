// SPDX-License-Identifier: Apache-2.0
//
// Taking from the living, and what those are told who were fenced.
#include "resmgr/lock/fence.hpp"

#include <limits>

#include "resmgr/lock/planted_bug.hpp"

namespace resmgr::lock {

Fence::Fence(LockEngine& engine) noexcept
    : engine_(engine), t_(engine.tables()), cells_(engine.tables()) {
  self_.id = RM_AUTHORITY_CONTEXT;
}

bool Fence::close(Handle handle) noexcept {
  const rm_slot* const slot = t_.slot(handle.slot());
  if (!slot) return false;
  const StateWord seen{load(slot->word)};
  if (!seen.is_tenant(handle.generation()) || seen.has(RM_WORD_QUARANTINED)) return false;
  knock(handle, RM_WORD_QUARANTINED, 0);
  return true;
}

void Fence::open(Handle handle) noexcept { knock(handle, 0, RM_WORD_QUARANTINED); }

// The flag comes, or goes, with the knock, in one swap: who waits is told, or served, now.
void Fence::knock(Handle handle, std::uint32_t begun, std::uint32_t ended) noexcept {
  rm_slot* const slot = t_.slot(handle.slot());
  if (!slot) return;
  std::uint64_t word = load(slot->word);
  for (;;) {
    const StateWord seen{word};
    if (!seen.is_tenant(handle.generation())) return;
    const bool free = seen.latch() == 0;
    const StateWord next = seen.with(begun).without(ended);
    if (!cas(slot->word, word,
             free ? next.with_latch(self_.id).bits : next.with(RM_WORD_WORK).bits)) {
      continue;
    }
    if (free) engine_.service(self_, handle.slot(), handle.generation());
    return;
  }
}

Fence::Outcome Fence::end_holds(Handle handle, std::vector<Participant>& ended) noexcept {
  rm_slot* const slot = t_.slot(handle.slot());
  if (!slot) return Outcome::NotNeeded;
  std::uint64_t word = load(slot->word);
  for (;;) {
    const StateWord seen{word};
    if (!seen.is_tenant(handle.generation())) return Outcome::NotNeeded;
    if (seen.latch() != 0) return Outcome::LatchTaken;
    if (cas(slot->word, word, seen.with_latch(self_.id).bits)) break;
  }
  const Outcome outcome = check(*slot, handle);
  if (outcome == Outcome::Done) {
    engine_.for_each_holder(handle, [&](const Participant& who) {
      if (ended.size() < ended.capacity()) ended.push_back(who);
    });
    // F0. From here on it is decided: whoever dies on the way, the next one completes it.
    atomic(slot->attributes).fetch_or(static_cast<std::uint8_t>(RM_SLOT_ATTR_FENCING));
    complete(*slot, handle);
  }
  engine_.service(self_, handle.slot(), handle.generation());
  return outcome;
}

// Under the latch.
Fence::Outcome Fence::check(rm_slot& slot, Handle handle) const noexcept {
  const WaitQueue queue(t_, slot, handle.slot(), handle.generation());
  queue.settle();
  bool wants_all = false;
  bool urgent = false;
  queue.for_each([&](const Waiter& waiter) {
    // Who waits to upgrade would lose what he has with the others.
    if (!waiter.emergency || waiter.mode == RM_WAIT_UPGRADE || t_.is_dead(waiter.context)) {
      return true;
    }
    urgent = true;
    wants_all = wants_all || waiter.mode == RM_WAIT_EXCLUSIVE;
    return true;
  });
  if (!urgent) return Outcome::NotNeeded;
  const StateWord seen{load(slot.word)};
  bool held = false;
  bool may = true;
  const auto look = [&](std::uint16_t context) {
    held = true;
    may = may && may_end(slot, handle, context);
  };
  if (seen.owner() != 0) {
    // A hold of the dead ends otherwise, and by whoever has the latch.
    if (t_.is_dead(seen.owner())) return Outcome::NotNeeded;
    look(seen.owner());
  } else if (seen.has(RM_WORD_SHARED) && wants_all) {
    cells_.for_each(slot, handle.generation(), [&](const rm_cell&, CellWord word) {
      if (word.in_use() && !t_.is_dead(word.context())) look(word.context());
      return true;
    });
  }
  if (!held) return Outcome::NotNeeded;
  if (load(slot.tenure) == std::numeric_limits<std::uint8_t>::max()) return Outcome::UsedUp;
  return may ? Outcome::Done : Outcome::Unlisted;
}

// His list of holds will keep him from acquiring it anew before he has let go; where he never took
// it, there is nothing to let go of.
bool Fence::may_end(const rm_slot&, Handle handle, std::uint16_t context) const noexcept {
  const rm_context* const record = t_.context(context);
  return !record || find_hold(*record, handle) != 0 || is_untaken(handle, context);
}

// Whether the node, as long as it says so, is of one who was granted this, perhaps as one of a
// group, and did not take it yet.
bool Fence::is_granted(rm_node& node, Handle handle, std::uint64_t& word) const noexcept {
  if (load_acquire(node.slot) != handle.slot()) return false;
  engine_.settle_member(node);
  word = load(node.word);
  return NodeWord{word}.state() == RM_NODE_GRANTED &&
         load_acquire(node.generation) == handle.generation() &&
         load_acquire(node.slot) == handle.slot();
}

bool Fence::is_untaken(Handle handle, std::uint16_t context) const noexcept {
  const std::uint32_t end = NodePool(t_).bits().high_water();
  for (std::uint32_t i = 0; i < end; ++i) {
    rm_node& node = t_.nodes[i];
    std::uint64_t word = 0;
    if (is_granted(node, handle, word) && load_acquire(node.context) == context) return true;
  }
  return false;
}

// F1 to F4, under the latch. All of it may have been done before: nobody's hold can have begun
// since, for that takes the latch, or a word in which it is free.
void Fence::complete(rm_slot& slot, Handle handle) noexcept {
  std::uint64_t word = load(slot.word);
  while (!cas(slot.word, word, StateWord{word}.with(RM_WORD_REVOKED).bits)) {
  }
  // F2. Grants first: who takes his before this swap read the tenure before that, and it is the old
  // one still.
  const bool untaken = !planted::kKeepUntaken && take_grants_back(handle);
  // Who was cut off in the middle of his work leaves it so. In doubt he had begun.
  const std::uint32_t warning = untaken ? 0u : std::uint32_t{RM_WORD_INCONSISTENT};
  word = load(slot.word);
  while (StateWord{word}.owner() != 0) {
    const StateWord ended = StateWord{word}.with_owner(0).without(RM_WORD_GRANTING).with(warning);
    if (cas(slot.word, word, ended.bits)) break;
  }
  // All of them, also where the word was exclusive: of what is HELD there none is a hold but the
  // reader's who was upgraded, and that ends with it.
  cells_.for_each(slot, handle.generation(), [&](rm_cell& cell, CellWord held) {
    std::uint64_t expected = held.bits;
    if (held.in_use()) (void)cas(cell.word, expected, held.to(RM_CELL_FREE).bits);
    return true;
  });
  // F3. After the holds: so that what a hold is labelled with after it began is its own, if it goes
  // on by then. Once too often does no harm, for nobody holds.
  const std::uint8_t tenure = load(slot.tenure);
  if (tenure != std::numeric_limits<std::uint8_t>::max() && !planted::kSameTenure) {
    store(slot.tenure, static_cast<std::uint8_t>(tenure + 1));
  }
  // F4
  atomic(slot.attributes).fetch_and(static_cast<std::uint8_t>(~RM_SLOT_ATTR_FENCING));
}

// What the word or a cell says of who was granted it and did not take it yet is not a hold, and is
// none any more; he learns it from his node. All nodes are looked at: a list that its owner edits
// might hide one. Returns whether an exclusive one was taken back.
bool Fence::take_grants_back(Handle handle) noexcept {
  bool exclusive = false;
  const std::uint32_t end = NodePool(t_).bits().high_water();
  for (std::uint32_t i = 0; i < end; ++i) {
    rm_node& node = t_.nodes[i];
    std::uint64_t word = 0;
    if (!is_granted(node, handle, word)) continue;
    const std::uint8_t mode = load_acquire(node.mode);
    if (!cas(node.word, word, NodeWord{word}.to(RM_NODE_REVOKED).bits)) continue;
    exclusive = exclusive || mode != RM_WAIT_SHARED;
  }
  return exclusive;
}

// ---- those who were fenced ----------------------------------------------------------------------

// The context had it, has it no more, and has not let go of it since.
bool LockEngine::was_fenced(const Context& context, const rm_slot& slot,
                            Handle handle) const noexcept {
  const StateWord seen{load(slot.word)};
  return seen.is_tenant(handle.generation()) && seen.has(RM_WORD_REVOKED) &&
         find_hold(*context.record, handle) != 0 && !held_kind(context, handle);
}

// Release of a hold that is none any more: its entry goes, and the context may acquire again.
std::unexpected<Error> LockEngine::let_go_of_fenced(Context& context, rm_slot& slot,
                                                    Handle handle) noexcept {
  if (was_fenced(context, slot, handle)) {
    // A cell that was not to be kept is nobody's hold, and goes now.
    cells_.for_each(slot, handle.generation(), [&](rm_cell& cell, CellWord word) {
      if (word.context() == context.id && !word.in_use()) cells_.drop_unused(cell);
      return true;
    });
    HoldList(context).remove(find_hold(*context.record, handle));
  }
  return fail(ErrorCode::Revoked);
}

Handle LockEngine::as_held(Handle handle) const noexcept {
  const rm_slot* slot = t_.slot(handle.slot());
  return slot && handle.tenure() == 0 ? handle.with_tenure(load(slot->tenure)) : handle;
}

// What the context holds, if that is what the handle names. Errors: as held_kind(), and Revoked.
Result<HoldKind> LockEngine::hold_named(const Context& context, Handle handle) const noexcept {
  const auto kind = held_kind(context, handle);
  if (!kind && kind.error() == ErrorCode::StaleHandle) return kind;
  const rm_slot& slot = t_.slots[handle.slot()];
  if (load(slot.tenure) != handle.tenure()) return fail(ErrorCode::Revoked);
  if (!kind && was_fenced(context, slot, handle)) return fail(ErrorCode::Revoked);
  return kind;
}

// What a hold that has just begun is labelled with, where somebody was fenced before: read after
// the swap that began it, it is its own if the hold goes on by then, for a fence ends holds before
// it raises the tenure. False: it was ended.
bool LockEngine::label(const Context& context, const rm_slot& slot, Grant& grant) const noexcept {
  grant.tenure = load(slot.tenure);
  return StateWord{load(slot.word)}.owner() == context.id;
}

}  // namespace resmgr::lock
