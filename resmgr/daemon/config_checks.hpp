// SPDX-License-Identifier: Apache-2.0
//
// Checks of a configuration: values that are fine by themselves and contradict each other.
//
// What it is: what the table of keys can't say. A default contradicts nothing, so that a file needs
// to change only what it is about; a bound that is set too high and left alone does no harm. What
// it is not: a correction; what is wrong is reported and stays. Lifetime: borrows for the call.
// Thread-safety: pure functions.
//
//   check_config(config, given, mistakes);
#pragma once

#include <vector>

#include "resmgr/daemon/config.hpp"
#include "resmgr/daemon/config_reader.hpp"
#include "resmgr/daemon/mistakes.hpp"

namespace resmgr::daemon {

/// What the file says of each section; of rules one entry each, as in Config.
struct GivenConfig {
  Given domain;
  Given socket;
  Given limits;
  Given grace;
  Given operators;
  Given log;
  std::vector<Given> attach;
  std::vector<Given> drivers;
  std::vector<Given> budgets;
};

void check_config(const Config& config, const GivenConfig& given, Mistakes& mistakes);

}  // namespace resmgr::daemon
