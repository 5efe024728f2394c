// SPDX-License-Identifier: Apache-2.0
//
// Budgets: what drivers may have, and what they have.
//
// What it is: the rows of a domain's book that say anything, as a table or as JSON; and a new limit
// for one, which the daemon sets if who asks is an operator. What it is not: the rules of the
// configuration, which stay; see resmgrd.toml(5). Lifetime and thread-safety: functions.
//
//   std::string text = show_budgets(*look, options);
#pragma once

#include <string>

#include "tools/resmgrctl/failure.hpp"
#include "tools/resmgrctl/look.hpp"
#include "tools/resmgrctl/operate.hpp"
#include "tools/resmgrctl/options.hpp"

namespace resmgrctl {

/// Those with a limit, or that something is used of; of the driver alone, where one is named.
/// Failures name the next step.
[[nodiscard]] Outcome<std::string> show_budgets(const Look& look, const Options& options);

/// REQUIRES: a source that is no snapshot. Failures name the next step.
[[nodiscard]] Outcome<Operation> set_budget(Source& source, const Options& options);

}  // namespace resmgrctl
