// SPDX-License-Identifier: Apache-2.0
//
// The fast path as callers of the engine use it: first the short way, then what it owes.
//
// What it is: take_fast() and give_fast(), which do what the library's hot functions do. What they
// are not: the slow path; false means that it is to be asked. Thread-safety: as FastPath.
//
//   make_plain(domain.engine, me);   // without a tick the fast path does nothing
//   if (!take_fast(engine, me, handle, HoldKind::Shared)) ...
#pragma once

#include <source_location>

#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/fast_path.hpp"

namespace resmgr::lock::test {

/// Sets a tick, of which the context has timed its hold already: its next ones are plain.
inline void make_plain(LockEngine& engine, Context& context) {
  engine.tick().set(Clock::stamp(Clock::now()));
  context.timed_at = engine.tick().ns();
}

[[nodiscard]] inline bool take_fast(LockEngine& engine, Context& context, Handle handle,
                                    HoldKind kind,
                                    std::source_location place = std::source_location::current()) {
  std::uint8_t tenure = 0;
  const auto outcome = kind == HoldKind::Exclusive
                           ? FastPath::try_exclusive(context, handle, place, tenure)
                           : FastPath::try_shared(context, handle, place, tenure);
  if (outcome == FastPath::Outcome::Owing) engine.take_false_hold_back(context, handle);
  return outcome == FastPath::Outcome::Done;
}

/// `handle` with the hold's tenure.
[[nodiscard]] inline bool give_fast(LockEngine& engine, Context& context, Handle handle,
                                    HoldKind kind) {
  const auto outcome = kind == HoldKind::Exclusive
                           ? FastPath::try_release_exclusive(context, handle)
                           : FastPath::try_release_shared(context, handle);
  if (outcome == FastPath::Outcome::Owing) engine.finish_release_shared(context, handle);
  return outcome != FastPath::Outcome::NotMine;
}

}  // namespace resmgr::lock::test
