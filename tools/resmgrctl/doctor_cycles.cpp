// SPDX-License-Identifier: Apache-2.0
//
// Deadlocks that nobody resolved (I7).
#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tools/resmgrctl/examination.hpp"
#include "tools/resmgrctl/picture.hpp"

namespace resmgrctl {
namespace {

/// `from` waits for `to`.
struct Edge {
  std::uint32_t to = 0;
  const Resource* resource = nullptr;
  const Wait* wait = nullptr;
};
using Edges = std::map<std::uint32_t, std::vector<Edge>>;

// A waiter looks for cycles before it sleeps, so that only waits count that sleep. Of the earlier
// waiters only those are taken through whom all others are reached: so a long queue has as many
// edges as waiters.
void add_edges(const Resource& resource, Edges& edges) {
  std::vector<std::uint32_t> sharers;  // since the last one who waits for all of it
  std::uint32_t last_exclusive = 0;
  for (const Wait& wait : resource.waits) {
    const std::uint32_t from = wait.who.context;
    const auto add = [&](std::uint32_t to) {
      if (to != 0 && to != from && wait.asleep) edges[from].push_back({to, &resource, &wait});
    };
    const bool shared = wait.mode == RM_WAIT_SHARED;
    for (const Hold& hold : resource.holds) {
      // An offer is no hold yet, and who is offered something is about to wake.
      if (hold.offered) continue;
      const bool exclusive = hold.kind == resmgr::HoldKind::Exclusive;
      // Sharers are reached through the waiter before, who waits for all of them.
      if (exclusive || (!shared && last_exclusive == 0)) add(hold.who.context);
    }
    add(last_exclusive);
    if (shared) {
      sharers.push_back(from);
    } else {
      for (const std::uint32_t sharer : sharers) add(sharer);
      sharers.clear();
      last_exclusive = from;
    }
  }
}

class Search {
 public:
  Search(Examination& ex, const Edges& edges) : ex_(ex), edges_(edges) {}

  void run() {
    for (const auto& [start, unused] : edges_) walk(start);
  }

 private:
  struct Step {
    std::uint32_t context;
    std::size_t next = 0;  ///< edge to follow
  };
  enum class Mark : std::uint8_t { New, OnPath, Done };

  [[nodiscard]] const std::vector<Edge>& edges_of(std::uint32_t context) const {
    static const std::vector<Edge> none;
    const auto found = edges_.find(context);
    return found == edges_.end() ? none : found->second;
  }

  void walk(std::uint32_t start) {
    if (marks_[start] != Mark::New) return;
    std::vector<Step> path{{start}};
    marks_[start] = Mark::OnPath;
    while (!path.empty()) {
      Step& step = path.back();
      const auto& edges = edges_of(step.context);
      if (step.next == edges.size()) {
        marks_[step.context] = Mark::Done;
        path.pop_back();
        continue;
      }
      const std::uint32_t to = edges[step.next++].to;
      if (marks_[to] == Mark::OnPath) report(path, to);
      if (marks_[to] != Mark::New) continue;
      marks_[to] = Mark::OnPath;
      path.push_back({to});
    }
  }

  void report(const std::vector<Step>& path, std::uint32_t first) {
    const auto begin = std::ranges::find(path, first, &Step::context);
    Evidence evidence;
    std::string text = "wait for each other, and nobody gave way: ";
    std::uint32_t lowest = first;
    for (auto step = begin; step != path.end(); ++step) {
      const Edge& edge = edges_of(step->context)[step->next - 1];
      evidence.add(edge.wait->node_word).add(edge.resource->word);
      lowest = std::min(lowest, step->context);
      if (step != begin) text += ", ";
      text += ex_.who(step->context) + " for " + std::string(edge.resource->name());
    }
    ex_.add({.check = "deadlock-unresolved",
             .invariant = 7,
             .resource = std::to_string(path.end() - begin) + " contexts",
             .text = std::move(text),
             .next_step = "end one of these clients; keep 'resmgrctl snapshot FILE' for a report",
             .subject = lowest},
            evidence);
  }

  Examination& ex_;
  const Edges& edges_;
  std::map<std::uint32_t, Mark> marks_;
};

}  // namespace

void check_cycles(Examination& ex) {
  const Picture picture = Picture::of(ex.look());
  Edges edges;
  for (const Resource& resource : picture.resources) add_edges(resource, edges);
  Search(ex, edges).run();
}

}  // namespace resmgrctl
