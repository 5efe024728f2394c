// SPDX-License-Identifier: Apache-2.0
//
// Waits: the nodes of the pool, each resource's queue and inbox, each context's list (I2 to I8).
#include <string>
#include <utility>
#include <vector>

#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/queue.hpp"
#include "tools/resmgrctl/examination.hpp"

namespace resmgrctl {
namespace {

using Life = Examination::Life;
using resmgr::load;
using resmgr::lock::StateWord;
using resmgr::lock::Waiter;

constexpr const char* kWake =
    "any acquisition of it that waits has its queue made anew; if this comes again, keep "
    "'resmgrctl snapshot FILE' for a report";
constexpr const char* kForeignHand =
    "some client wrote where it must not: keep 'resmgrctl snapshot FILE' for a report, and find "
    "which one";

class Queues {
 public:
  explicit Queues(Examination& ex)
      : ex_(ex),
        t_(ex.tables()),
        queue_of_(t_.node_count),
        inbox_of_(t_.node_count),
        listed_(t_.node_count) {}

  void check() {
    for (std::uint32_t index = 0; index < ex_.slot_end(); ++index) walk_slot(index);
    for (std::uint32_t id = 1; id <= used_contexts(t_); ++id) walk_context(id);
    for (std::uint32_t i = 0; i < used_nodes(t_); ++i) check_node(t_.nodes[i]);
  }

 private:
  void walk_slot(std::uint32_t index) {
    const rm_slot& slot = *t_.slot(index);
    const auto mark = [&](std::vector<std::uint32_t>& marks) {
      return
          [this, &marks, index](const rm_node& node) { marks[t_.link_of(&node) - 1] = index + 1; };
    };
    const Walk queue = walk_nodes(t_, load(slot.queue_head_link), &rm_node::next_link, ex_.budget(),
                                  mark(queue_of_));
    const Walk inbox =
        walk_nodes(t_, load(slot.inbox_link), &rm_node::next_link, ex_.budget(), mark(inbox_of_));
    if ((queue == Walk::Whole && inbox == Walk::Whole) || !Examination::is_settled(slot)) return;
    Evidence evidence;
    evidence.add(slot);
    ex_.add({.check = "queue-broken",
             .invariant = 2,
             .resource = ex_.name(index),
             .text = "has a queue that leads nowhere",
             .next_step = kForeignHand,
             .subject = index},
            evidence);
  }

  void walk_context(std::uint32_t id) {
    const rm_context& context = *t_.context(id);
    if (ex_.life(id) != Life::Live) return;
    const Walk walk = walk_nodes(t_, load(context.wait_link), &rm_node::context_next_link,
                                 ex_.budget(), [&](const rm_node& node) {
                                   if (load(node.context) == id)
                                     listed_[t_.link_of(&node) - 1] = true;
                                 });
    // Odd: its thread is changing the list, perhaps for long.
    if (walk == Walk::Whole || (load(context.waits_seq) & 1u) != 0) return;
    Evidence evidence;
    evidence.add_context(&context);
    ex_.add({.check = "wait-list-broken",
             .invariant = 8,
             .resource = ex_.who(id),
             .text = "has a list of waits that leads nowhere: deadlocks may go unseen",
             .next_step = kForeignHand,
             .subject = id},
            evidence);
  }

  void check_node(rm_node& node) {
    const std::uint32_t refs = load(node.refs);
    if (refs == 0) return;
    const std::uint16_t taker = resmgr::lock::taker_of(refs);
    check_taker(node, refs, taker);
    Waiter waiter;
    if (!resmgr::lock::read_waiter(t_, node, waiter)) return;
    Evidence evidence;
    evidence.add(node);
    if (waiter.context != taker || waiter.mode > RM_WAIT_UPGRADE ||
        t_.slot(waiter.slot) == nullptr) {
      add(node, "wait-damaged", 2, "wait " + std::to_string(link(node) - 1),
          "says of itself what can't be", kForeignHand, evidence);
      return;
    }
    evidence.add_context(t_.context(taker));
    if (ex_.life(taker) == Life::Dead) {
      add(node, "wait-of-dead", 4, ex_.name(waiter.slot),
          "is waited for by " + ex_.who(taker) + ", which is dead", kRecover, evidence);
    }
    if (ex_.life(taker) != Life::Live) return;
    const rm_context& context = *t_.context(taker);
    if ((load(context.waits_seq) & 1u) == 0 && !listed_[link(node) - 1]) {
      add(node, "wait-unseen", 8, ex_.name(waiter.slot),
          "is waited for by " + ex_.who(taker) +
              ", in whose list the wait is missing: deadlocks "
              "go unseen",
          kForeignHand, evidence);
    }
    check_wait(node, refs, waiter, evidence);
  }

  void check_taker(const rm_node& node, std::uint32_t refs, std::uint16_t taker) {
    Evidence evidence;
    evidence.add(node).add_context(t_.context(taker));
    if (taker != 0) {
      const Life life = ex_.life(taker);
      if (life == Life::Live || life == Life::Dead) return;
      add(node, "node-leaked", 5, "wait node " + std::to_string(link(node) - 1),
          "belongs to context " + std::to_string(taker) + ", which nobody has",
          "one wait fewer is to be had until resmgrd is started anew", evidence);
      return;
    }
    const rm_slot* const slot = t_.slot(load(node.slot));
    if ((refs & RM_NODE_REF_LINKED) == 0 || slot == nullptr || !Examination::is_settled(*slot)) {
      return;
    }
    const std::uint32_t mark = load(node.slot) + 1;
    if (queue_of_[link(node) - 1] == mark || inbox_of_[link(node) - 1] == mark) return;
    evidence.add(*slot);
    add(node, "node-lost", 5, "wait node " + std::to_string(link(node) - 1),
        "should be in the queue of " + ex_.name(load(node.slot)) + ", and is not",
        "one wait fewer is to be had until resmgrd is started anew", evidence);
  }

  // Of a wait of a living context, whose owner may be stopped anywhere. What is QUEUED was in the
  // hands of a latch holder; where there is none any more, he was done with it.
  void check_wait(const rm_node& node, std::uint32_t refs, const Waiter& waiter,
                  Evidence evidence) {
    const rm_slot& slot = *t_.slot(waiter.slot);
    const StateWord word{load(slot.word)};
    if ((refs & RM_NODE_REF_QUEUED) == 0 || !Examination::is_settled(slot)) return;
    evidence.add(slot);
    const std::string who = ex_.who(waiter.context);
    if (!word.is_tenant(waiter.generation)) {
      add(node, "wait-for-gone", 6, ex_.name(waiter.slot),
          "is waited for by " + who + ", though that resource is gone",
          "end or restart that client; keep 'resmgrctl snapshot FILE' for a report", evidence);
      return;
    }
    if (queue_of_[link(node) - 1] != waiter.slot + 1) {
      add(node, "waiter-lost", 6, ex_.name(waiter.slot),
          "has lost its waiter " + who + ": nobody will serve it", kWake, evidence);
      return;
    }
    if (word.owner() == 0 && !word.has_any(RM_WORD_SHARED | RM_WORD_QUARANTINED)) {
      add(node, "waiter-unserved", 6, ex_.name(waiter.slot),
          "is free, and " + who + " waits for it all the same", kWake, evidence);
    }
  }

  void add(const rm_node& node, const char* check, unsigned invariant, std::string resource,
           std::string text, const char* next_step, const Evidence& evidence) {
    ex_.add({.check = check,
             .invariant = invariant,
             .resource = std::move(resource),
             .text = std::move(text),
             .next_step = next_step,
             .subject = link(node)},
            evidence);
  }
  [[nodiscard]] std::uint32_t link(const rm_node& node) const noexcept { return t_.link_of(&node); }

  Examination& ex_;
  const resmgr::lock::LockTables& t_;
  /// Of each node: the slot in whose list it is, and one; 0: in none.
  std::vector<std::uint32_t> queue_of_;
  std::vector<std::uint32_t> inbox_of_;
  /// Whether its context's list has it.
  std::vector<bool> listed_;
};

}  // namespace

void check_queues(Examination& ex) { Queues(ex).check(); }

}  // namespace resmgrctl
