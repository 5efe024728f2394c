// SPDX-License-Identifier: Apache-2.0
//
// WaitOracle: who holds and who waits, as it follows from the history of calls and outcomes.
//
// What it is: a slow and obvious model of a domain, with sets instead of words, cells and queues:
// it says who must be granted, who is in whose way, and which cycles there are. What it is not: a
// client of the engine; only the ranks that loans raised are told to it. Lifetime and
// thread-safety: a plain value.
//
//   WaitOracle oracle(contexts, resources);
//   oracle.enqueue(0, {.resource = 3, .mode = RM_WAIT_EXCLUSIVE});
//   for (int granted : oracle.grant(3)) ...
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "resmgr/abi/layout.h"
#include "resmgr/base/types.hpp"
#include "resmgr/lock/queue.hpp"

namespace resmgr::lock::test {

struct Wish {
  int resource = 0;
  std::uint8_t mode = RM_WAIT_EXCLUSIVE;
  std::uint16_t asked = 0;  ///< the rank asked for
  bool emergency = false;
  QueueRank rank{};  ///< the rank in the queue; the ticket is given by enqueue()
};

class WaitOracle {
 public:
  WaitOracle(int contexts, int resources)
      : waits_(static_cast<std::size_t>(contexts)), holds_(static_cast<std::size_t>(resources)) {}

  void enqueue(int context, Wish wish);
  void withdraw(int context) { waits_.at(static_cast<std::size_t>(context)).reset(); }
  void release(int context, int resource);
  void downgrade(int context, int resource);
  /// Serves the resource's queue; returns who got it, in order.
  std::vector<int> grant(int resource);

  [[nodiscard]] std::optional<HoldKind> held(int context, int resource) const;
  [[nodiscard]] const std::optional<Wish>& wish(int context) const {
    return waits_.at(static_cast<std::size_t>(context));
  }
  void set_priority(int context, std::uint16_t priority);
  /// The best rank of those who wait for something `context` holds.
  [[nodiscard]] std::uint16_t inherited(int context) const;

  /// Everyone who keeps this waiter from being granted.
  [[nodiscard]] std::vector<int> blockers(int context) const;
  /// All elementary cycles through `context`, each starting with it.
  [[nodiscard]] std::vector<std::vector<int>> cycles_through(int context) const;
  [[nodiscard]] bool has_cycle() const;
  /// The member that the rule names.
  [[nodiscard]] int victim_of(const std::vector<int>& cycle) const;

 private:
  [[nodiscard]] bool grantable(int context) const;
  void extend(std::vector<int>& path, std::vector<std::vector<int>>& found) const;

  std::vector<std::optional<Wish>> waits_;
  std::vector<std::map<int, HoldKind>> holds_;
  std::uint64_t tickets_ = 0;
};

}  // namespace resmgr::lock::test
