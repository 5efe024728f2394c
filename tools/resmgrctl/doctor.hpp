// SPDX-License-Identifier: Apache-2.0
//
// Doctor: which of a domain's invariants (I1 to I11 of resmgr/lock/engine.hpp and beyond) don't
// hold, as far as that shows from outside.
//
// What it is: a list of checks on one look, and the rule that makes their results findings: a
// domain lives, so what a check finds counts only if it finds the same thing in a later look, and
// nothing that it looked at was touched in between, by the words' own counters and sequence
// numbers; what is left is looked at a third time, after longer. A process that is stopped in the
// middle of a slow path is no finding: every state that it may leave for as long as it likes is a
// sound one. Nothing is changed, and no index is followed that was not checked. What it is not: a
// proof; what can't be told from outside, such as whether a quiet node is some context's spare, is
// not looked at.
//
// Lifetime and thread-safety: plain values and functions.
//
//   auto diagnosis = diagnose(*source, std::chrono::milliseconds(100));
//   for (const Finding& finding : diagnosis->findings) print(finding.text);
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/resmgrctl/failure.hpp"
#include "tools/resmgrctl/look.hpp"
#include "tools/resmgrctl/source.hpp"

namespace resmgrctl {

struct Finding {
  std::string check = {};      ///< its name, as in the manual: "latch-abandoned"
  unsigned invariant = 0;      ///< of I1 to I11; 0: none of them
  bool note = false;           ///< nothing is wrong, but an operator wants to know
  std::string resource = {};   ///< its name, or what else it is about
  std::string text = {};       ///< what is wrong, one line
  std::string next_step = {};  ///< what to do about it
  std::uint64_t subject = 0;   ///< which one of its check's: slot, node, cell, context, client
  std::uint64_t evidence = 0;  ///< a hash of all that was looked at, counters among it
};

struct Diagnosis {
  std::vector<Finding> findings = {};
  std::vector<Finding> notes = {};
  std::vector<std::string> untold = {};  ///< what could not be checked, and why
  unsigned looks = 0;
  std::uint32_t resources = 0;
};

/// What one look shows; not yet findings.
[[nodiscard]] std::vector<Finding> examine(const Look& look);
/// Those of `first` that `second` has with the same evidence.
[[nodiscard]] std::vector<Finding> confirmed(const std::vector<Finding>& first,
                                             const std::vector<Finding>& second);

/// As many looks as it takes: one where nothing is suspicious. Notes may be of one look.
[[nodiscard]] Outcome<Diagnosis> diagnose(Source& source, std::chrono::milliseconds between);

}  // namespace resmgrctl
