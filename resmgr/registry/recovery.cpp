// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <span>

#include "resmgr/registry/change.hpp"
#include "resmgr/registry/edges.hpp"
#include "resmgr/registry/entry.hpp"
#include "resmgr/registry/writer.hpp"

namespace resmgr::registry {
namespace {

// Look-ups compare whole words, so what follows a name counts.
bool is_padded(const rm_entry& entry) noexcept {
  const std::span<const char> name(entry.name);
  return std::ranges::all_of(name.subspan(entry.name_bytes), [](char c) { return c == '\0'; });
}

// Whether a new authority can take the entry over as it is.
bool is_kept(const rm_entry& entry) noexcept {
  return (entry.lifecycle & RM_STATE_UNPUBLISHED) == 0 && is_sound(entry) && is_padded(entry) &&
         entry.generation != 0 && entry.generation <= Handle::kGenerationMask;
}

// One that its writer was about to publish.
bool is_whole_but_unpublished(rm_entry entry) noexcept {
  if ((entry.lifecycle & RM_STATE_UNPUBLISHED) == 0) return false;
  entry.lifecycle &= static_cast<std::uint8_t>(~RM_STATE_UNPUBLISHED);
  return entry.name_bytes != 0 && is_kept(entry);
}

}  // namespace

// Of two that come together the needing one is published first; see publish_with_needed().
void RegistryWriter::publish_needed(std::vector<bool>& live) {
  std::vector<std::uint32_t> needed;
  std::uint32_t budget = tables_.dependencies.count();
  for (std::uint32_t slot = 0; slot < live.size(); ++slot) {
    if (live[slot]) (void)walk_edges(tables_, slot, kNeeds, budget, needed);
  }
  for (const std::uint32_t slot : needed) {
    if (slot >= live.size() || live[slot]) continue;
    const auto entry = load_record<rm_entry>(tables_.entries.at(slot));
    if (!is_whole_but_unpublished(entry)) continue;
    store_lifecycle(slot, entry.lifecycle & RM_STATE_MASK);
    live[slot] = true;
  }
}

// Only two things are believed: an entry's first word, and the chains that start at published
// entries. Lists of free records, counters, backward links and the index are made anew.
Recovery RegistryWriter::recover() {
  const Change change(tables_);
  rm_registry_region& root = *tables_.root;
  const std::uint32_t used = std::min(load_acquire(root.slot_high_water), tables_.entries.count());
  store_release(root.slot_high_water, used);

  std::vector<bool> live(used);
  for (std::uint32_t slot = 0; slot < used; ++slot) {
    live[slot] = is_kept(load_record<rm_entry>(tables_.entries.at(slot)));
  }
  publish_needed(live);
  index_.rebuild(live);

  Recovery report;
  for (std::uint32_t slot = 0; slot < used; ++slot) {
    Word* const entry = tables_.entries.at(slot);
    const auto copy = load_record<rm_entry>(entry);
    if (live[slot]) {
      ++report.live;
      if ((copy.lifecycle & RM_STATE_MASK) == RM_STATE_PENDING_CLEANUP) {
        report.pending.emplace_back(slot, copy.generation);
      }
    } else if (copy.name_bytes != 0) {
      store_release(entry[0], Word{copy.generation} << 32);
      ++report.undone;
    }
  }

  last_class_ = {};
  classes_.recover();
  fresh_class_ = 0;
  drivers_.recover();
  for (std::uint32_t slot = 0; slot < used; ++slot) {
    if (live[slot]) drivers_.add_resource(owner_of(tables_.entries.at(slot)));
  }
  tables_.tallies.recover(load_relaxed(root.driver_count), [&](const Tallies::Add& add) {
    for (std::uint32_t slot = 0; slot < used; ++slot) {
      const Word* const entry = tables_.entries.at(slot);
      if (live[slot]) add(owner_of(entry), type_of(entry));
    }
  });
  pairs_.recover(live);
  shares_.recover(live);
  dependencies_.recover(live);

  store_release(root.live, report.live);
  store_release(root.retired_slots, 0);
  store_release(root.free_slots_link, 0);
  // Downwards, so that low slots are used first.
  for (std::uint32_t slot = used; slot-- > 0;) {
    if (!live[slot]) {
      give_slot_back(slot, load_field<std::uint32_t>(tables_.entries.at(slot),
                                                     offsetof(rm_entry, generation)));
    }
  }
  report.retired = load_relaxed(root.retired_slots);
  return report;
}

}  // namespace resmgr::registry
