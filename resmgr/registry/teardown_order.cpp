// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/teardown_order.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>

#include "resmgr/registry/chains.hpp"
#include "resmgr/registry/edges.hpp"
#include "resmgr/registry/entry.hpp"

namespace resmgr::registry {
namespace {

// Depth first along "needs", without recursion: `finished` gets each slot after all it needs.
class DepthFirst {
 public:
  DepthFirst(const Tables& tables, std::vector<std::uint32_t>& finished)
      : tables_(tables), finished_(finished), budget_(tables.dependencies.count()) {}

  Walk run(std::uint32_t root) {
    if (open_.contains(root)) return Walk::Whole;
    Walk walk = enter(root);
    while (walk == Walk::Whole && !stack_.empty()) {
      Frame& top = stack_.back();
      if (top.needs.empty()) {
        finished_.push_back(top.slot);
        open_[top.slot] = false;
        stack_.pop_back();
        continue;
      }
      const std::uint32_t next = top.needs.back();
      top.needs.pop_back();
      const auto seen = open_.find(next);
      if (seen == open_.end()) {
        walk = enter(next);
      } else if (seen->second) {
        walk = Walk::Broken;  // a cycle, which no writer lets in
      }
    }
    return walk;
  }

 private:
  struct Frame {
    std::uint32_t slot;
    std::vector<std::uint32_t> needs;
  };

  Walk enter(std::uint32_t slot) {
    open_[slot] = true;
    Frame& frame = stack_.emplace_back(Frame{.slot = slot, .needs = {}});
    return walk_edges(tables_, slot, kNeeds, budget_, frame.needs);
  }

  const Tables& tables_;
  std::vector<std::uint32_t>& finished_;
  std::uint32_t budget_;  // each edge is in one chain, so this bounds the whole walk
  std::vector<Frame> stack_;
  std::unordered_map<std::uint32_t, bool> open_;  // visited; true while on the stack
};

// For each node, where its edges lead.
using Graph = std::vector<std::vector<std::uint32_t>>;

// The sets of nodes that lead to each other, after Tarjan, without recursion.
class Circles {
 public:
  explicit Circles(const Graph& graph) : graph_(graph), nodes_(graph.size()) {}

  /// Those that `root` leads to and that were not visited before, each before those that lead to
  /// it. Calls `visit` with each one's nodes, most of the time a single one.
  template <typename Visit>
  void run(std::uint32_t root, Visit&& visit) {
    if (nodes_[root].number != 0) return;
    enter(root);
    while (!path_.empty()) {
      const std::uint32_t at = path_.back();
      Node& node = nodes_[at];
      if (node.followed < graph_[at].size()) {
        const std::uint32_t to = graph_[at][node.followed++];
        if (nodes_[to].number == 0) {
          enter(to);
        } else if (nodes_[to].open) {
          node.earliest = std::min(node.earliest, nodes_[to].number);
        }
        continue;
      }
      path_.pop_back();
      if (!path_.empty()) {
        Node& before = nodes_[path_.back()];
        before.earliest = std::min(before.earliest, node.earliest);
      }
      if (node.earliest == node.number) visit(leave(at));
    }
  }

 private:
  struct Node {
    std::size_t followed = 0;  // of its edges
    std::uint32_t number = 0;  // in the order of entering, from 1; 0: not entered
    std::uint32_t earliest = 0;
    bool open = false;  // its circle is not complete
  };

  void enter(std::uint32_t at) {
    ++count_;
    nodes_[at] = {.followed = 0, .number = count_, .earliest = count_, .open = true};
    path_.push_back(at);
    opened_.push_back(at);
  }

  // All that was entered since `first`, which it leads to and is led to by.
  std::vector<std::uint32_t> leave(std::uint32_t first) {
    std::vector<std::uint32_t> circle;
    do {
      circle.push_back(opened_.back());
      nodes_[opened_.back()].open = false;
      opened_.pop_back();
    } while (circle.back() != first);
    return circle;
  }

  const Graph& graph_;
  std::vector<Node> nodes_;
  std::vector<std::uint32_t> path_;
  std::vector<std::uint32_t> opened_;
  std::uint32_t count_ = 0;
};

// What a number of resources, ordered by need alone, is to each other. A node is a position in that
// order, or, behind those, a driver: what it owns leads to it, and it leads to what it uses. So
// there are no more edges than shares and resources.
class Uses {
 public:
  Uses(const Tables& tables, const std::vector<std::uint32_t>& slots)
      : tables_(tables), slots_(slots), graph_(slots.size()) {}

  /// Finds the use edges among the resources.
  Walk find() {
    for (const std::uint32_t slot : slots_) {
      if (const std::uint32_t owner = owner_at(slot); owner != 0) drivers_.try_emplace(owner, 0);
    }
    std::uint32_t budget = tables_.shares.count();
    for (std::uint32_t position = 0; position < slots_.size(); ++position) {
      const Word* const entry = tables_.entries.at(slots_[position]);
      const auto link = load_field<std::uint32_t>(entry, offsetof(rm_entry, shares_link));
      const Walk walk = walk_chain(tables_.shares, link, offsetof(rm_share, next_link), budget,
                                   [&](const Word* record) {
                                     add_use(load_record<rm_share>(record).driver, position);
                                     return true;
                                   });
      if (walk != Walk::Whole) return walk;
    }
    return Walk::Whole;
  }
  [[nodiscard]] bool empty() const noexcept { return graph_.size() == slots_.size(); }

  /// The slots ordered by both kinds of edges.
  Walk order(std::vector<std::uint32_t>& ordered) {
    if (const Walk walk = add_others(); walk != Walk::Whole) return walk;
    ordered.clear();
    Circles circles(graph_);
    for (auto root = static_cast<std::uint32_t>(slots_.size()); root-- > 0;) {
      circles.run(root, [&](std::vector<std::uint32_t> circle) {
        // From the last to the first. Inside a circle the needs alone count.
        std::ranges::sort(circle, std::greater());
        for (const std::uint32_t node : circle) {
          if (node < slots_.size()) ordered.push_back(slots_[node]);
        }
      });
    }
    std::ranges::reverse(ordered);
    return Walk::Whole;
  }

 private:
  [[nodiscard]] std::uint32_t owner_at(std::uint32_t slot) const noexcept {
    return owner_of(tables_.entries.at(slot));
  }

  void add_use(std::uint32_t driver, std::uint32_t position) {
    const auto known = drivers_.find(driver);
    if (known == drivers_.end()) return;  // it owns none of these
    if (known->second == 0) {
      known->second = static_cast<std::uint32_t>(graph_.size());
      graph_.emplace_back();
    }
    graph_[known->second].push_back(position);
  }

  // The edges of the resources: what each needs, and its owner.
  Walk add_others() {
    std::unordered_map<std::uint32_t, std::uint32_t> positions;
    for (std::uint32_t i = 0; i < slots_.size(); ++i) positions.emplace(slots_[i], i);
    std::uint32_t budget = tables_.dependencies.count();
    std::vector<std::uint32_t> needed;
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
      needed.clear();
      const Walk walk = walk_edges(tables_, slots_[i], kNeeds, budget, needed);
      if (walk != Walk::Whole) return walk;
      for (const std::uint32_t slot : needed) {
        // An edge that is newer than the order may lead out of it.
        if (const auto at = positions.find(slot); at != positions.end()) {
          graph_[i].push_back(at->second);
        }
      }
      const auto owner = drivers_.find(owner_at(slots_[i]));
      if (owner != drivers_.end() && owner->second != 0) graph_[i].push_back(owner->second);
    }
    return Walk::Whole;
  }

  const Tables& tables_;
  const std::vector<std::uint32_t>& slots_;
  Graph graph_;
  std::unordered_map<std::uint32_t, std::uint32_t> drivers_;  // owners; their nodes, 0: none yet
};

Walk order_by_use(const Tables& tables, std::vector<std::uint32_t>& slots) {
  Uses uses(tables, slots);
  Walk walk = uses.find();
  if (walk != Walk::Whole || uses.empty()) return walk;
  std::vector<std::uint32_t> ordered;
  walk = uses.order(ordered);
  slots = std::move(ordered);
  return walk;
}

// What stands in the slots from `first` up to `end`, and all it needs, as long as `there()` says
// so.
template <typename There>
Result<std::vector<Handle>> read_order(const Tables& tables, std::uint32_t first, std::uint32_t end,
                                       There&& there) {
  std::vector<Handle> order;
  auto ok = read_chains(tables, [&] {
    order.clear();
    if (!there()) return Walk::Stale;
    std::vector<std::uint32_t> slots;
    DepthFirst search(tables, slots);
    Walk walk = Walk::Whole;
    // Downwards, for what is found last comes first.
    for (std::uint32_t slot = end; slot-- > first && walk == Walk::Whole;) {
      if (!live_handle(tables, slot).is_null()) walk = search.run(slot);
    }
    std::ranges::reverse(slots);
    if (walk == Walk::Whole) walk = order_by_use(tables, slots);
    if (walk == Walk::Whole) walk = to_handles(tables, slots, order);
    return there() ? walk : Walk::Stale;
  });
  if (!ok) return std::unexpected(std::move(ok.error()));
  return order;
}

}  // namespace

Result<std::vector<Handle>> read_teardown_order(const Tables& tables, Handle handle) {
  return read_order(tables, handle.slot(), handle.slot() + 1,
                    [&] { return live_entry(tables, handle) != nullptr; });
}

Result<std::vector<Handle>> read_whole_teardown_order(const Tables& tables,
                                                      std::uint32_t slot_end) {
  return read_order(tables, 0, slot_end, [] { return true; });
}

}  // namespace resmgr::registry
