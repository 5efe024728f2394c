// SPDX-License-Identifier: Apache-2.0
//
// random_id: a number that nobody else has.
//
// What it is: 64 bits from the kernel, to tell domains apart. What it is not: a secret; early in
// boot, without entropy, it is the time. Thread-safety: any thread.
//
//   RegionIdentity identity{.domain_id = random_id()};
#pragma once

#include <cstdint>

namespace resmgr {

[[nodiscard]] std::uint64_t random_id() noexcept;

}  // namespace resmgr
