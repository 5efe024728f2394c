// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/queue.hpp"

#include <algorithm>

#include "resmgr/base/spin.hpp"
#include "resmgr/lock/planted_bug.hpp"

namespace resmgr::lock {

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

void WaitQueue::relax() noexcept { cpu_relax(); }

void WaitQueue::push(rm_node& node) const noexcept {
  std::uint32_t head = load(slot_.inbox_link);
  do {
    store_release(node.next_link, head);
  } while (!cas(slot_.inbox_link, head, t_.link_of(&node)));
}

unsigned WaitQueue::settle() const noexcept {
  const bool resort = (load(slot_.attributes) & RM_SLOT_ATTR_RESORT) != 0;
  const bool inbox = load(slot_.inbox_link) != 0;
  if (!resort && !inbox) {
    drop_decided();
    return 0;
  }
  const Edit edit(slot_);
  std::uint32_t link = take_inbox();
  unsigned added = 0;
  if (resort) {
    atomic(slot_.attributes)
        .fetch_and(static_cast<std::uint8_t>(~RM_SLOT_ATTR_RESORT), std::memory_order_seq_cst);
    // Sorting anew is inserting anew: the old queue goes the way of the inbox.
    std::uint32_t old = load_relaxed(slot_.queue_head_link);
    store_release(slot_.queue_head_link, 0);
    store_release(slot_.queue_tail_link, 0);
    for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
      rm_node* node = t_.node(old);
      if (!node) break;
      old = load_relaxed(node->next_link);
      Waiter waiter;
      if (read_waiter(*node, waiter) && ours(waiter)) {
        insert(*node, waiter);
      } else {
        NodePool(t_).unlinked(*node);
      }
    }
  }
  // The inbox is newest first; turned round, appending at the tail is the common case.
  std::uint32_t turned = 0;
  for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
    rm_node* node = t_.node(link);
    if (!node) break;
    const std::uint32_t next = load_relaxed(node->next_link);
    store_release(node->next_link, turned);
    turned = link;
    link = next;
  }
  for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
    rm_node* node = t_.node(turned);
    if (!node) break;
    turned = load_relaxed(node->next_link);
    Waiter waiter;
    if (read_waiter(*node, waiter) && ours(waiter)) {
      insert(*node, waiter);
      ++added;
    } else {
      NodePool(t_).unlinked(*node);
    }
  }
  return added;
}

// Calls `visit(node)` for each node of a list, up to the one with the link `end`. A list that leads
// in a circle, or to another slot's nodes, ends there: of what is here each node is visited a few
// times at most, and of another slot's none.
template <typename Visit>
void WaitQueue::walk(std::uint32_t link, std::uint32_t end, Visit&& visit) const noexcept {
  std::uint32_t milestone = 0;
  std::uint32_t next_milestone = 1;
  for (std::uint32_t steps = 0; steps < t_.node_count && link != end; ++steps) {
    rm_node* const node = t_.node(link);
    if (!node || load_acquire(node->slot) != slot_index_ || link == milestone) return;
    if (steps == next_milestone) {
      milestone = link;
      next_milestone *= 2;
    }
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
  std::ranges::sort(room, [](const Ranked& a, const Ranked& b) {
    return planted::kLifoQueue ? b.rank.before(a.rank) : a.rank.before(b.rank);
  });
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
  const bool waits = read_waiter(node, waiter) && ours(waiter);
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

void WaitQueue::insert(rm_node& node, const Waiter& waiter) const noexcept {
  const std::uint32_t link = t_.link_of(&node);
  rm_node* tail = t_.node(load_relaxed(slot_.queue_tail_link));
  Waiter other;
  // A decided node has no rank any more, but its place in the list is as good as any.
  const bool append = !tail || (read_waiter(*tail, other) && !waiter.rank.before(other.rank) &&
                                !planted::kLifoQueue);
  if (append) {
    store_release(node.next_link, 0);
    if (tail) {
      store_release(tail->next_link, link);
    } else {
      store_release(slot_.queue_head_link, link);
    }
    store_release(slot_.queue_tail_link, link);
    return;
  }
  rm_node* previous = nullptr;
  std::uint32_t at = load_relaxed(slot_.queue_head_link);
  for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
    rm_node* next = t_.node(at);
    if (!next) break;
    if (read_waiter(*next, other) && (waiter.rank.before(other.rank) || planted::kLifoQueue)) {
      break;
    }
    previous = next;
    at = load_relaxed(next->next_link);
  }
  store_release(node.next_link, at);
  if (previous) {
    store_release(previous->next_link, link);
  } else {
    store_release(slot_.queue_head_link, link);
  }
  if (at == 0) store_release(slot_.queue_tail_link, link);
}

void WaitQueue::drop_decided() const noexcept {
  // Only at the front: what is decided further behind is dropped when it gets there.
  for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
    rm_node* node = t_.node(load_relaxed(slot_.queue_head_link));
    Waiter waiter;
    if (!node || (read_waiter(*node, waiter) && ours(waiter))) return;
    unlink(*node);
  }
}

bool WaitQueue::front(Waiter& out) const noexcept {
  for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
    rm_node* node = t_.node(load_relaxed(slot_.queue_head_link));
    if (!node) return false;
    if (read_waiter(*node, out) && ours(out) && !t_.is_dead(out.context)) return true;
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
