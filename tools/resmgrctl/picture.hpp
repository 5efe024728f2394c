// SPDX-License-Identifier: Apache-2.0
//
// Picture: a domain's resources, who holds them, who waits for them, and for whom.
//
// What it is: one look, put into the words of people: numbers resolved to names, holds and waits
// taken from words, cells and nodes (the truth), waiters in the order in which they will be served.
// What it is not: a judgement; see doctor.hpp. What is damaged is left out or has no name.
//
// Lifetime: owns everything. Thread-safety: a plain value.
//
//   const Picture picture = Picture::of(look);
//   for (const Resource& resource : picture.resources) print(resource.entry.name_text());
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/registry/entry.hpp"
#include "tools/resmgrctl/look.hpp"

namespace resmgrctl {

/// Who does something: a context, its driver and its process.
struct Who {
  std::uint32_t context = 0;
  std::uint32_t client = 0;
  std::uint32_t pid = 0;
  std::uint32_t tid = 0;  ///< of a thread's own context, else 0
  std::string driver;     ///< empty: none named
  Process process = Process::Unknown;
};

struct Hold {
  Who who;
  resmgr::HoldKind kind = resmgr::HoldKind::Exclusive;
  bool offered = false;  ///< it is about to be taken, or refused
  std::uint64_t held_ns = 0;
};

struct Wait {
  /// Who keeps it from being granted: a holder, or an earlier waiter.
  struct Blocker {
    std::uint32_t context = 0;
    bool holds = false;
  };
  /// More are not listed.
  static constexpr std::size_t kMaxBlockers = 64;

  Who who;
  std::uint8_t mode = 0;       ///< enum rm_wait_mode
  std::uint16_t priority = 0;  ///< effective: raised by lending
  std::uint16_t base_priority = 0;
  bool emergency = false;
  bool timed = false;
  bool asleep = false;  ///< it has looked for deadlocks
  std::uint64_t waited_ns = 0;
  std::uint64_t ticket = 0;
  std::uint64_t node_word = 0;
  std::vector<Blocker> blockers = {};
  std::uint32_t blocker_count = 0;  ///< those that are not listed too
};

struct Share {
  std::string driver;
  resmgr::Rights rights = resmgr::Rights::None;
  bool has_resources = false;  ///< of its own: then it is a user, and this one stays
};

struct Resource {
  resmgr::registry::EntryCopy entry;
  std::string class_name;
  std::string owner_driver;
  std::uint32_t owner_pid = 0;
  resmgr::Lifecycle state = resmgr::Lifecycle::Deallocated;  ///< with Active and Locked
  std::uint64_t word = 0;
  std::vector<Hold> holds = {};
  std::vector<Wait> waits = {};  ///< the next to be served first
  std::vector<Share> shares = {};
  std::vector<resmgr::Handle> needs = {};
  std::vector<resmgr::Handle> needed_by = {};
  std::vector<std::pair<std::string, std::string>> pairs = {};
  resmgr::lock::Counters counters = {};
  bool whole = true;  ///< pairs, shares and dependencies could be read

  [[nodiscard]] std::string_view name() const noexcept { return entry.name_text(); }
};

/// Of one table: how much of it is used.
struct Use {
  std::uint32_t used = 0;
  std::uint32_t capacity = 0;
};

struct Picture {
  [[nodiscard]] static Picture of(const Look& look);

  std::uint64_t domain_id = 0;
  std::uint64_t epoch = 0;
  std::uint16_t layout_major = 0;
  std::uint16_t layout_minor = 0;
  Use resource_use = {};
  Use context_use = {};
  Use client_use = {};
  Use wait_use = {};
  Use cell_use = {};  ///< shared holds, and cells that are kept for them
  std::uint64_t holds = 0;
  std::uint64_t waits = 0;
  std::uint64_t deadlocks = 0;
  std::uint64_t late_victims = 0;
  std::uint64_t order_inversions = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t taken_at = 0;                          ///< ns, CLOCK_MONOTONIC
  std::vector<Resource> resources = {};                ///< by slot
  std::unordered_map<std::uint32_t, Who> people = {};  ///< all that hold or wait, by context

  /// Null if there is none.
  [[nodiscard]] const Resource* find(std::string_view name) const noexcept;
  [[nodiscard]] const Resource* find(resmgr::Handle handle) const noexcept;
  [[nodiscard]] const Who* who(std::uint32_t context) const noexcept {
    const auto found = people.find(context);
    return found == people.end() ? nullptr : &found->second;
  }
  /// Nanoseconds since a time; 0 if it lies ahead or is 0.
  [[nodiscard]] std::uint64_t age(std::uint64_t since) const noexcept {
    return since == 0 || since > taken_at ? 0 : taken_at - since;
  }
};

}  // namespace resmgrctl
