// SPDX-License-Identifier: Apache-2.0
#include "tests/kill/soak_oracle.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>

namespace resmgr::test {

// In the order in which those of one moment count: what ends comes before what begins.
enum class SoakOracle::Kind : std::uint8_t {
  End,          ///< of a hold
  DiedHolding,  ///< it ended so, and was exclusive
  MaybeBegin,   ///< from here on somebody may have died holding
  Repaired,
  Granted,
  MaybeEnd,  ///< not from here on
};

struct SoakOracle::Point {
  std::uint64_t at_ns;
  Kind kind;
  std::size_t who;
  SoakEntry entry;

  friend bool operator<(const Point& a, const Point& b) noexcept {
    return std::tie(a.at_ns, a.kind, a.who) < std::tie(b.at_ns, b.kind, b.who);
  }
};

/// Reads one log: whether it fits together, and what it says of the resources.
class SoakOracle::Life {
 public:
  Life(SoakOracle& oracle, std::size_t who, std::vector<Point>& points,
       std::vector<std::string>& violations)
      : oracle_(oracle),
        log_(oracle.logs_.at(who)),
        who_(who),
        points_(points),
        violations_(violations) {}

  void read() {
    for (const SoakEntry& entry : log_.entries) read(entry);
    const auto killed = fate(SoakEvent::Killed);
    if (killed) {
      SoakEntry death = *killed;
      // Between the stamp and the signal it may have gone on.
      if (!log_.entries.empty()) {
        death.at_ns = std::max(death.at_ns, log_.entries.back().at_ns + 1);
      }
      die(death, fate(SoakEvent::Buried).value_or(death));
    } else if (asked_ || !held_.empty()) {
      blame("ended in the middle of something");
    }
  }

 private:
  struct Hold {
    bool exclusive;
    bool is_leaving;
  };

  void read(const SoakEntry& entry) {
    const auto held = held_.find(entry.resource);
    switch (entry.what) {
      case SoakEvent::Asked:
        if (asked_) blame("asked again before an outcome", entry);
        asked_ = entry;
        break;
      case SoakEvent::Granted:
        ++oracle_.counts_.grants;
        if (entry.inconsistent) ++oracle_.counts_.told;
        decide(entry);
        held_[entry.resource] = {entry.exclusive, false};
        add(Kind::Granted, entry.at_ns, entry);
        break;
      case SoakEvent::Refused:
        ++oracle_.counts_.refusals;
        decide(entry);
        break;
      case SoakEvent::Repaired:
        add(Kind::Repaired, entry.at_ns, entry);
        break;
      case SoakEvent::Releasing:
        if (held == held_.end()) return blame("released what it did not hold", entry);
        held->second.is_leaving = true;
        add(Kind::End, entry.at_ns, entry);
        break;
      case SoakEvent::Released:
        held_.erase(entry.resource);
        break;
      case SoakEvent::Registered:
        if (own_ != 0) blame("registered again what is", entry.at_ns);
        own_ = entry.handle;
        break;
      case SoakEvent::LookedUp:
        look_up(entry);
        break;
      case SoakEvent::Unregistered:
        own_ = 0;
        break;
      default:
        blame("wrote what is not its own to write", entry);
    }
  }

  // I6
  void decide(const SoakEntry& outcome) {
    if (!asked_ || asked_->resource != outcome.resource) {
      return blame("an outcome that nobody asked for", outcome);
    }
    const std::uint64_t due = asked_->deadline_ns + stopped_between(asked_->at_ns, outcome.at_ns);
    if (outcome.at_ns > due) {
      const std::uint64_t late = outcome.at_ns - due;
      oracle_.counts_.latest_ns = std::max(oracle_.counts_.latest_ns, late);
      if (late > oracle_.grace_ns_) {
        blame("I6: an outcome " + std::to_string(late) + " ns late", outcome);
      }
    }
    asked_.reset();
  }

  // A daemon that goes on with an older registry would have what was let go, and lack what was
  // made.
  void look_up(const SoakEntry& entry) {
    ++oracle_.counts_.look_ups;
    if (entry.handle == own_) return;
    blame(entry.handle == 0 ? "its own resource was lost"
          : own_ == 0       ? "what it unregistered is back"
                            : "its own resource is another one",
          entry.at_ns);
  }

  void die(const SoakEntry& killed, const SoakEntry& buried) {
    for (const auto& [resource, hold] : held_) {
      SoakEntry entry = killed;
      entry.resource = resource;
      entry.exclusive = hold.exclusive;
      if (hold.is_leaving) {
        if (hold.exclusive) maybe(entry, buried);
        continue;
      }
      add(Kind::End, killed.at_ns, entry);
      if (!hold.exclusive) continue;
      add(Kind::DiedHolding, killed.at_ns, entry);
      ++oracle_.counts_.died_holding;
    }
    if (asked_ && asked_->exclusive) {
      SoakEntry entry = *asked_;
      entry.at_ns = killed.at_ns;
      maybe(entry, buried);
    }
  }
  void maybe(const SoakEntry& entry, const SoakEntry& buried) {
    add(Kind::MaybeBegin, entry.at_ns, entry);
    add(Kind::MaybeEnd, buried.at_ns, entry);
  }

  [[nodiscard]] std::optional<SoakEntry> fate(SoakEvent what) const {
    const auto found = std::ranges::find(log_.fate, what, &SoakEntry::what);
    return found == log_.fate.end() ? std::nullopt : std::optional(*found);
  }
  [[nodiscard]] std::uint64_t stopped_between(std::uint64_t begin, std::uint64_t end) const {
    std::uint64_t sum = 0;
    std::uint64_t since = 0;  // 0: it is not stopped
    for (const SoakEntry& entry : log_.fate) {
      if (entry.what == SoakEvent::Stopped) since = entry.at_ns;
      if (entry.what != SoakEvent::Continued || since == 0) continue;
      const std::uint64_t from = std::max(since, begin);
      const std::uint64_t to = std::min(entry.at_ns, end);
      if (from < to) sum += to - from;
      since = 0;
    }
    return sum;
  }
  void add(Kind kind, std::uint64_t at_ns, const SoakEntry& entry) {
    points_.push_back({at_ns, kind, who_, entry});
  }
  void blame(const std::string& what) {
    violations_.push_back("process " + std::to_string(who_) + ": " + what);
  }
  void blame(const std::string& what, std::uint64_t at_ns) {
    blame(what + ", at " + std::to_string(at_ns));
  }
  void blame(const std::string& what, const SoakEntry& entry) {
    blame(what + ", of resource " + std::to_string(entry.resource), entry.at_ns);
  }

  SoakOracle& oracle_;
  const SoakLog& log_;
  std::size_t who_;
  std::vector<Point>& points_;
  std::vector<std::string>& violations_;
  std::optional<SoakEntry> asked_;
  std::map<std::uint8_t, Hold> held_;
  std::uint64_t own_ = 0;  ///< the handle of what it has registered; 0: nothing
};

/// Plays what happened to one resource, in the order of time.
class SoakOracle::History {
 public:
  void play(const Point& point, std::vector<std::string>& violations) {
    switch (point.kind) {
      case Kind::End:
        sharers_.erase(point.who);
        if (owner_ == point.who) owner_.reset();
        break;
      case Kind::DiedHolding:
        state_ = State::Inconsistent;
        break;
      case Kind::MaybeBegin:
        ++open_;
        break;
      case Kind::MaybeEnd:
        --open_;
        if (state_ == State::Consistent) state_ = State::Either;
        break;
      case Kind::Repaired:
        state_ = State::Consistent;
        break;
      case Kind::Granted:
        grant(point, violations);
        break;
    }
  }

 private:
  enum class State : std::uint8_t { Consistent, Inconsistent, Either };

  void grant(const Point& point, std::vector<std::string>& violations) {
    const SoakEntry& entry = point.entry;
    const auto blame = [&](const std::string& what) {
      violations.push_back("resource " + std::to_string(entry.resource) + ", process " +
                           std::to_string(point.who) + " at " + std::to_string(entry.at_ns) + ": " +
                           what);
    };
    if (owner_) {
      blame("I1: process " + std::to_string(*owner_) + " has it exclusively");
    } else if (entry.exclusive && !sharers_.empty()) {
      blame("I1: process " + std::to_string(*sharers_.begin()) + " shares it");
    }
    const bool is_open = open_ != 0 || state_ == State::Either;
    const bool is_due = state_ == State::Inconsistent;
    if (!is_open && entry.inconsistent != is_due) {
      blame(is_due ? "was not told that its holder died"
                   : "was told of a death that there was not");
    }
    if (!entry.exclusive) {
      sharers_.insert(point.who);
      return;
    }
    owner_ = point.who;
    // He knows, unless he may have been there before the one who may have died.
    if (entry.inconsistent) {
      state_ = State::Inconsistent;
    } else if (open_ == 0) {
      state_ = State::Consistent;
    }
  }

  std::optional<std::size_t> owner_;
  std::set<std::size_t> sharers_;
  State state_ = State::Consistent;
  int open_ = 0;  ///< who may have died holding it, or may be granted it yet
};

std::vector<std::string> SoakOracle::judge() {
  counts_ = {};
  std::vector<std::string> violations;
  std::vector<Point> points;
  for (std::size_t who = 0; who < logs_.size(); ++who) {
    Life(*this, who, points, violations).read();
  }
  std::ranges::sort(points, std::less<>());
  std::map<std::uint8_t, History> histories;
  for (const Point& point : points) {
    histories[point.entry.resource].play(point, violations);
  }
  return violations;
}

}  // namespace resmgr::test
