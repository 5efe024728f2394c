// SPDX-License-Identifier: Apache-2.0
//
// WaitLedger: what became of requests, and what waiting has cost.
//
// What it is: additions to the rows of type and driver and to the records of resources in the lock
// region (resmgr/abi/wait_layout.h), made where a request waited or failed anyhow; nothing is
// counted, and nothing of it read, where a resource is free. And how to read them. What it is not:
// believed: every client may write there.
//
// Lifetime: borrows tables and names. Thread-safety: any thread; additions are relaxed.
//
//   Account account = ledger.open(handle, slot);     // when it begins to wait
//   ledger.granted(account, handle, waited_ns);      // when it has what it waited for
#pragma once

#include <array>
#include <cstdint>

#include "resmgr/abi/wait_buckets.hpp"
#include "resmgr/abi/wait_layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/lock/names.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {

/// Where a wait will be counted, and who held the resource when it began.
struct Account {
  std::uint32_t row = Names::kNoRow;
  std::uint32_t blamed_driver = 0;
  std::uint32_t blamed_pid = 0;
};

/// A copy of a row.
struct WaitTotals {
  std::uint64_t granted_ns = 0;
  std::uint64_t failed_ns = 0;
  std::uint64_t longest_ns = 0;
  std::uint64_t retired = 0;  ///< acquisitions of what is unregistered by now
  std::array<std::uint64_t, RM_OUTCOMES> outcomes{};
  WaitBuckets buckets{};

  /// Waits that ended in a grant.
  [[nodiscard]] std::uint64_t granted() const noexcept;
  /// Requests that were not granted.
  [[nodiscard]] std::uint64_t failed() const noexcept;
  /// What `thousandths` of the granted waits did not exceed; see percentile(). Never above the
  /// longest of all.
  [[nodiscard]] std::uint64_t percentile_ns(std::uint32_t thousandths) const noexcept;
  WaitTotals& operator+=(const WaitTotals& other) noexcept;
};

/// A copy of a resource's record.
struct SlotWaits {
  std::uint32_t waits = 0;  ///< that ended, however
  std::uint64_t waited_ns = 0;
  std::uint64_t longest_ns = 0;
  std::uint32_t blamed_driver = 0;  ///< who held it when the longest began; 0: not known
  std::uint32_t blamed_pid = 0;
};

/// A row; nothing if there is none of that number. Reading one that nobody ever added to gives it
/// memory, a page for each three.
[[nodiscard]] WaitTotals read_wait_row(const LockTables& tables, std::uint32_t row) noexcept;
/// What waiting for a resource has cost; nothing if that is another one's record.
[[nodiscard]] SlotWaits read_slot_waits(const LockTables& tables, Handle handle) noexcept;

/// How a failure is counted.
[[nodiscard]] rm_outcome outcome_of(ErrorCode code) noexcept;

class WaitLedger {
 public:
  WaitLedger(const LockTables& tables, const Names& names) noexcept : t_(tables), names_(names) {}

  [[nodiscard]] Account open(Handle handle, const rm_slot& slot) const noexcept;
  void granted(const Account& account, Handle handle, std::uint64_t waited_ns) const noexcept;
  void failed(const Account& account, Handle handle, ErrorCode code,
              std::uint64_t waited_ns) const noexcept;
  /// At once, without a wait.
  void refused(Handle handle, ErrorCode code) const noexcept;
  /// A resource goes, that was acquired so often.
  void retired(Handle handle, std::uint64_t acquisitions) const noexcept;

 private:
  [[nodiscard]] rm_wait_row* row(std::uint32_t number) const noexcept {
    return t_.wait_row(number);
  }
  void add_to_slot(const Account& account, Handle handle, std::uint64_t waited_ns) const noexcept;

  const LockTables& t_;
  const Names& names_;
};

}  // namespace resmgr::lock
