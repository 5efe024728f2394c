// SPDX-License-Identifier: Apache-2.0
//
// The check of a configuration file before resmgrd gets it.
//
// What it is: resmgrd's own reader, and its mistakes as FILE:LINE:COLUMN: reason. What it is not: a
// look at a running daemon. Lifetime and thread-safety: plain values.
//
//   auto checked = check_policy("/etc/resmgr/resmgrd.toml", json);
#pragma once

#include <string>

#include "tools/resmgrctl/failure.hpp"

namespace resmgrctl {

struct PolicyCheck {
  std::string text;  ///< what is to be shown
  bool is_good = false;
};

[[nodiscard]] Outcome<PolicyCheck> check_policy(const std::string& path, bool json);

}  // namespace resmgrctl
