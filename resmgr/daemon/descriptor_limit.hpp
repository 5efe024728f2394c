// SPDX-License-Identifier: Apache-2.0
//
// How many descriptors the daemon may have, and how many it has promised.
//
// What it is: each client's connection and pidfd, and the files behind its resources, against what
// the system lets a process have. What it is not: a bound; [limits] has those. Thread-safety: pure
// functions, but for raise_descriptor_limit(), which is for the start of a process.
//
//   const auto limit = raise_descriptor_limit();
//   if (limit) report(descriptor_warning(config, *limit));
#pragma once

#include <cstdint>
#include <string>

#include "resmgr/base/error.hpp"
#include "resmgr/daemon/config.hpp"

namespace resmgr::daemon {

/// Raises RLIMIT_NOFILE as far as is allowed, for this process and its children; returns where it
/// is. Errors: System.
[[nodiscard]] Result<std::uint64_t> raise_descriptor_limit() noexcept;

/// With as many clients as there is room for, each of which has what [limits] lets it have.
[[nodiscard]] std::uint64_t promised_descriptors(const Config& config) noexcept;

/// One line for the operator; empty if the limit is high enough.
[[nodiscard]] std::string descriptor_warning(const Config& config, std::uint64_t limit);

}  // namespace resmgr::daemon
