// SPDX-License-Identifier: Apache-2.0
//
// Fence: takes a resource from those who hold it and live, for an Emergency request.
//
// What it is: three steps of one who speaks for the owner of the registry. close() shuts the gate,
// so that nobody gets the resource while its hardware is made quiet; end_holds() ends what is held,
// under the latch; open() lets whoever waits in. What it is not: a decision; who may be fenced, and
// that the hardware is quiet, is the caller's knowledge (emergencies.hpp).
//
// What a fence leaves behind:
//   - REVOKED in the word until the slot has another tenant. So the fast path, which expects a word
//     without flags, succeeds only where nobody was ever fenced, and the tenure it read is 0.
//   - A tenure that is one higher. It never comes round: who was fenced 255 times before is not
//     fenced again. So an old handle never acts on a later hold (I10).
//   - INCONSISTENT, where an exclusive holder was cut off in the middle of his work.
//   - An entry in the list of holds of each who was fenced. Until he lets go of what he has no more
//     his context acquires nothing of this resource: so a release of his that was under way finds
//     no later hold of the same context under an equal word (I10). Holds that are in no list are
//     not fenced, for that reason.
// A grant that nobody took yet is taken back by a swap of its node, as from the dead: its waiter
// gets Preempted.
//
// Killed anywhere, who has the latch leaves RM_SLOT_ATTR_FENCING, and whoever takes the latch over
// completes it (I3): nobody can begin a hold before that. In the model: tests/model/fence.pml.
//
// Lifetime: borrows the engine. Thread-safety: one thread at a time.
//
//   Fence fence(engine);
//   if (fence.close(handle)) { make_quiet(); fence.end_holds(handle, ended); fence.open(handle); }
#pragma once

#include <cstdint>
#include <vector>

#include "resmgr/lock/engine.hpp"

namespace resmgr::lock {

class Fence {
 public:
  enum class Outcome : std::uint8_t {
    Done,
    NotNeeded,   ///< nobody is in the way of an Emergency request, or none waits any more
    LatchTaken,  ///< by somebody who lives: to be tried again
    Unlisted,    ///< a holder has more holds than his list has room for
    UsedUp,      ///< this resource was taken from its holders 255 times
  };

  explicit Fence(LockEngine& engine) noexcept;

  /// From here on nobody gets it who has it not, or was not offered it. False if that was so
  /// already, whoever closed it, or there is no such resource.
  [[nodiscard]] bool close(Handle handle) noexcept;
  /// Whoever waits is served. REQUIRES: who closed the gate wants it open.
  void open(Handle handle) noexcept;
  /// Ends the holds that are in the way of the Emergency request that is served first. `ended`: by
  /// whom it was held, as far as there is room in it. REQUIRES: the gate is closed, and the
  /// hardware behind it quiet.
  [[nodiscard]] Outcome end_holds(Handle handle, std::vector<Participant>& ended) noexcept;
  /// Goes on where another one died. REQUIRES: the latch.
  void complete(rm_slot& slot, Handle handle) noexcept;
  /// Whether there is something to go on with.
  [[nodiscard]] static bool was_begun(const rm_slot& slot) noexcept {
    return (load(slot.attributes) & RM_SLOT_ATTR_FENCING) != 0;
  }

 private:
  void knock(Handle handle, std::uint32_t begun, std::uint32_t ended) noexcept;
  [[nodiscard]] Outcome check(rm_slot& slot, Handle handle) const noexcept;
  [[nodiscard]] bool may_end(const rm_slot& slot, Handle handle,
                             std::uint16_t context) const noexcept;
  [[nodiscard]] bool is_granted(rm_node& node, Handle handle, std::uint64_t& word) const noexcept;
  [[nodiscard]] bool is_untaken(Handle handle, std::uint16_t context) const noexcept;
  bool take_grants_back(Handle handle) noexcept;

  LockEngine& engine_;
  const LockTables& t_;
  CellPool cells_;
  Context self_;  ///< the authority's: an id for latches, and nothing else
};

}  // namespace resmgr::lock
