// SPDX-License-Identifier: Apache-2.0
//
// Which clients' processes are alive, as this process can see.
//
// What it is: a question to /proc, by pid and start time, for a pid alone is no identity. Pids in a
// lock region are those of the daemon's PID namespace: where they are not ours too, nothing is
// known. What it is not: the daemon's knowledge, which has pidfds. Thread-safety: pure functions.
//
//   Look::take(registry, locks, processes_seen_by(locks.tables(), my_client));
#pragma once

#include <cstdint>

#include "resmgr/lock/tables.hpp"
#include "tools/resmgrctl/look.hpp"

namespace resmgrctl {

/// `client` is the record of this process itself: if it has our pid, we see what the daemon sees.
[[nodiscard]] ProcessOf processes_seen_by(const resmgr::lock::LockTables& tables,
                                          std::uint32_t client);

}  // namespace resmgrctl
