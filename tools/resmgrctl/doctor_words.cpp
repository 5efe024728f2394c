// SPDX-License-Identifier: Apache-2.0
//
// What a state word can't say (I1 to I6).
#include <string>

#include "tools/resmgrctl/examination.hpp"

namespace resmgrctl {
namespace {

using Life = Examination::Life;
using resmgr::load;
using resmgr::lock::StateWord;

void check_owner(Examination& ex, std::uint32_t index, const rm_slot& slot, StateWord word) {
  const std::uint16_t owner = word.owner();
  if (owner == 0 || owner == RM_AUTHORITY_CONTEXT) return;
  Evidence evidence;
  evidence.add(slot).add_context(ex.tables().context(owner));
  Finding finding{.resource = ex.name(index), .next_step = kRecover, .subject = index};
  switch (ex.life(owner)) {
    case Life::Live:
      return;
    case Life::Dead:
      // As long as a living latch holder is in the middle, recovery leaves it to him.
      if (word.latch() != 0 && ex.life(word.latch()) == Life::Live) return;
      finding.check = "hold-of-dead";
      finding.invariant = 4;
      finding.text = "is held exclusively by " + ex.who(owner) + ", which is dead";
      break;
    case Life::Free:
      finding.check = "hold-of-nobody";
      finding.invariant = 5;
      finding.text =
          "is held exclusively by context " + std::to_string(owner) + ", which nobody has";
      break;
    case Life::Nobody:
      finding.check = "hold-of-nobody";
      finding.invariant = 2;
      finding.text = "is held exclusively by " + ex.who(owner);
      finding.next_step = kReport;
      break;
  }
  ex.add(std::move(finding), evidence);
}

void check_latch(Examination& ex, std::uint32_t index, const rm_slot& slot, StateWord word) {
  const std::uint16_t latch = word.latch();
  // The authority's latch is taken over by its successor.
  if (latch == 0 || latch == RM_AUTHORITY_CONTEXT || ex.life(latch) == Life::Live) return;
  Evidence evidence;
  evidence.add(slot).add_context(ex.tables().context(latch));
  ex.add({.check = "latch-abandoned",
          .invariant = 3,
          .resource = ex.name(index),
          .text = "has its latch with " + ex.who(latch) + ", which is not alive: nobody is served",
          .next_step = kRecover,
          .subject = index},
         evidence);
}

void check_flags(Examination& ex, std::uint32_t index, const rm_slot& slot, StateWord word) {
  Evidence evidence;
  evidence.add(slot);
  const auto add = [&](const char* check, unsigned invariant, const char* text) {
    ex.add({.check = check,
            .invariant = invariant,
            .resource = ex.name(index),
            .text = text,
            .next_step = "any acquisition of it that waits sets it right; if this comes again, "
                         "keep 'resmgrctl snapshot FILE' for a report",
            .subject = index},
           evidence);
  };
  if (word.latch() != 0) return;
  const bool queue = load(slot.queue_head_link) != 0;
  const bool inbox = load(slot.inbox_link) != 0;
  if (word.has(RM_WORD_GRANTING)) {
    add("offer-left", 3, "is offered to somebody, and nobody is about to complete it");
  }
  if (queue && !word.has(RM_WORD_WAITERS)) {
    add("queue-denied", 6, "has a queue that its word denies: its waiters are overtaken");
  }
  if (word.owner() != 0) return;
  if (word.has(RM_WORD_WORK)) add("work-left", 6, "has work left to nobody");
  if (word.has(RM_WORD_WAITERS) && !queue && !inbox) {
    add("queue-stale", 2, "is said to have waiters, and has none: it can't be had at once");
  }
}

void note_state(Examination& ex, std::uint32_t index, const rm_slot& slot, StateWord word) {
  Evidence evidence;
  evidence.add(load(slot.word));
  if (word.has(RM_WORD_INCONSISTENT)) {
    ex.add({.check = "inconsistent",
            .note = true,
            .resource = ex.name(index),
            .text = "was held exclusively by somebody who died in the middle",
            .next_step = "its next holder repairs what it guards and calls consistent()",
            .subject = index},
           evidence);
  }
  if (!word.has(RM_WORD_QUARANTINED)) return;
  const auto entry = ex.view().read(resmgr::Handle(index, word.generation()));
  if (entry && entry->drained) {
    ex.add({.check = "drained",
            .note = true,
            .resource = ex.name(index),
            .text = "is not granted, for an operator has its driver drained",
            .next_step = "'resmgrctl drain --cancel' with the name of that driver",
            .subject = index},
           evidence);
  } else {
    ex.add({.check = "quarantined",
            .note = true,
            .resource = ex.name(index),
            .text = "is not granted until its hardware is known to be quiet",
            .next_step = "its owner driver reports it quiet: see that driver's log; who knows that "
                         "it is says so by 'resmgrctl unpoison NAME'",
            .subject = index},
           evidence);
  }
}

}  // namespace

void check_words(Examination& ex) {
  for (std::uint32_t index = 0; index < ex.slot_end(); ++index) {
    const rm_slot& slot = *ex.tables().slot(index);
    const StateWord word{load(slot.word)};
    if (word.has(RM_WORD_ABSENT) || word.generation() == 0) continue;
    if (word.has(RM_WORD_SHARED) && word.owner() != 0) {
      Evidence evidence;
      evidence.add(slot);
      ex.add({.check = "held-both-ways",
              .invariant = 1,
              .resource = ex.name(index),
              .text = "is held exclusively by " + ex.who(word.owner()) + " and shared by others",
              .next_step = kReport,
              .subject = index},
             evidence);
    }
    check_owner(ex, index, slot, word);
    check_latch(ex, index, slot, word);
    check_flags(ex, index, slot, word);
    note_state(ex, index, slot, word);
  }
}

}  // namespace resmgrctl
