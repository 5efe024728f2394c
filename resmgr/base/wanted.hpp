// SPDX-License-Identifier: Apache-2.0
//
// Wanted: one of several resources to be acquired at once.
//
// What it is: a resource, and how it is to be held. What it is not: a hold. Lifetime and
// thread-safety: a value.
//
//   manager.acquire_all({frame, {timer, HoldKind::Shared}});
#pragma once

#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr {

struct Wanted {
  Handle handle = {};
  HoldKind kind = HoldKind::Exclusive;

  constexpr Wanted() noexcept = default;
  // NOLINTNEXTLINE(google-explicit-constructor): a list of handles is a list of what is wanted
  constexpr Wanted(Handle wanted, HoldKind how = HoldKind::Exclusive) noexcept
      : handle(wanted), kind(how) {}
};

}  // namespace resmgr
