// SPDX-License-Identifier: Apache-2.0
//
// The registry: entries, their slots, their chains and their names (I2, I10).
#include <array>
#include <optional>
#include <string>

#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/name_lookup.hpp"
#include "tools/resmgrctl/examination.hpp"

namespace resmgrctl {
namespace {

using resmgr::ErrorCode;
using resmgr::Handle;
using resmgr::load;
using resmgr::lock::StateWord;
using resmgr::registry::Word;

constexpr const char* kRestart =
    "resmgrd makes its lists anew when it is restarted (systemctl restart resmgrd); keep "
    "'resmgrctl snapshot FILE' for a report before";

// Its writer is in the middle of a registration or a removal, perhaps for long: until it is done,
// what is there is not all found and counted.
bool is_changing(const Examination& ex) {
  return (load(ex.registry().root->changes_seq) & 1u) != 0;
}

Evidence entry_evidence(const Examination& ex, std::uint32_t slot) {
  Evidence evidence;
  if (const Word* const entry = ex.registry().entries.at(slot)) {
    evidence.add_words({entry, sizeof(rm_entry) / sizeof(Word)});
  }
  return evidence;
}

void add(Examination& ex, const char* check, unsigned invariant, std::uint32_t slot,
         std::string text, const char* next_step, const Evidence& evidence) {
  ex.add({.check = check,
          .invariant = invariant,
          .resource = ex.name(slot),
          .text = std::move(text),
          .next_step = next_step,
          .subject = slot},
         evidence);
}

void check_chains(Examination& ex, Handle handle) {
  const auto& view = ex.view();
  std::string damaged;
  const auto look_at = [&](const char* what, const auto& read) {
    if (!read && read.error() == ErrorCode::InvalidArgument) {
      damaged += (damaged.empty() ? "" : " and ") + std::string(what);
    }
  };
  look_at("metadata", view.pairs(handle));
  look_at("shares", view.shares(handle));
  look_at("what it needs", view.needs(handle));
  look_at("what needs it", view.needed_by(handle));
  if (damaged.empty()) return;
  Evidence evidence = entry_evidence(ex, handle.slot());
  evidence.add(load(ex.registry().root->chains_seq));
  add(ex, "record-chain-broken", 2, handle.slot(), "has damaged lists: " + damaged, kRestart,
      evidence);
}

void check_published(Examination& ex, Handle handle) {
  const std::uint32_t slot = handle.slot();
  const auto entry = ex.view().read(handle);
  if (!entry) {
    if (entry.error() == ErrorCode::InvalidArgument) {
      add(ex, "entry-damaged", 2, slot, "has an entry that can't be", kRestart,
          entry_evidence(ex, slot));
    }
    return;
  }
  const bool compact = (ex.registry().flags & RM_DOMAIN_COMPACT_HANDLES) != 0;
  if (compact && handle.generation() >= 1u << RM_COMPACT_GENERATION_BITS) {
    add(ex, "generation-too-high", 10, slot, "has a generation that its compact handle can't have",
        kRestart, entry_evidence(ex, slot));
  }
  check_chains(ex, handle);
  // Going: its slot is closed before its entry is.
  if (entry->state == resmgr::Lifecycle::PendingCleanup) return;
  const rm_slot& line = *ex.tables().slot(slot);
  if (!StateWord{load(line.word)}.is_tenant(handle.generation())) {
    add(ex, "entry-without-slot", 10, slot,
        "is registered, and its word is of another one: nobody can acquire it",
        "unregister it and register it again", entry_evidence(ex, slot).add(line));
  }
  const auto found = ex.view().find(entry->name_text());
  if ((found && *found == handle) || is_changing(ex)) return;
  add(ex, "name-lost", 2, slot, "is registered, and not found by its name", kRestart,
      entry_evidence(ex, slot).add(*ex.registry().index_state));
}

// A slot that is open, and whose entry says that nobody is there.
void check_vacant(Examination& ex, std::uint32_t slot) {
  const Word* const entry = ex.registry().entries.at(slot);
  const rm_slot& line = *ex.tables().slot(slot);
  const StateWord word{load(line.word)};
  if (entry == nullptr || resmgr::registry::load_field<std::uint8_t>(entry, 0) != 0) return;
  if (word.has(RM_WORD_ABSENT) || word.generation() == 0) return;
  // One that died between opening a slot and publishing its name leaves it so; it is opened anew.
  const bool empty = word.owner() == 0 && !word.has_any(RM_WORD_SHARED | RM_WORD_WAITERS);
  ex.add({.check = "slot-without-entry",
          .invariant = empty ? 0u : 2u,
          .note = empty,
          .resource = "slot " + std::to_string(slot),
          .text = empty ? "is open for a resource that never came"
                        : "is held or waited for, and no resource is there",
          .next_step = empty ? "nothing: the next resource to be registered may get it" : kRestart,
          .subject = slot},
         entry_evidence(ex, slot).add(line));
}

}  // namespace

void check_entries(Examination& ex) {
  std::uint32_t live = 0;
  // Of a slot that is empty nothing shows whether somebody was there between two looks; the root is
  // copied before the entries, so that one who left meanwhile would be counted in each.
  Evidence all;
  all.add(load(ex.registry().root->changes_seq));
  for (std::uint32_t slot = 0; slot < ex.slot_end(); ++slot) {
    const Handle handle = resmgr::registry::live_handle(ex.registry(), slot);
    all.add(handle);
    if (handle.is_null()) {
      check_vacant(ex, slot);
    } else {
      ++live;
      check_published(ex, handle);
    }
  }
  all.add(ex.view().size());
  if (ex.view().size() == live || is_changing(ex)) return;
  ex.add({.check = "resources-miscounted",
          .invariant = 2,
          .resource = "the registry",
          .text = "counts " + std::to_string(ex.view().size()) + " resources, and has " +
                  std::to_string(live),
          .next_step = kRestart},
         all);
}

void check_index(Examination& ex) {
  namespace registry = resmgr::registry;
  const registry::Tables& tables = ex.registry();
  const Word word = load(*tables.index_state);
  const auto state = registry::IndexState::decode(word, tables.index.count());
  if (!state) {
    Evidence evidence;
    evidence.add(word);
    ex.add({.check = "index-damaged",
            .invariant = 2,
            .resource = "the registry",
            .text = "has no index of names: nothing is found",
            .next_step = kRestart},
           evidence);
    return;
  }
  for (std::uint32_t place = 0; place < state->cells(); ++place) {
    const Word* const cell = tables.index.at(state->first + place);
    if (cell == nullptr) break;
    const Word identity = load(cell[0]);
    if (identity == 0 || (identity & RM_INDEX_NAME_MASK & ~Word{RM_INDEX_UNPUBLISHED}) == 0 ||
        (identity & RM_INDEX_UNPUBLISHED) != 0) {
      continue;
    }
    const Handle handle = registry::cell_handle(identity);
    if (registry::live_entry(tables, handle) != nullptr) continue;
    const Word* const entry = tables.entries.at(handle.slot());
    Evidence evidence;
    evidence.add(word).add(identity).add(entry ? load(entry[0]) : Word{0});
    ex.add({.check = "index-astray",
            .invariant = 10,
            .resource = "a name of " + std::to_string(identity & RM_INDEX_NAME_MASK) + " bytes",
            .text = "leads to slot " + std::to_string(handle.slot()) +
                    ", where no such resource is any more",
            .next_step = kRestart,
            .subject = place},
           evidence);
  }
}

}  // namespace resmgrctl
