// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/dependencies.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "resmgr/registry/edges.hpp"
#include "resmgr/registry/entry.hpp"

namespace resmgr::registry {
namespace {

std::uint32_t get(const Word* record, std::size_t offset) noexcept {
  return load_field<std::uint32_t>(record, offset);
}

void set(Word* record, std::size_t offset, std::uint32_t value) noexcept {
  store_field<std::uint32_t>(record, offset, value);
}

Result<std::vector<Handle>> read_side(const Tables& tables, Handle handle, const Side& side) {
  std::vector<Handle> found;
  std::vector<std::uint32_t> slots;
  auto ok = read_chains(tables, [&] {
    found.clear();
    slots.clear();
    if (live_entry(tables, handle) == nullptr) return Walk::Stale;
    std::uint32_t budget = tables.dependencies.count();
    Walk walk = walk_edges(tables, handle.slot(), side, budget, slots);
    if (walk == Walk::Whole) walk = to_handles(tables, slots, found);
    return live_entry(tables, handle) == nullptr ? Walk::Stale : walk;
  });
  if (!ok) return std::unexpected(std::move(ok.error()));
  return found;
}

// A search from one resource along one side, edge by edge.
class Frontier {
 public:
  Frontier(const Tables& tables, const Side& side, std::uint32_t start)
      : tables_(tables), side_(side), pending_{start}, visited_{start} {}

  /// Follows one more edge; false when there is none left.
  bool step() {
    while (link_ == 0) {
      if (pending_.empty()) return false;
      link_ = get(tables_.entries.at(pending_.back()), side_.head);
      pending_.pop_back();
    }
    const Word* const record = tables_.dependencies.find(link_);
    if (record == nullptr) return false;
    link_ = get(record, side_.next);
    const std::uint32_t other = get(record, side_.there);
    if (tables_.entries.at(other) != nullptr && visited_.insert(other).second) {
      pending_.push_back(other);
    }
    return true;
  }
  [[nodiscard]] bool has_seen(std::uint32_t slot) const { return visited_.contains(slot); }

 private:
  const Tables& tables_;
  const Side& side_;
  std::vector<std::uint32_t> pending_;
  std::unordered_set<std::uint32_t> visited_;
  std::uint32_t link_ = 0;
};

// Whether `from` needs `to`, directly or not. Searches from both ends in step, so that the smaller
// side decides how long it takes: a new resource, which nobody needs yet, costs nothing.
bool reaches(const Tables& tables, std::uint32_t from, std::uint32_t to) {
  Frontier forward(tables, kNeeds, from);
  Frontier backward(tables, kNeeded, to);
  for (std::uint32_t budget = tables.dependencies.count(); budget > 0; --budget) {
    if (!forward.step()) return forward.has_seen(to);
    if (!backward.step()) return backward.has_seen(from);
  }
  return forward.has_seen(to);
}

std::string name_of(const Tables& tables, std::uint32_t slot) {
  auto entry = read_entry(tables, live_handle(tables, slot));
  return entry ? std::string(entry->name_text()) : "resource " + std::to_string(slot);
}

}  // namespace

Result<std::vector<Handle>> read_needs(const Tables& tables, Handle handle) {
  return read_side(tables, handle, kNeeds);
}

Result<std::vector<Handle>> read_needed_by(const Tables& tables, Handle handle) {
  return read_side(tables, handle, kNeeded);
}

DependencyWriter::DependencyWriter(const Tables& tables) noexcept
    : tables_(tables),
      pool_(tables.dependencies, tables.root->dependencies, tables.root->chains_seq) {}

// Walks both chains in step, so that the shorter one decides how long it takes: a device that a
// hundred thousand buffers need costs each of them nothing.
std::uint32_t DependencyWriter::locate(std::uint32_t from, std::uint32_t to) const noexcept {
  struct Cursor {
    const Side& side;
    std::uint32_t wanted;
    std::uint32_t link;
  };
  std::array<Cursor, 2> cursors{{
      {kNeeds, to, get(tables_.entries.at(from), kNeeds.head)},
      {kNeeded, from, get(tables_.entries.at(to), kNeeded.head)},
  }};
  for (std::uint32_t budget = tables_.dependencies.count(); budget > 0; --budget) {
    for (Cursor& cursor : cursors) {
      const Word* const record = tables_.dependencies.find(cursor.link);
      if (record == nullptr) return 0;
      if (get(record, cursor.side.there) == cursor.wanted) return cursor.link;
      cursor.link = get(record, cursor.side.next);
    }
  }
  return 0;
}

// The slots from `from` to `to` along "needs", both included; empty if there is no way.
std::vector<std::uint32_t> DependencyWriter::path(std::uint32_t from, std::uint32_t to) const {
  std::unordered_map<std::uint32_t, std::uint32_t> came_from{{from, from}};
  std::vector<std::uint32_t> pending{from};
  std::vector<std::uint32_t> needs;
  std::uint32_t budget = tables_.dependencies.count();
  while (!pending.empty() && !came_from.contains(to)) {
    const std::uint32_t slot = pending.back();
    pending.pop_back();
    needs.clear();
    if (walk_edges(tables_, slot, kNeeds, budget, needs) != Walk::Whole) break;
    for (const std::uint32_t next : needs) {
      if (came_from.try_emplace(next, slot).second) pending.push_back(next);
    }
  }
  std::vector<std::uint32_t> way;
  if (!came_from.contains(to)) return way;
  for (std::uint32_t slot = to; slot != from; slot = came_from.at(slot)) way.push_back(slot);
  way.push_back(from);
  std::ranges::reverse(way);
  return way;
}

Result<void> DependencyWriter::add(Handle from, Handle to) {
  const Word* const needed = live_entry(tables_, to);
  if (live_entry(tables_, from) == nullptr || needed == nullptr) {
    return fail(ErrorCode::StaleHandle);
  }
  if (from == to) return fail(ErrorCode::InvalidArgument, "a resource needs itself");
  if (is_leaving(needed)) {
    return fail(ErrorCode::InUse, "the needed resource is being unregistered");
  }
  if (locate(from.slot(), to.slot()) != 0) return fail(ErrorCode::AlreadyExists, "dependency");

  if (reaches(tables_, to.slot(), from.slot())) {
    std::string text = name_of(tables_, from.slot());
    for (const std::uint32_t slot : path(to.slot(), from.slot())) {
      text += " needs " + name_of(tables_, slot);
    }
    Error cycle(ErrorCode::DependencyCycle);
    cycle.with_detail({.cycle = {}, .text = std::move(text)});
    return std::unexpected(std::move(cycle));
  }
  if (auto room = check_room(); !room) return room;
  add_first(from, to);
  return {};
}

Result<void> DependencyWriter::check_room() const noexcept {
  if (pool_.available() == 0) return table_full("table of dependencies", 1, 0);
  return {};
}

void DependencyWriter::add_first(Handle from, Handle to) noexcept {
  const std::uint32_t link = pool_.take();
  Word* const user = tables_.entries.at(from.slot());
  Word* const used = tables_.entries.at(to.slot());
  const std::uint32_t next_needs = get(user, kNeeds.head);
  const std::uint32_t next_needed = get(used, kNeeded.head);
  store_record(tables_.dependencies.find(link), rm_dependency{.next_needs_link = next_needs,
                                                              .prev_needs_link = 0,
                                                              .next_needed_link = next_needed,
                                                              .prev_needed_link = 0,
                                                              .from = from.slot(),
                                                              .to = to.slot(),
                                                              .reserved = {}});
  // From this store on the edge is there; recovery makes the rest from it.
  set(user, kNeeds.head, link);
  set(used, kNeeded.head, link);
  if (Word* const next = tables_.dependencies.find(next_needs)) set(next, kNeeds.previous, link);
  if (Word* const next = tables_.dependencies.find(next_needed)) set(next, kNeeded.previous, link);
}

void DependencyWriter::unlink(std::uint32_t link) noexcept {
  Word* const record = tables_.dependencies.find(link);
  if (record == nullptr) return;
  for (const Side* side : {&kNeeds, &kNeeded}) {
    const std::uint32_t next = get(record, side->next);
    Word* const previous_record = tables_.dependencies.find(get(record, side->previous));
    if (previous_record != nullptr) {
      set(previous_record, side->next, next);
    } else if (Word* const entry = tables_.entries.at(get(record, side->here))) {
      set(entry, side->head, next);
    }
    if (Word* const next_record = tables_.dependencies.find(next)) {
      set(next_record, side->previous, get(record, side->previous));
    }
  }
  pool_.give_back(link);
}

Result<void> DependencyWriter::remove(Handle from, Handle to) noexcept {
  if (live_entry(tables_, from) == nullptr || live_entry(tables_, to) == nullptr) {
    return fail(ErrorCode::StaleHandle);
  }
  const std::uint32_t link = locate(from.slot(), to.slot());
  if (link == 0) return fail(ErrorCode::NotFound, "no such dependency");
  unlink(link);
  return {};
}

bool DependencyWriter::is_needed(std::uint32_t slot) const noexcept {
  return tables_.dependencies.find(get(tables_.entries.at(slot), kNeeded.head)) != nullptr;
}

void DependencyWriter::drop_all(std::uint32_t slot) noexcept {
  const Word* const entry = tables_.entries.at(slot);
  for (const Side* side : {&kNeeds, &kNeeded}) {
    for (std::uint32_t budget = tables_.dependencies.count(); budget > 0; --budget) {
      const std::uint32_t link = get(entry, side->head);
      if (tables_.dependencies.find(link) == nullptr) break;
      unlink(link);
    }
  }
}

void DependencyWriter::recover(const std::vector<bool>& live) {
  const auto is_live = [&](std::uint32_t slot) { return slot < live.size() && live[slot]; };
  std::vector<bool> seen(pool_.high_water());
  std::vector<bool> in_use(pool_.high_water());
  for (std::uint32_t slot = 0; slot < live.size(); ++slot) {
    Word* const entry = tables_.entries.at(slot);
    set(entry, kNeeded.head, 0);
    if (!live[slot]) set(entry, kNeeds.head, 0);
  }
  for (std::uint32_t slot = 0; slot < live.size(); ++slot) {
    if (!live[slot]) continue;
    Word* from = tables_.entries.at(slot);
    std::size_t offset = kNeeds.head;
    std::uint32_t previous = 0;
    for (;;) {
      const std::uint32_t link = get(from, offset);
      if (link == 0) break;
      if (link > seen.size() || seen[link - 1]) {
        set(from, offset, 0);
        break;
      }
      seen[link - 1] = true;
      Word* const record = tables_.dependencies.find(link);
      const std::uint32_t to = get(record, kNeeds.there);
      if (get(record, kNeeds.here) != slot || !is_live(to)) {
        set(from, offset, get(record, kNeeds.next));  // leave this one out
        continue;
      }
      in_use[link - 1] = true;
      Word* const used = tables_.entries.at(to);
      const std::uint32_t next_needed = get(used, kNeeded.head);
      set(record, kNeeds.previous, previous);
      set(record, kNeeded.previous, 0);
      set(record, kNeeded.next, next_needed);
      if (next_needed != 0) set(tables_.dependencies.find(next_needed), kNeeded.previous, link);
      set(used, kNeeded.head, link);
      previous = link;
      from = record;
      offset = kNeeds.next;
    }
  }
  pool_.reset(in_use);
}

}  // namespace resmgr::registry
