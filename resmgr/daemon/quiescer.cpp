// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/quiescer.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "resmgr/abi/events.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/base/random.hpp"

namespace resmgr::daemon {
namespace {

constexpr std::uint64_t kNever = ~std::uint64_t{0};
// Readers who live let go without a word; a process that hung up ends, or does not, likewise.
constexpr std::uint64_t kLookPause = 10'000'000;
constexpr std::uint64_t kLongestPause = 3'600'000'000'000;

std::uint64_t ns_of(std::chrono::nanoseconds time) noexcept {
  return static_cast<std::uint64_t>(time.count());
}

bool has_ended(const UniqueFd& process) noexcept {
  pollfd wait{process.get(), POLLIN, 0};
  return ::poll(&wait, 1, 0) > 0;
}

}  // namespace

// So that an answer to a predecessor's question is none to ours.
Quiescer::Quiescer(DomainState& state) noexcept
    : state_(state),
      policy_(std::make_shared<Policy>(Config(), uid_t{0})),
      next_number_(static_cast<std::uint32_t>(random_id())) {}

bool Quiescer::is_quarantined(Handle handle) const noexcept {
  const lock::StateWord word = state_.engine().word(handle.slot());
  return word.is_tenant(handle.generation()) && word.has(RM_WORD_QUARANTINED);
}

void Quiescer::look(std::span<const Departed> departed, std::span<const std::uint32_t> slots) {
  for (const std::uint32_t slot : slots) look_at(slot, departed);
}

void Quiescer::look_everywhere() {
  const std::uint32_t end = state_.view().slot_end();
  for (std::uint32_t slot = 0; slot < end; ++slot) look_at(slot, {});
}

void Quiescer::look_at(std::uint32_t slot, std::span<const Departed> departed) {
  const lock::StateWord word = state_.engine().word(slot);
  if (!word.has(RM_WORD_QUARANTINED) || word.has(RM_WORD_ABSENT)) return;
  const auto entry = state_.view().read(Handle(slot, word.generation()));
  if (!entry) return;
  // It is asked for when its drain is cancelled.
  if (entry->drained && entry->state != Lifecycle::Quarantined) return;
  begin(*entry, departed);
}

void Quiescer::begin(const registry::EntryCopy& entry, std::span<const Departed> departed) {
  const auto [at, is_new] = cases_.try_emplace(entry.handle);
  Case& one = at->second;
  if (is_new && !departed.empty()) one.culprit_pid = departed.back().pid;
  if (entry.state == Lifecycle::Orphaned) {
    if (one.stage == Stage::Closing || one.stage == Stage::Abandoned) return;
    const auto owner = std::ranges::find(departed, entry.owner_client, &Departed::client);
    const bool known = owner != departed.end();
    one.stage = Stage::Abandoned;
    one.due_ns = kNever;
    if (known && (owner->ended || owner->process)) {
      one.stage = Stage::Closing;
      one.due_ns = 0;
      if (!owner->ended) one.owner = owner->process;
    }
  } else if (is_new && entry.state == Lifecycle::Quarantined) {
    // A predecessor's; perhaps he did not come to tell those who wait.
    one.stage = Stage::Poisoned;
    one.due_ns = kNever;
    state_.recovery().poison(entry.handle);
  }
}

void Quiescer::owner_came(std::uint32_t client) {
  for (auto& [handle, one] : cases_) {
    const auto entry = state_.view().read(handle);
    if (!entry || entry->owner_client != client || one.stage == Stage::Poisoned) continue;
    if (entry->state != Lifecycle::Orphaned) adopted(handle);
  }
}

void Quiescer::adopted(Handle handle) {
  const auto found = cases_.find(handle);
  if (found == cases_.end()) return;
  found->second = {.culprit_pid = found->second.culprit_pid};
}

Result<void> Quiescer::answered(Handle handle, const wire::SetStateRequest& answer) {
  const auto found = cases_.find(handle);
  const auto entry = state_.view().read(handle);
  const auto was_asked = [&](const Case& one) {
    return one.last_number != 0 &&
           answer.attempt - one.first_number <= one.last_number - one.first_number;
  };
  if (!entry || found == cases_.end() || !was_asked(found->second)) {
    return fail(ErrorCode::InvalidArgument, "nobody asked for it to be quiet");
  }
  Case& one = found->second;
  if (one.stage == Stage::Poisoned) return fail(ErrorCode::Quarantined, "it is poisoned");
  if (answer.state == Lifecycle::Ready) {
    (void)lift(handle);
  } else if (one.stage == Stage::Asked && answer.attempt == one.last_number) {
    const Error error(answer.error.value_or(ErrorCode::System));
    failed(*entry, one, error.message(), monotonic_ns());
  }
  return {};
}

// The registry first: what it calls poisoned is so.
bool Quiescer::lift(Handle handle) {
  const auto entry = state_.view().read(handle);
  if (entry && entry->state == Lifecycle::Quarantined) {
    (void)state_.writer().set_lifecycle(handle, Lifecycle::Ready);
  }
  cases_.erase(handle);
  if (entry && entry->drained) return is_quarantined(handle);
  return state_.recovery().lift_quarantine(handle);
}

std::optional<std::uint64_t> Quiescer::proceed(std::uint64_t now_ns) {
  std::optional<std::uint64_t> next;
  std::vector<Handle> quiet;
  for (auto& [handle, one] : cases_) {
    const auto due = proceed_with(handle, one, now_ns);
    if (!due) {
      quiet.push_back(handle);
    } else if (*due != kNever) {
      next = std::min(next.value_or(*due), *due);
    }
  }
  for (const Handle handle : quiet) (void)lift(handle);
  return next;
}

std::optional<std::uint64_t> Quiescer::proceed_with(Handle handle, Case& one,
                                                    std::uint64_t now_ns) {
  const auto entry = state_.view().read(handle);
  if (!entry || !is_quarantined(handle)) return {};
  if (one.due_ns > now_ns) return one.due_ns;
  switch (one.stage) {
    case Stage::Waiting: {
      bool held = false;
      state_.engine().for_each_holder(handle, [&](const Participant&) { held = true; });
      if (held) {
        one.due_ns = now_ns + kLookPause;
        break;
      }
      // Whoever owns it now knows nothing of hardware.
      if (!state_.engine().has_quiesce_hook(handle)) return {};
      ask(*entry, one, now_ns);
      break;
    }
    case Stage::Asked:
      failed(*entry, one, "no answer in time", now_ns);
      break;
    case Stage::Poisoned:
      poison(*entry, one, now_ns);
      break;
    case Stage::Closing:
      if (!one.owner || has_ended(*one.owner)) return {};
      one.due_ns = now_ns + kLookPause;
      break;
    case Stage::Abandoned:
      break;
  }
  return one.due_ns;
}

void Quiescer::ask(const registry::EntryCopy& entry, Case& one, std::uint64_t now_ns) {
  if (++next_number_ == 0) ++next_number_;
  if (one.last_number == 0) one.first_number = next_number_;
  one.last_number = next_number_;
  ++one.attempts;
  one.stage = Stage::Asked;
  one.due_ns = now_ns + ns_of(policy_->grace().quiesce);
  std::array<std::byte, sizeof(rm_frame_header) + sizeof(rm_wire_quiesce)> event{};
  const auto bytes = wire::encode(wire::QuiesceEvent{.handle = entry.handle,
                                                     .reason = wire::QuiesceReason::HolderDied,
                                                     .deadline_ns = one.due_ns,
                                                     .attempt = one.last_number},
                                  event);
  // An owner who is not there has as long to come back as one who does not answer.
  if (bytes && outbox_) (void)outbox_->post(entry.owner_client, std::span(event).first(*bytes));
}

void Quiescer::failed(const registry::EntryCopy& entry, Case& one, std::string_view why,
                      std::uint64_t now_ns) {
  one.last_error = why;
  const Grace& grace = policy_->grace();
  if (one.attempts >= grace.quiesce_attempts) {
    poison(entry, one, now_ns);
    return;
  }
  one.stage = Stage::Waiting;
  const unsigned doublings = std::min(one.attempts - 1, 20u);
  one.due_ns = now_ns + std::min(ns_of(grace.quiesce_backoff) << doublings, kLongestPause);
}

// The registry first, which a successor believes.
void Quiescer::poison(const registry::EntryCopy& entry, Case& one, std::uint64_t now_ns) {
  const bool is_new = one.stage != Stage::Poisoned;
  one.stage = Stage::Poisoned;
  one.due_ns = kNever;
  // While its owner unregisters it the registry can't say so; he is about to be refused.
  if (!state_.writer().set_lifecycle(entry.handle, Lifecycle::Quarantined)) {
    one.due_ns = now_ns + kLookPause;
  }
  if (!is_new) return;
  state_.recovery().poison(entry.handle);
  const std::string who = one.culprit_pid != 0 ? "process " + std::to_string(one.culprit_pid)
                                               : std::string("a process");
  const std::string reason =
      who + " died with it, and " + std::to_string(one.attempts) +
      " attempts to make it quiet failed, the last one with: " + one.last_error;
  const auto driver = state_.view().drivers().name(entry.owner_driver);
  if (audit_) {
    audit_->record({.event = AuditEvent::Poisoned,
                    .pid = static_cast<pid_t>(one.culprit_pid),
                    .driver = driver ? std::string_view(driver->data()) : std::string_view(),
                    .resource = entry.name_text(),
                    .detail = reason});
  }
  if (outbox_) outbox_->warn(std::string(entry.name_text()) + " is poisoned: " + reason);
}

}  // namespace resmgr::daemon
