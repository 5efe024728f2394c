// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/emergencies.hpp"

#include <algorithm>
#include <string>

#include "resmgr/lock/wait.hpp"

namespace resmgr::lock {
namespace {

constexpr std::uint64_t kNever = ~std::uint64_t{0};
// While nobody holds it, or somebody else's gate is closed.
constexpr std::uint64_t kLookPauseNs = 10'000'000;
// Who has the latch gives it back within microseconds; one who is stopped, later.
constexpr std::uint64_t kLatchPauseNs = 1'000'000;

}  // namespace

Emergencies::Emergencies(LockEngine& engine, EmergencyHost& host,
                         std::uint32_t first_attempt) noexcept
    : engine_(engine),
      host_(host),
      t_(engine.tables()),
      recorder_(t_.trace, t_.context_count, t_.region->trace_level),
      fence_(engine),
      next_attempt_(first_attempt) {}

// Who waits has those told who see to it.
void LockEngine::call_for_help(const Wait& wait) const noexcept {
  const std::uint64_t usual = usual_yield(wait.waiter.enqueued_at, wait.deadline_ns);
  names_.urgent({.handle = wait.handle,
                 .node_link = t_.link_of(wait.waiter.node),
                 .sequence = wait.waiter.word.sequence(),
                 .context = wait.waiter.context,
                 .yield_ns = wait.request.yield_ns != 0 ? wait.request.yield_ns : usual});
}

wire::YieldEvent yield_event(const LockTables& tables, const Emergency& emergency,
                             const Participant& holder, std::uint64_t until_ns) noexcept {
  wire::YieldEvent event{.handle = emergency.handle,
                         .deadline_ns = until_ns,
                         .holder = holder.context,
                         .kind = holder.kind,
                         .by = emergency.context};
  if (const rm_context* const record = tables.context(emergency.context)) {
    event.by_driver = load_relaxed(record->driver);
    const rm_client* const client = tables.client(client_of(load_relaxed(record->state)));
    if (client) event.by_pid = load_relaxed(client->pid);
  }
  const rm_node* const node = tables.node(emergency.node_link);
  if (node && load_relaxed(node->mode) == RM_WAIT_SHARED) event.by_kind = HoldKind::Shared;
  return event;
}

// What the region says of a wait, any client could have written: it is checked, and decides nothing
// but whose hold is ended, which is a matter of locks.
bool is_waiting(const LockTables& tables, const Emergency& emergency, Waiter& waiter) noexcept {
  rm_node* const node = tables.node(emergency.node_link);
  return node && read_waiter(tables, *node, waiter) &&
         waiter.word.sequence() == emergency.sequence && waiter.slot == emergency.handle.slot() &&
         waiter.generation == emergency.handle.generation() &&
         waiter.context == emergency.context && waiter.emergency;
}

bool Emergencies::is_wanted(Handle handle) const noexcept {
  return std::ranges::any_of(cases_, [&](const auto& entry) {
    const Emergency& emergency = entry.second.emergency;
    return emergency.handle == handle && is_waiting(t_, emergency);
  });
}

Result<void> Emergencies::begin(const Emergency& emergency, std::uint64_t now_ns) {
  Waiter waiter;
  if (!is_waiting(t_, emergency, waiter))
    return fail(ErrorCode::InvalidArgument, "no such emergency");
  const auto found = cases_.find(emergency.node_link);
  if (found != cases_.end() && found->second.emergency.sequence == emergency.sequence) return {};
  if (found == cases_.end() && cases_.size() >= kMostCases) {
    return fail(ErrorCode::CapacityExceeded, "emergencies");
  }
  Case& one = cases_[emergency.node_link];
  one = {.emergency = emergency, .mode = waiter.mode};
  step(one, now_ns);
  return {};
}

// Those who are in the way.
std::vector<Participant> Emergencies::holders_before(const Case& one) const {
  std::vector<Participant> holders;
  engine_.for_each_holder(one.emergency.handle, [&](const Participant& who) {
    const bool beside = one.mode == RM_WAIT_SHARED && who.kind == HoldKind::Shared;
    if (!beside && who.context != one.emergency.context) holders.push_back(who);
  });
  return holders;
}

void Emergencies::step(Case& one, std::uint64_t now_ns) {
  const Emergency& emergency = one.emergency;
  const std::vector<Participant> holders = holders_before(one);
  const std::uint64_t until =
      emergency.yield_ns < kNever - now_ns ? now_ns + emergency.yield_ns : kNever;
  bool asked = false;
  for (const Participant& who : holders) {
    const auto context = static_cast<std::uint16_t>(who.context);
    if (std::ranges::find(one.asked, context) != one.asked.end()) continue;
    one.asked.push_back(context);
    asked = true;
    trace(emergency, RM_TRACE_ASK, who.kind == HoldKind::Shared ? 1 : 0, context, now_ns);
    host_.ask(emergency, who, until);
    host_.told(emergency, EmergencyStep::Asked, who, {});
  }
  if (asked) {
    one.due_ns = until;
  } else if (holders.empty()) {
    one.due_ns = now_ns + kLookPauseNs;
  } else {
    trace(emergency, RM_TRACE_YIELD, 0, holders.size(), now_ns);
    host_.told(emergency, EmergencyStep::TimeOver, holders.front(), {});
    quiesce(one, now_ns);
  }
}

// Their time is over.
void Emergencies::quiesce(Case& one, std::uint64_t now_ns) {
  const Emergency emergency = one.emergency;
  const Handle handle = emergency.handle;
  if (gates_.contains(handle)) {  // for another emergency
    one.due_ns = now_ns + kLookPauseNs;
    return;
  }
  one.due_ns = kNever;
  // The fence would end what the waiter has himself.
  if (one.mode == RM_WAIT_UPGRADE) return not_forced(emergency, "an upgrade fences nobody");
  if (!engine_.has_quiesce_hook(handle)) {
    return not_forced(emergency, "its owner has no quiesce hook");
  }
  if (next_attempt_ == 0) ++next_attempt_;
  Gate gate{.by = emergency, .attempt = next_attempt_++};
  gate.closed = fence_.close(handle);
  gates_[handle] = gate;
  const auto until = host_.quiesce(handle, gate.attempt, now_ns);
  if (until) {
    gates_[handle].due_ns = *until;
    return;
  }
  trace(emergency, RM_TRACE_QUIESCE, 0, static_cast<std::uint64_t>(ErrorCode::OwnerDied), now_ns);
  not_forced(emergency, "its owner is not there");
  finish(handle, now_ns);
}

bool Emergencies::answered(Handle handle, std::uint32_t attempt, std::optional<ErrorCode> error,
                           std::uint64_t now_ns) {
  const auto found = gates_.find(handle);
  if (found == gates_.end() || found->second.attempt != attempt || found->second.is_quiet) {
    return false;
  }
  Gate& gate = found->second;
  const Emergency by = gate.by;
  trace(by, RM_TRACE_QUIESCE, 0, static_cast<std::uint64_t>(error.value_or(ErrorCode{})), now_ns);
  if (error) {
    const Error why(*error);
    host_.told(by, EmergencyStep::NotQuiet, {}, why.message());
    not_forced(by, "it is not quiet");
    finish(handle, now_ns);
    return true;
  }
  host_.told(by, EmergencyStep::Quiet, {}, {});
  gate.is_quiet = true;
  if (end_holds(handle, gate, now_ns)) finish(handle, now_ns);
  return true;
}

bool Emergencies::end_holds(Handle handle, Gate& gate, std::uint64_t now_ns) {
  std::vector<Participant> ended;
  std::size_t holders = 0;
  engine_.for_each_holder(handle, [&](const Participant&) { ++holders; });
  constexpr std::size_t kLateComers = 8;
  ended.reserve(holders + kLateComers);
  switch (fence_.end_holds(handle, ended)) {
    case Fence::Outcome::Done:
      for (const Participant& who : ended) {
        trace(gate.by, RM_TRACE_FENCE, who.kind == HoldKind::Shared ? 1 : 0, who.context, now_ns);
        host_.told(gate.by, EmergencyStep::Fenced, who, {});
      }
      return true;
    case Fence::Outcome::NotNeeded:
      return true;
    case Fence::Outcome::LatchTaken:
      gate.due_ns = now_ns + kLatchPauseNs;
      return !is_wanted(handle);
    case Fence::Outcome::Unlisted:
      not_forced(gate.by, "a holder has more holds than are listed");
      return true;
    case Fence::Outcome::UsedUp:
      not_forced(gate.by, "it was taken from its holders as often as that can be");
      return true;
  }
  return true;
}

// The gate opens, whatever became of it; the others who wait for this look again.
void Emergencies::finish(Handle handle, std::uint64_t now_ns) {
  const auto gate = gates_.extract(handle);
  if (gate && gate.mapped().closed && host_.may_open(handle)) fence_.open(handle);
  for (auto& [link, one] : cases_) {
    if (one.emergency.handle == handle && !one.waits_on) one.due_ns = now_ns;
  }
}

void Emergencies::not_forced(const Emergency& emergency, std::string_view why) {
  const auto found = cases_.find(emergency.node_link);
  if (found != cases_.end() && found->second.emergency.sequence == emergency.sequence) {
    found->second.waits_on = true;
  }
  host_.told(emergency, EmergencyStep::NotForced, {}, why);
}

std::optional<std::uint64_t> Emergencies::proceed(std::uint64_t now_ns) {
  std::erase_if(cases_, [&](const auto& entry) { return !is_waiting(t_, entry.second.emergency); });
  std::vector<Handle> done;
  for (auto& [handle, gate] : gates_) {
    if (gate.due_ns > now_ns) continue;
    if (gate.is_quiet) {
      if (end_holds(handle, gate, now_ns)) done.push_back(handle);
      continue;
    }
    trace(gate.by, RM_TRACE_QUIESCE, 0, static_cast<std::uint64_t>(ErrorCode::TimedOut), now_ns);
    host_.told(gate.by, EmergencyStep::NotQuiet, {}, "no answer in time");
    not_forced(gate.by, "it is not quiet");
    done.push_back(handle);
  }
  for (const Handle handle : done) finish(handle, now_ns);
  std::uint64_t next = kNever;
  for (auto& [link, one] : cases_) {
    if (one.due_ns <= now_ns) step(one, now_ns);
    next = std::min(next, one.due_ns);
  }
  for (const auto& [handle, gate] : gates_) next = std::min(next, gate.due_ns);
  return next != kNever ? std::optional(next) : std::nullopt;
}

void Emergencies::trace(const Emergency& emergency, rm_trace_op operation, std::uint8_t mode,
                        std::uint64_t argument, std::uint64_t now_ns) noexcept {
  rm_context* const record = t_.context(emergency.context);
  if (!record || !recorder_.enabled(RM_TRACE_CONTENDED)) return;
  recorder_.record(*record, emergency.context, operation, mode, emergency.handle.slot(),
                   emergency.handle.generation(), argument, now_ns);
}

}  // namespace resmgr::lock
