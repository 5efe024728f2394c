// SPDX-License-Identifier: Apache-2.0
//
// LockTables: the tables of a mapped lock region, with every index checked before it is followed.
//
// What it is: a non-owning view, cheap to copy. What it is not: the mapping; see lock/region.hpp.
// Any peer may have written anything into the region: the accessors return null for an index
// outside its table, and callers treat that as "not there". Lifetime: that of the mapping.
// Thread-safety: the view is constant.
#pragma once

#include <cstdint>

#include "resmgr/abi/budget_layout.h"
#include "resmgr/abi/layout.h"
#include "resmgr/abi/wait_layout.h"
#include "resmgr/base/atomic.hpp"

namespace resmgr::lock {

/// The client that a context's state names.
[[nodiscard]] constexpr std::uint32_t client_of(std::uint64_t context_state) noexcept {
  return static_cast<std::uint16_t>(context_state >> RM_CONTEXT_CLIENT_SHIFT);
}

struct LockTables {
  rm_lock_region* region = nullptr;
  rm_slot* slots = nullptr;
  rm_node* nodes = nullptr;
  rm_cell* cells = nullptr;
  rm_context* contexts = nullptr;
  rm_client* clients = nullptr;
  rm_trace_record* trace = nullptr;
  std::uint64_t* order_bits = nullptr;
  rm_order_edge* order_edges = nullptr;
  std::uint64_t* nodes_taken = nullptr;
  std::uint64_t* cells_taken = nullptr;
  std::uint64_t* nodes_ready = nullptr;
  std::uint64_t* meters = nullptr;
  rm_credits* credits = nullptr;
  rm_wait_row* wait_rows = nullptr;
  rm_slot_waits* slot_waits = nullptr;
  std::uint32_t slot_count = 0;
  std::uint32_t node_count = 0;
  std::uint32_t cell_count = 0;
  std::uint32_t context_count = 0;  ///< ids are 1 to context_count
  std::uint32_t client_count = 0;
  std::uint32_t credit_count = 0;
  std::uint32_t wait_row_count = 0;

  [[nodiscard]] rm_slot* slot(std::uint32_t index) const noexcept {
    return index < slot_count ? slots + index : nullptr;
  }
  /// A link is index + 1; 0 is none.
  [[nodiscard]] rm_node* node(std::uint32_t link) const noexcept {
    return link - 1 < node_count ? nodes + (link - 1) : nullptr;
  }
  [[nodiscard]] rm_cell* cell(std::uint32_t link) const noexcept {
    return link - 1 < cell_count ? cells + (link - 1) : nullptr;
  }
  [[nodiscard]] rm_context* context(std::uint32_t id) const noexcept {
    return id - 1 < context_count ? contexts + (id - 1) : nullptr;
  }
  [[nodiscard]] rm_client* client(std::uint32_t index) const noexcept {
    return index < client_count ? clients + index : nullptr;
  }
  [[nodiscard]] rm_wait_row* wait_row(std::uint32_t number) const noexcept {
    return number < wait_row_count ? wait_rows + number : nullptr;
  }
  [[nodiscard]] rm_slot_waits* waits_of_slot(std::uint32_t index) const noexcept {
    return index < slot_count ? slot_waits + index : nullptr;
  }
  [[nodiscard]] std::uint32_t index_of(const rm_slot* slot) const noexcept {
    return static_cast<std::uint32_t>(slot - slots);
  }
  [[nodiscard]] std::uint32_t link_of(const rm_node* node) const noexcept {
    return static_cast<std::uint32_t>(node - nodes) + 1;
  }
  [[nodiscard]] std::uint32_t link_of(const rm_cell* cell) const noexcept {
    return static_cast<std::uint32_t>(cell - cells) + 1;
  }
  /// Whether the context with this id was marked DEAD.
  [[nodiscard]] bool is_dead(std::uint32_t id) const noexcept {
    const rm_context* record = context(id);
    return record && (load(record->state) & RM_CONTEXT_STATE_MASK) == RM_CONTEXT_DEAD;
  }
};

}  // namespace resmgr::lock
