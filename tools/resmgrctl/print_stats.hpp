// SPDX-License-Identifier: Apache-2.0
//
// What stats, bottlenecks and health show of a look.
//
// What it is: tables for people, or JSON. What it is not: printing; main() does that. Lifetime and
// thread-safety: pure functions.
//
//   Shown health = show_health(look, source.origin(), options);
#pragma once

#include <string>

#include "tools/resmgrctl/failure.hpp"
#include "tools/resmgrctl/look.hpp"
#include "tools/resmgrctl/options.hpp"
#include "tools/resmgrctl/snapshot.hpp"

namespace resmgrctl {

/// A text, and the status to end with.
struct Shown {
  std::string text;
  int status = 0;
};

/// Types that there were resources of, and the drivers that owned them; see Options::filter. Fails
/// where no driver has the name that is asked for.
[[nodiscard]] Outcome<Shown> show_stats(const Look& look, const Options& options);
[[nodiscard]] Shown show_bottlenecks(const Look& look, const Options& options);
/// kFound if it is degraded, kCritical if it is critical.
[[nodiscard]] Shown show_health(const Look& look, const Options& options);

}  // namespace resmgrctl
