// SPDX-License-Identifier: Apache-2.0
//
// Emergencies: sees requests in AcquisitionMode::Emergency through that have to wait.
//
// What it is: for each such wait, whom to ask to let go and until when, and what follows when that
// time is over: the resource's owner is asked to make it quiet, and if he did, the holders are
// fenced. Each holder is asked once for each wait, and has the whole of his time; who comes to hold
// it meanwhile has his own. Where the owner has no quiesce hook, or it fails, nobody is forced, and
// the wait goes on. What it is not: the wait, nor what takes from holders (fence.hpp); and it
// reaches nobody: that is its host's, in the process of an embedded domain, or in resmgrd.
//
// Each step is in the flight recorder of the context that waits, and told to the host. What is kept
// of a wait goes when it is over, which proceed() sees. Lost with its process, it is made anew by
// whoever begins it again: then holders may be asked again.
//
// Lifetime: borrows engine and host. Thread-safety: one thread.
//
//   Emergencies emergencies(engine, host);
//   emergencies.begin(wait, monotonic_ns());
//   if (const auto next = emergencies.proceed(monotonic_ns())) call_again_at(*next);
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "resmgr/abi/events.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/fence.hpp"
#include "resmgr/trace/recorder.hpp"

namespace resmgr::lock {

/// One wait in an emergency.
struct Emergency {
  Handle handle;
  std::uint32_t node_link = 0;  ///< of the wait's node,
  std::uint64_t sequence = 0;   ///< in this wait of its
  std::uint16_t context = 0;    ///< who waits
  std::uint64_t yield_ns = 0;   ///< how long each holder is given
};

/// Whether that wait goes on; and as what.
[[nodiscard]] bool is_waiting(const LockTables& tables, const Emergency& emergency,
                              Waiter& waiter) noexcept;
[[nodiscard]] inline bool is_waiting(const LockTables& tables,
                                     const Emergency& emergency) noexcept {
  Waiter waiter;
  return is_waiting(tables, emergency, waiter);
}

/// Unless the request says so, holders are given half of its time, and no more than this.
inline constexpr std::uint64_t kLongestUsualYieldNs = 1'000'000'000;
[[nodiscard]] constexpr std::uint64_t usual_yield(std::uint64_t now_ns,
                                                  std::uint64_t deadline_ns) noexcept {
  const std::uint64_t half = deadline_ns > now_ns ? (deadline_ns - now_ns) / 2 : 0;
  return half < kLongestUsualYieldNs ? half : kLongestUsualYieldNs;
}

/// What `holder` is told. For telling people: what contexts say of themselves.
[[nodiscard]] wire::YieldEvent yield_event(const LockTables& tables, const Emergency& emergency,
                                           const Participant& holder,
                                           std::uint64_t until_ns) noexcept;

enum class EmergencyStep : std::uint8_t {
  Asked,      ///< a holder, to let go
  TimeOver,   ///< that he was given
  Quiet,      ///< the owner says
  NotQuiet,   ///< the owner says, or says nothing
  Fenced,     ///< a holder
  NotForced,  ///< the wait goes on, and this is why
};

/// How those are reached whom it concerns. Called by begin(), answered() and proceed(); calls none
/// of these.
class EmergencyHost {
 public:
  virtual ~EmergencyHost() = default;
  /// `holder` is to let go until then. A courtesy: who can't be asked is not.
  virtual void ask(const Emergency& emergency, const Participant& holder,
                   std::uint64_t until_ns) = 0;
  /// The owner is to make it quiet, and to answer with that number. Returns when an answer is too
  /// late; nothing: there is nobody to ask.
  [[nodiscard]] virtual std::optional<std::uint64_t> quiesce(Handle handle, std::uint32_t attempt,
                                                             std::uint64_t now_ns) = 0;
  /// Whether the gate that was closed for an emergency may be opened. False: somebody else has
  /// a reason to keep it closed, and opens it.
  [[nodiscard]] virtual bool may_open(Handle handle) = 0;
  /// What has been done. `who`: the holder of Asked and Fenced.
  virtual void told(const Emergency& emergency, EmergencyStep step, const Participant& who,
                    std::string_view detail) = 0;
};

class Emergencies {
 public:
  /// `first_attempt`: the number that the first question to an owner has; not 0.
  Emergencies(LockEngine& engine, EmergencyHost& host, std::uint32_t first_attempt = 1) noexcept;

  /// A wait. One that is known already is left as it is. Errors: InvalidArgument (nobody waits so
  /// in an emergency), CapacityExceeded. May throw std::bad_alloc, as all of these.
  Result<void> begin(const Emergency& emergency, std::uint64_t now_ns);
  /// The owner's answer. False if it is none to a question of this object's.
  bool answered(Handle handle, std::uint32_t attempt, std::optional<ErrorCode> error,
                std::uint64_t now_ns);
  /// Does what is due. Returns when to call it again; nothing if there is nothing to wait for.
  [[nodiscard]] std::optional<std::uint64_t> proceed(std::uint64_t now_ns);
  [[nodiscard]] bool knows(std::uint32_t node_link) const noexcept {
    return cases_.contains(node_link) || std::ranges::any_of(gates_, [&](const auto& gate) {
             return gate.second.by.node_link == node_link;
           });
  }
  /// Whether it has no waits and no gates.
  [[nodiscard]] bool idle() const noexcept { return cases_.empty() && gates_.empty(); }

 private:
  static constexpr std::size_t kMostCases = 4096;
  struct Case {
    Emergency emergency;
    std::uint8_t mode = RM_WAIT_EXCLUSIVE;
    std::uint64_t due_ns = 0;
    std::vector<std::uint16_t> asked = {};
    bool waits_on = false;  ///< nobody is forced for it
  };
  /// A resource whose owner was asked.
  struct Gate {
    Emergency by;
    std::uint32_t attempt = 0;
    std::uint64_t due_ns = 0;
    bool is_quiet = false;  ///< what is left is to end the holds
    bool closed = false;    ///< by us
  };

  [[nodiscard]] bool is_wanted(Handle handle) const noexcept;
  [[nodiscard]] std::vector<Participant> holders_before(const Case& one) const;
  void step(Case& one, std::uint64_t now_ns);
  void quiesce(Case& one, std::uint64_t now_ns);
  /// True: the gate is done with.
  [[nodiscard]] bool end_holds(Handle handle, Gate& gate, std::uint64_t now_ns);
  void not_forced(const Emergency& emergency, std::string_view why);
  void finish(Handle handle, std::uint64_t now_ns);
  void trace(const Emergency& emergency, rm_trace_op operation, std::uint8_t mode,
             std::uint64_t argument, std::uint64_t now_ns) noexcept;

  LockEngine& engine_;
  EmergencyHost& host_;
  const LockTables& t_;
  trace::Recorder recorder_;
  Fence fence_;
  std::uint32_t next_attempt_;
  std::unordered_map<std::uint32_t, Case> cases_;  ///< by node
  std::unordered_map<Handle, Gate> gates_;
};

}  // namespace resmgr::lock
