// SPDX-License-Identifier: Apache-2.0
//
// Recovery: gives back what the dead left in the lock region.
//
// What it is: the one recoverer of a domain, R1 to R5 of the protocol. A client's contexts are
// marked DEAD first (I4); then its waits are cancelled, its holds end (an exclusive one leaves
// INCONSISTENT behind), latches it had are taken over and what it was in the middle of is completed
// or undone (I3), whoever may now be served is, and nodes, cells and ids go back (I5). What it is
// not: a detector; who is dead is the caller's knowledge, from a pidfd, never from the region.
//
// Everything is done so that it may be done again: killed anywhere, the recoverer's successor
// starts from the beginning, and takes latches of its predecessor for those of the dead. What a
// living context is about to do to a slot is left to it: then something stays pending, and run() is
// to be called again. It follows no index that it has not checked. What one run does is bounded by
// the tables and by sorting them, whatever a hostile peer has written: nodes are sorted to their
// slots once, a queue is made anew from them when its slot is looked at for the first time, and
// what belongs to one slot is done together.
//
// Lifetime: borrows the engine; takes all its memory at once. Thread-safety: one recoverer at a
// time, one thread.
//
//   Recovery recovery(engine);
//   recovery.mark_dead(client);
//   while (recovery.run(slots).pending != 0) wait_a_little();
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "resmgr/base/bit_table.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/node_index.hpp"
#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {

class Recovery {
 public:
  /// What one run did.
  struct Report {
    std::uint32_t waits_cancelled = 0;
    std::uint32_t latches_taken_over = 0;
    std::uint32_t contexts_freed = 0;
    std::uint32_t pending = 0;  ///< dead contexts that something living still has to let go of
  };

  /// What was wrong with one resource and is not any more; nothing: it was sound.
  struct Mended {
    bool latch = false;  ///< was with somebody who would never give it up
    bool queue = false;  ///< was not that of those who wait
    bool offer = false;  ///< a grant that nobody completed
    bool hold = false;   ///< of the dead, or of nobody
    bool wait = false;   ///< of the dead
    bool flags = false;  ///< of the word: they contradicted the queue
    /// Who has the latch, and lives: nothing was done, but he is told to look for more to do.
    std::uint16_t left_to = 0;

    [[nodiscard]] bool any() const noexcept {
      return latch || queue || offer || hold || wait || flags;
    }
  };

  /// May throw std::bad_alloc.
  explicit Recovery(LockEngine& engine);

  /// R1. Marks all contexts of the client; from here on nothing is granted to them and left there.
  /// Returns how many there are.
  std::uint32_t mark_dead(std::uint32_t client) noexcept;
  /// R2 to R5, for all that are marked. `slots`: how many slots of the table were ever used, of
  /// which the registry knows.
  [[nodiscard]] Report run(std::uint32_t slots) noexcept;
  /// The slots that were quarantined when the last run had done all that it did, whoever closed
  /// them: what it left to the living is in the list of a later one.
  [[nodiscard]] std::span<const std::uint32_t> quarantined() const noexcept { return quarantined_; }

  /// Closes the slot of a resource whose owner is dead and won't be replaced: waiters get OwnerDied
  /// at once; the slot is closed if nobody holds it. Returns whether it is; if not, to be called
  /// again. REQUIRES: the caller is the authority.
  /// `outcome`: another one for them.
  [[nodiscard]] bool remove(Handle handle, std::uint8_t outcome = RM_NODE_OWNER_DIED) noexcept;

  /// Goes on where an authority died that retired this handle; returns whether it had begun, in
  /// which case the slot is empty now. REQUIRES: the caller is its successor.
  bool complete_retirement(Handle handle) noexcept;

  /// Q2. The hardware behind it is quiet, or somebody says so: whoever waits for it is served.
  /// False if it was not quarantined. REQUIRES: the caller is the authority.
  bool lift_quarantine(Handle handle) noexcept;
  /// Q3. It can't be made quiet: who waits for it, or wants it, gets Quarantined, until its
  /// quarantine is lifted. REQUIRES: as before.
  void poison(Handle handle) noexcept;
  /// Q4. Nobody gets it any more, though nobody died: the same as if it were quarantined and
  /// poisoned. Who has it goes on. REQUIRES: as before.
  void bar(Handle handle) noexcept;

  /// R3 for one resource, whether or not somebody died: takes its latch, unless somebody living has
  /// it, puts right what is damaged, and serves who waits. May throw std::bad_alloc. REQUIRES: as
  /// before.
  Mended mend(Handle handle);

 private:
  enum class Visit {
    Served,   ///< the latch was ours for a while: all that was asked for is done
    LeftTo,   ///< a living latch holder has it, and was told
    NoTenant  ///< no resource there
  };
  void cancel_waits(Report& report) noexcept;
  void serve_the_waiting(Report& report) noexcept;
  /// Serves the slot. `ended`, `begun`: flags that its word loses, or gets, in the same step.
  Visit visit(std::uint32_t slot, Report& report, std::uint32_t ended = 0,
              std::uint32_t begun = 0) noexcept;
  /// The same, but for all of a step's wishes once.
  Visit visit_once(std::uint32_t slot, Report& report) noexcept;
  void begin_step() noexcept;
  void shut(Handle handle, std::uint32_t gate) noexcept;
  [[nodiscard]] bool concerns_us(const rm_slot& slot) const noexcept;
  void repair(rm_slot& slot, std::uint32_t index, std::uint32_t generation) noexcept;
  [[nodiscard]] bool is_damaged(const rm_slot& slot, std::uint32_t index,
                                std::uint32_t generation) const;
  bool end_holds_of_nobody(rm_slot& slot, std::uint32_t generation) noexcept;
  bool end_waits_of_the_dead(std::uint32_t index) noexcept;
  void settle_offer(rm_slot& slot, std::uint32_t index, std::uint32_t generation) noexcept;
  void settle_shares(rm_slot& slot, std::uint32_t index, std::uint32_t generation) noexcept;
  void take_nodes_back(Report& report) noexcept;
  /// Whether the word, or his cell, still says so.
  [[nodiscard]] bool is_granted(const rm_node& node, std::uint16_t taker) const noexcept;
  void take_cells_back(Report& report) noexcept;
  void wake_the_decided() noexcept;
  void free_contexts(std::uint32_t slots, Report& report) noexcept;

  /// A request of this context for the slot, WAITING or GRANTED, in one of these modes.
  struct Request {
    rm_node* node = nullptr;
    NodeWord word;
  };
  [[nodiscard]] Request find_request(std::uint16_t context, std::uint32_t slot,
                                     std::uint32_t generation, bool shared) const noexcept;
  void rebuild_queue(rm_slot& slot, std::uint32_t index, std::uint32_t generation) noexcept;
  template <typename Entry>
  void mark_list(std::uint32_t index, std::uint32_t link,
                 Entry* (LockTables::*entry)(std::uint32_t) const noexcept) noexcept;
  /// Its holder will never unlatch: dead, the recoverer before us, or no context at all.
  [[nodiscard]] bool is_abandoned(std::uint16_t latch) const noexcept;
  template <typename Visitor>
  void for_each_dead(Visitor&& visitor) const noexcept;

  LockEngine& engine_;
  const LockTables& t_;
  NodePool nodes_;
  CellPool cells_;
  Context self_;  ///< the authority's: an id for latches, and nothing else
  std::vector<std::uint32_t> quarantined_;
  // Of the run that is under way.
  std::uint32_t slots_ = 0;  ///< that were ever used; 0: none is
  NodeIndex index_;
  std::vector<WaitQueue::Ranked> room_;
  BitTable sorted_;   ///< slots whose queue was made anew
  BitTable visited_;  ///< slots, in the step that is under way
  BitTable left_;     ///< those of them that a living latch holder has
  BitTable marked_;   ///< slots of which it is known what is in their list
  BitTable listed_;   ///< nodes, then cells, that are in the list of a slot
};

}  // namespace resmgr::lock
