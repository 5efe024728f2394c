// SPDX-License-Identifier: Apache-2.0
//
// Operations: the verbs that change something.
//
// What it is: each one a request to the domain's daemon, which decides whether who asks is an
// operator, and writes down what it did. What it is not: a hand in the domain's memory; see
// source.hpp. Lifetime and thread-safety: functions.
//
//   auto done = operate(**source, options);
#pragma once

#include <string>

#include "tools/resmgrctl/failure.hpp"
#include "tools/resmgrctl/options.hpp"
#include "tools/resmgrctl/picture.hpp"
#include "tools/resmgrctl/source.hpp"

namespace resmgrctl {

struct Operation {
  std::string text;      ///< what was done, to be shown
  bool is_whole = true;  ///< false: of a drain whose time is up, and somebody holds still
};

/// Does what the verb says. Failures name the next step. REQUIRES:
/// is_operation(options.verb), and a source that is no snapshot.
[[nodiscard]] Outcome<Operation> operate(Source& source, const Options& options);

/// Never null. A failure names the next step.
[[nodiscard]] Outcome<const Resource*> resource_named(const std::string& name,
                                                      const Picture& picture);

}  // namespace resmgrctl
