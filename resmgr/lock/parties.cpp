// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/parties.hpp"

#include <unordered_map>

#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/queue.hpp"
#include "resmgr/lock/word.hpp"

namespace resmgr::lock {

std::vector<Party> parties_of(const LockTables& tables, std::span<const Handle> handles) {
  std::vector<Party> parties;
  std::unordered_map<std::uint32_t, Handle> by_slot;
  const auto note = [&](Handle handle, std::uint16_t context) {
    const rm_context* const record = tables.context(context);
    if (!record) return;
    const std::uint64_t state = load(record->state);
    if ((state & RM_CONTEXT_STATE_MASK) != RM_CONTEXT_LIVE) return;
    parties.push_back({handle, client_of(state)});
  };
  const auto note_at = [&](std::uint32_t slot, std::uint32_t generation, std::uint16_t context) {
    const auto found = by_slot.find(slot);
    if (found == by_slot.end() || found->second.generation() != generation) return;
    note(found->second, context);
  };
  for (const Handle handle : handles) {
    const rm_slot* const slot = tables.slot(handle.slot());
    if (!slot) continue;
    by_slot[handle.slot()] = handle;
    const StateWord word{load(slot->word)};
    if (word.is_tenant(handle.generation()) && word.owner() != 0) note(handle, word.owner());
  }
  const std::uint32_t nodes = NodePool(tables).bits().high_water();
  for (std::uint32_t i = 0; i < nodes; ++i) {
    Waiter waiter;
    if (!read_waiter(tables, tables.nodes[i], waiter)) continue;
    note_at(waiter.slot, waiter.generation, waiter.context);
  }
  const std::uint32_t cells = CellPool(tables).bits().high_water();
  for (std::uint32_t i = 0; i < cells; ++i) {
    const CellWord word{load(tables.cells[i].word)};
    if (word.state() != RM_CELL_HELD) continue;
    note_at(load(tables.cells[i].slot), word.generation(), word.context());
  }
  return parties;
}

}  // namespace resmgr::lock
