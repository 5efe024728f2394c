// SPDX-License-Identifier: Apache-2.0
//
// Versions of what participants agree on: the layout of regions, the frames of the wire.
//
// What it is: the two numbers, and the error that names ours and theirs. What it is not: the
// release of the library. Lifetime and thread-safety: plain values.
//
//   return std::unexpected(version_mismatch("attach", "the region has layout", theirs, ours));
#pragma once

#include "resmgr/base/error.hpp"

namespace resmgr {

/// Mixed minors work together, other majors are refused.
struct Version {
  unsigned major_number = 0;
  unsigned minor_number = 0;
};

/// A VersionMismatch: `context` says what was tried, `what` who or what has the other version.
[[nodiscard]] Error version_mismatch(const char* context, const char* what, Version theirs,
                                     Version ours);

}  // namespace resmgr
