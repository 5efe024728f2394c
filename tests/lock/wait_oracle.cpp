// SPDX-License-Identifier: Apache-2.0
#include "tests/lock/wait_oracle.hpp"

#include <algorithm>
#include <tuple>

namespace resmgr::lock::test {

void WaitOracle::enqueue(int context, Wish wish) {
  wish.rank = {wish.mode == RM_WAIT_UPGRADE, std::max(wish.asked, inherited(context)), ++tickets_};
  waits_.at(static_cast<std::size_t>(context)) = wish;
}

void WaitOracle::release(int context, int resource) {
  holds_.at(static_cast<std::size_t>(resource)).erase(context);
}

void WaitOracle::downgrade(int context, int resource) {
  holds_.at(static_cast<std::size_t>(resource)).at(context) = HoldKind::Shared;
}

std::optional<HoldKind> WaitOracle::held(int context, int resource) const {
  const auto& holders = holds_.at(static_cast<std::size_t>(resource));
  const auto found = holders.find(context);
  return found == holders.end() ? std::nullopt : std::optional(found->second);
}

void WaitOracle::set_priority(int context, std::uint16_t priority) {
  auto& wish = waits_.at(static_cast<std::size_t>(context));
  if (wish) wish->rank.priority = priority;
}

std::uint16_t WaitOracle::inherited(int context) const {
  std::uint16_t best = 0;
  for (std::size_t other = 0; other < waits_.size(); ++other) {
    const auto& wish = waits_[other];
    if (wish && static_cast<int>(other) != context && held(context, wish->resource)) {
      best = std::max(best, wish->rank.priority);
    }
  }
  return best;
}

bool WaitOracle::grantable(int context) const {
  const Wish& wish = *this->wish(context);
  for (const auto& [holder, kind] : holds_.at(static_cast<std::size_t>(wish.resource))) {
    if (holder == context) continue;
    if (kind == HoldKind::Exclusive || wish.mode != RM_WAIT_SHARED) return false;
  }
  return true;
}

std::vector<int> WaitOracle::grant(int resource) {
  std::vector<int> granted;
  for (;;) {
    int best = -1;
    for (std::size_t i = 0; i < waits_.size(); ++i) {
      const int context = static_cast<int>(i);
      if (!waits_[i] || waits_[i]->resource != resource) continue;
      if (best < 0 || waits_[i]->rank.before(wish(best)->rank)) best = context;
    }
    if (best < 0 || !grantable(best)) return granted;
    const bool shared = wish(best)->mode == RM_WAIT_SHARED;
    holds_.at(static_cast<std::size_t>(resource))[best] =
        shared ? HoldKind::Shared : HoldKind::Exclusive;
    withdraw(best);
    granted.push_back(best);
  }
}

std::vector<int> WaitOracle::blockers(int context) const {
  std::vector<int> found;
  if (!wish(context)) return found;
  const Wish& mine = *wish(context);
  for (const auto& [holder, kind] : holds_.at(static_cast<std::size_t>(mine.resource))) {
    if (holder == context) continue;
    if (kind == HoldKind::Exclusive || mine.mode != RM_WAIT_SHARED) found.push_back(holder);
  }
  for (std::size_t i = 0; i < waits_.size(); ++i) {
    const auto& other = waits_[i];
    if (!other || static_cast<int>(i) == context || other->resource != mine.resource) continue;
    const bool conflict = other->mode != RM_WAIT_SHARED || mine.mode != RM_WAIT_SHARED;
    if (conflict && other->rank.before(mine.rank)) found.push_back(static_cast<int>(i));
  }
  return found;
}

void WaitOracle::extend(std::vector<int>& path, std::vector<std::vector<int>>& found) const {
  std::vector<int> next = blockers(path.back());
  std::sort(next.begin(), next.end());
  next.erase(std::unique(next.begin(), next.end()), next.end());
  for (const int blocker : next) {
    if (blocker == path.front()) found.push_back(path);
    if (std::find(path.begin(), path.end(), blocker) != path.end()) continue;
    path.push_back(blocker);
    extend(path, found);
    path.pop_back();
  }
}

std::vector<std::vector<int>> WaitOracle::cycles_through(int context) const {
  std::vector<std::vector<int>> found;
  std::vector<int> path{context};
  extend(path, found);
  return found;
}

bool WaitOracle::has_cycle() const {
  for (std::size_t i = 0; i < waits_.size(); ++i) {
    if (!cycles_through(static_cast<int>(i)).empty()) return true;
  }
  return false;
}

int WaitOracle::victim_of(const std::vector<int>& cycle) const {
  // The first by: no emergency, lowest rank asked for, youngest.
  const auto key = [&](int context) {
    const Wish& w = *wish(context);
    return std::tuple(w.emergency, w.asked, ~w.rank.ticket);
  };
  return *std::min_element(cycle.begin(), cycle.end(),
                           [&](int a, int b) { return key(a) < key(b); });
}

}  // namespace resmgr::lock::test
