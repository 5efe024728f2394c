// SPDX-License-Identifier: Apache-2.0
//
// The lifecycle state of a resource as people know it, with Active and Locked.
//
// What it is: what the registry stores, and what the state word says, as one answer. What it is
// not: stored anywhere. Thread-safety: a pure function; what it is given may have moved on.
//
//   Lifecycle state = derived_lifecycle(entry, engine.word(slot), [&] { return has_holder(); });
#pragma once

#include <utility>

#include "resmgr/abi/layout.h"
#include "resmgr/base/types.hpp"
#include "resmgr/lock/word.hpp"
#include "resmgr/registry/entry.hpp"

namespace resmgr::client {

/// `is_held()`: whether anybody holds it; asked only where `word` does not say so itself.
template <typename IsHeld>
[[nodiscard]] Lifecycle derived_lifecycle(const registry::EntryCopy& entry, lock::StateWord word,
                                          IsHeld&& is_held) {
  if (entry.state != Lifecycle::Ready && entry.state != Lifecycle::Allocated) return entry.state;
  if (!word.is_tenant(entry.handle.generation())) return Lifecycle::Deallocated;
  if (word.has(RM_WORD_QUARANTINED)) return Lifecycle::Quarantined;
  if (word.owner() != 0) return Lifecycle::Locked;
  return std::forward<IsHeld>(is_held)() ? Lifecycle::Active : entry.state;
}

}  // namespace resmgr::client
