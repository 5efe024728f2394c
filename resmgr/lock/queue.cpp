// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/queue.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "resmgr/base/spin.hpp"
#include "resmgr/lock/planted_bug.hpp"

namespace resmgr::lock {
namespace {

bool goes_first(const QueueRank& one, const QueueRank& other) noexcept {
  return planted::kLifoQueue ? other.before(one) : one.before(other);
}

// Tells when a walk along a list goes round, or on for ever: when it has come along each node a few
// times at most.
class CircleGuard {
 public:
  explicit CircleGuard(const LockTables& tables) noexcept : limit_(tables.node_count) {}
  [[nodiscard]] bool closes(std::uint32_t link) noexcept {
    if (link == milestone_ || steps_ >= limit_) return true;
    if (steps_++ == next_milestone_) {
      milestone_ = link;
      next_milestone_ *= 2;
    }
    return false;
  }

 private:
  std::uint32_t limit_;
  std::uint32_t steps_ = 0;
  std::uint32_t milestone_ = 0;
  std::uint32_t next_milestone_ = 1;
};

}  // namespace

// While one of these lives, the lists are being edited.
class WaitQueue::Edit {
 public:
  explicit Edit(rm_slot& slot) noexcept : slot_(slot) {
    if (!planted::kQuietEdits) store(slot_.queue_seq, load_relaxed(slot_.queue_seq) | 1u);
  }
  // Link stores are releases: none of them moves before the odd number, and readers, who load links
  // with acquire, none of theirs behind their second look at it.
  ~Edit() {
    if (!planted::kQuietEdits) store(slot_.queue_seq, load_relaxed(slot_.queue_seq) + 1);
  }
  Edit(const Edit&) = delete;
  Edit& operator=(const Edit&) = delete;

 private:
  rm_slot& slot_;
};

// Sorts nodes where they stand, by merging runs of them. How long a run is, and where it ends, it
// keeps to itself: the work is that of sorting as many as were added, whatever a peer makes of the
// links meanwhile. Mostly there is one run: an inbox is newest first.
class WaitQueue::Sorter {
 public:
  explicit Sorter(const LockTables& tables) noexcept : t_(tables) {}

  void add(std::uint32_t link, const QueueRank& rank) noexcept {
    rm_node& node = *t_.node(link);
    if (run_.count != 0 && goes_first(rank, first_)) {
      store_release(node.next_link, run_.head);
      run_.head = link;
      first_ = rank;
    } else {
      if (run_.count != 0 && goes_first(rank, last_)) put_away();
      if (run_.count == 0) first_ = rank;
      append(run_, link);
      last_ = rank;
    }
    run_.count += 1;
  }
  /// All of them, best first; the last one leads nowhere.
  [[nodiscard]] Run finish() noexcept {
    for (std::size_t i = 0; i < places_; ++i) {
      if (runs_[i].count != 0) run_ = run_.count != 0 ? merged(runs_[i], run_) : runs_[i];
    }
    if (run_.count != 0) store_release(t_.node(run_.tail)->next_link, 0);
    return run_;
  }

 private:
  // As in adding one to a binary number: the place `i` has 2^i runs, or none.
  void put_away() noexcept {
    Run carried = std::exchange(run_, {});
    std::size_t i = 0;
    for (; runs_[i].count != 0; ++i) carried = merged(std::exchange(runs_[i], {}), carried);
    runs_[i] = carried;
    places_ = std::max(places_, i + 1);
  }
  void append(Run& run, std::uint32_t link) const noexcept {
    if (run.count != 0) {
      store_release(t_.node(run.tail)->next_link, link);
    } else {
      run.head = link;
    }
    run.tail = link;
  }
  // Not counted: what a peer cut off of one of them.
  [[nodiscard]] Run merged(Run one, Run other) const noexcept {
    Run all;
    while (one.count != 0 && other.count != 0) {
      rm_node* const left = t_.node(one.head);
      rm_node* const right = t_.node(other.head);
      if (!left || !right) {
        (left ? other : one).count = 0;
        break;
      }
      // Who waits no more stands anywhere.
      Waiter a;
      Waiter b;
      const bool turned =
          read_waiter(t_, *left, a) && read_waiter(t_, *right, b) && goes_first(b.rank, a.rank);
      Run& from = turned ? other : one;
      const std::uint32_t next = load_relaxed((turned ? right : left)->next_link);
      append(all, from.head);
      all.count += 1;
      from.head = next;
      from.count -= 1;
    }
    const Run& rest = one.count != 0 ? one : other;
    if (rest.count != 0 && t_.node(rest.head)) {
      append(all, rest.head);
      all.tail = rest.tail;
      all.count += rest.count;
    }
    return all;
  }

  const LockTables& t_;
  Run run_;
  QueueRank first_;
  QueueRank last_;
  std::size_t places_ = 0;  ///< that were ever in use
  std::array<Run, 32> runs_;
};

void WaitQueue::relax() noexcept { cpu_relax(); }

bool WaitQueue::push(rm_node& node) const noexcept {
  std::uint32_t head = load(slot_.inbox_link);
  do {
    store_release(node.next_link, head);
  } while (!cas(slot_.inbox_link, head, t_.link_of(&node)));
  return head == 0;
}

unsigned WaitQueue::settle() const noexcept {
  const bool resort = (load(slot_.attributes) & RM_SLOT_ATTR_RESORT) != 0;
  const bool inbox = load(slot_.inbox_link) != 0;
  if (!resort && !inbox) {
    drop_decided();
    return 0;
  }
  const Edit edit(slot_);
  Sorter sorter(t_);
  unsigned added = 0;
  const auto sort = [&](std::uint32_t link) {
    CircleGuard guard(t_);
    while (rm_node* const node = t_.node(link)) {
      if (guard.closes(link)) return;
      const std::uint32_t next = load_relaxed(node->next_link);
      Waiter waiter;
      if (read_waiter(t_, *node, waiter) && ours(waiter)) {
        sorter.add(link, waiter.rank);
        ++added;
      } else {
        NodePool(t_).unlinked(*node);
      }
      link = next;
    }
  };
  const std::uint32_t arrived = take_inbox();
  if (resort) {
    atomic(slot_.attributes)
        .fetch_and(static_cast<std::uint8_t>(~RM_SLOT_ATTR_RESORT), std::memory_order_seq_cst);
    // The old queue goes the way of the inbox.
    const std::uint32_t old = load_relaxed(slot_.queue_head_link);
    store_release(slot_.queue_head_link, 0);
    store_release(slot_.queue_tail_link, 0);
    sort(old);
    added = 0;
  }
  sort(arrived);
  merge(sorter.finish());
  return added;
}

// Calls `visit(node)` for each node of a list, up to the one with the link `end`. A list that leads
// in a circle, or to another slot's nodes, ends there: of what is here each node is visited a few
// times at most, and of another slot's none.
template <typename Visit>
void WaitQueue::walk(std::uint32_t link, std::uint32_t end, Visit&& visit) const noexcept {
  for (CircleGuard guard(t_); link != end;) {
    rm_node* const node = t_.node(link);
    if (!node || load_acquire(node->slot) != slot_index_ || guard.closes(link)) return;
    const std::uint32_t next = load_acquire(node->next_link);
    visit(*node);
    link = next;
  }
}

void WaitQueue::rebuild(std::span<const NodeIndex::Entry> known,
                        std::vector<Ranked>& room) const noexcept {
  const Edit edit(slot_);
  const std::uint32_t inbox = take_inbox();
  const std::uint32_t queue = load_relaxed(slot_.queue_head_link);
  room.clear();
  for (const NodeIndex::Entry& entry : known) collect(t_.nodes[entry.node], room);
  for (const std::uint32_t list : {inbox, queue}) {
    walk(list, 0, [&](rm_node& node) { collect(node, room); });
  }
  std::ranges::sort(room, {}, &Ranked::node);
  const auto twice = std::ranges::unique(room, {}, &Ranked::node);
  room.erase(twice.begin(), twice.end());
  std::ranges::sort(room, goes_first, &Ranked::rank);
  atomic(slot_.attributes)
      .fetch_and(static_cast<std::uint8_t>(~RM_SLOT_ATTR_RESORT), std::memory_order_seq_cst);
  std::uint32_t next = 0;
  for (std::size_t i = room.size(); i-- != 0;) {
    store_release(room[i].node->next_link, next);
    next = t_.link_of(room[i].node);
  }
  store_release(slot_.queue_head_link, next);
  store_release(slot_.queue_tail_link, room.empty() ? 0 : t_.link_of(room.back().node));
}

// What is linked and waits is in the queue; what is linked and doesn't wait leaves it.
void WaitQueue::collect(rm_node& node, std::vector<Ranked>& room) const noexcept {
  constexpr std::uint32_t kInQueue = RM_NODE_REF_LINKED | RM_NODE_REF_QUEUED;
  std::uint32_t refs = load(node.refs);
  const std::uint32_t in_queue = refs & kInQueue;
  // LINKED alone: it came into the inbox since, or its owner is about to push it.
  if (load_acquire(node.slot) != slot_index_ || in_queue == RM_NODE_REF_LINKED) return;
  Waiter waiter;
  const bool waits = read_waiter(t_, node, waiter) && ours(waiter);
  if (in_queue == 0) {
    // A granter took it out and died before he decided; unless the wait ended otherwise, and its
    // owner uses the node again: one of the two swaps fails.
    if (!waits || (refs & RM_NODE_REF_OWNER) == 0 || planted::kNoRelink) return;
    if (!cas(node.refs, refs, refs | kInQueue)) return;
  }
  const NodeWord now{load(node.word)};
  if (!waits || !now.waiting() || now.sequence() != waiter.word.sequence()) {
    NodePool(t_).unlinked(node);
  } else if (room.size() < room.capacity()) {
    room.push_back({waiter.rank, &node});
  }
}

// Nodes are marked where they stand, then all are taken by one swap: killed in between, a latch
// holder leaves nothing in his hands that a repair would not know from a node that its owner is
// still about to push (I3).
std::uint32_t WaitQueue::take_inbox() const noexcept {
  std::uint32_t marked = 0;
  std::uint32_t head = load(slot_.inbox_link);
  do {
    walk(head, marked, [](rm_node& node) {
      atomic(node.refs).fetch_or(RM_NODE_REF_QUEUED, std::memory_order_relaxed);
    });
    // New ones stand before those that are marked: nobody else takes out.
    marked = head;
    // seq_cst publishes the marks with the empty inbox.
  } while (head != 0 && !cas(slot_.inbox_link, head, 0));
  return head;
}

// Mostly all of them come after those who are there: a new request has a later ticket.
void WaitQueue::merge(const Run& run) const noexcept {
  if (run.count == 0) return;
  rm_node* const tail = t_.node(load_relaxed(slot_.queue_tail_link));
  Waiter waiter;
  Waiter other;
  // A decided node has no rank any more, but its place in the list is as good as any.
  const bool after_all =
      !tail || (read_waiter(t_, *tail, other) && !(read_waiter(t_, *t_.node(run.head), waiter) &&
                                                   goes_first(waiter.rank, other.rank)));
  if (after_all) {
    store_release(tail ? tail->next_link : slot_.queue_head_link, run.head);
    store_release(slot_.queue_tail_link, run.tail);
    return;
  }
  // One walk along both.
  CircleGuard guard(t_);
  rm_node* previous = nullptr;
  std::uint32_t at = load_relaxed(slot_.queue_head_link);
  std::uint32_t link = run.head;
  for (std::uint32_t left = run.count; left != 0; --left) {
    rm_node* const node = t_.node(link);
    if (!node) return;
    const bool waits = read_waiter(t_, *node, waiter);
    while (rm_node* const next = t_.node(at)) {
      if (!waits || (read_waiter(t_, *next, other) && goes_first(waiter.rank, other.rank))) break;
      previous = next;
      at = guard.closes(at) ? 0 : load_relaxed(next->next_link);
    }
    const std::uint32_t following = load_relaxed(node->next_link);
    store_release(node->next_link, at);
    store_release(previous ? previous->next_link : slot_.queue_head_link, link);
    if (at == 0) store_release(slot_.queue_tail_link, link);
    previous = node;
    link = following;
  }
}

void WaitQueue::drop_decided() const noexcept {
  // Only at the front: what is decided further behind is dropped when it gets there.
  for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
    rm_node* node = t_.node(load_relaxed(slot_.queue_head_link));
    Waiter waiter;
    if (!node || (read_waiter(t_, *node, waiter) && ours(waiter))) return;
    unlink(*node);
  }
}

bool WaitQueue::front(Waiter& out) const noexcept {
  for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
    rm_node* node = t_.node(load_relaxed(slot_.queue_head_link));
    if (!node) return false;
    if (read_waiter(t_, *node, out) && ours(out) && !t_.is_dead(out.context)) return true;
    unlink(*node);
  }
  return false;
}

void WaitQueue::unlink(rm_node& node) const noexcept {
  const std::uint32_t link = t_.link_of(&node);
  {
    const Edit edit(slot_);
    rm_node* previous = nullptr;
    std::uint32_t at = load_relaxed(slot_.queue_head_link);
    for (std::uint32_t steps = 0; steps < t_.node_count && at != link; ++steps) {
      previous = t_.node(at);
      if (!previous) return;
      at = load_relaxed(previous->next_link);
    }
    const std::uint32_t next = load_relaxed(node.next_link);
    if (previous) {
      store_release(previous->next_link, next);
    } else {
      store_release(slot_.queue_head_link, next);
    }
    if (load_relaxed(slot_.queue_tail_link) == link) {
      store_release(slot_.queue_tail_link, previous ? t_.link_of(previous) : 0);
    }
  }
  NodePool(t_).unlinked(node);
}

bool WaitQueue::any() const noexcept {
  return load(slot_.queue_head_link) != 0 || load(slot_.inbox_link) != 0;
}

}  // namespace resmgr::lock
