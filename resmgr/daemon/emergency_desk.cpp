// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/emergency_desk.hpp"

#include <array>
#include <utility>

#include "resmgr/abi/events.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/base/random.hpp"
#include "resmgr/daemon/clerk.hpp"

namespace resmgr::daemon {
namespace {

std::string text_of(const Participant& who) {
  std::string text = "process " + std::to_string(who.pid);
  if (who.driver[0] != '\0') text += " (" + std::string(who.driver.data()) + ")";
  return text;
}

}  // namespace

// The first number is a random one, so that an answer to a predecessor's question is none to ours.
EmergencyDesk::EmergencyDesk(DomainState& state, Quiescer& quiescer) noexcept
    : state_(state),
      quiescer_(quiescer),
      policy_(std::make_shared<Policy>(Config(), uid_t{0})),
      emergencies_(state.engine(), *this, static_cast<std::uint32_t>(random_id()) | 1u) {}

std::string EmergencyDesk::driver_name(std::uint32_t driver) const {
  if (driver == 0) return {};
  const auto name = state_.view().drivers().name(driver);
  return name ? std::string(name->data()) : std::string();
}

std::string EmergencyDesk::resource_name(Handle handle) const {
  const auto entry = state_.view().read(handle);
  return entry ? std::string(entry->name_text()) : std::string();
}

// As whom it waits the region says, where any client could write it: what counts is what this
// client may as that.
Result<void> EmergencyDesk::check(const Client& client, std::uint32_t driver) const {
  const auto role = std::ranges::find(client.roles, driver, &Role::number);
  bool may = false;
  if (role != client.roles.end()) {
    may = role->policy.may_use_emergency();
  } else if (driver == 0) {
    const auto allowed = policy_->driver("", client.identity());
    if (!allowed) return std::unexpected(allowed.error());
    may = allowed->may_use_emergency();
  }
  if (!may) return fail(ErrorCode::NotPermitted, "its driver may not have it taken from others");
  return {};
}

Result<void> EmergencyDesk::plead(const Client& client, const wire::EmergencyRequest& request) {
  const rm_context* const record = state_.locks().tables().context(request.context);
  const std::uint64_t state = record ? load(record->state) : 0;
  if ((state & RM_CONTEXT_STATE_MASK) != RM_CONTEXT_LIVE ||
      lock::client_of(state) != client.index) {
    return fail(ErrorCode::NotPermitted, "another client's wait");
  }
  const std::uint32_t driver = load_relaxed(record->driver);
  const Asker asker{
      .pid = static_cast<pid_t>(client.pid), .uid = client.uid, .driver = driver_name(driver)};
  if (auto allowed = check(client, driver); !allowed) {
    const std::string resource = resource_name(request.handle);
    record_refusal(asker, resource, allowed.error());
    return allowed;
  }
  const lock::Emergency emergency{.handle = request.handle.with_tenure(0),
                                  .node_link = request.node_link,
                                  .sequence = request.sequence,
                                  .context = request.context,
                                  .yield_ns = request.yield_ns};
  if (!lock::is_waiting(state_.engine().tables(), emergency)) {
    return fail(ErrorCode::InvalidArgument, "no such emergency");
  }
  askers_[request.node_link] = asker;
  return emergencies_.begin(emergency, monotonic_ns());
}

void EmergencyDesk::record_refusal(const Asker& asker, std::string_view resource,
                                   const Error& why) const {
  const std::string detail = "emergency: " + why.message();
  record({.event = AuditEvent::Refused,
          .pid = asker.pid,
          .uid = asker.uid,
          .driver = asker.driver,
          .resource = resource,
          .detail = detail});
}

bool EmergencyDesk::answered(Handle handle, const wire::SetStateRequest& answer) {
  const auto error = answer.state == Lifecycle::Ready
                         ? std::nullopt
                         : std::optional(answer.error.value_or(ErrorCode::System));
  return emergencies_.answered(handle, answer.attempt, error, monotonic_ns());
}

std::optional<std::uint64_t> EmergencyDesk::proceed(std::uint64_t now_ns) {
  const auto next = emergencies_.proceed(now_ns);
  std::erase_if(askers_, [&](const auto& entry) { return !emergencies_.knows(entry.first); });
  return next;
}

void EmergencyDesk::ask(const lock::Emergency& emergency, const Participant& holder,
                        std::uint64_t until_ns) {
  const lock::LockTables& tables = state_.locks().tables();
  const rm_context* const context = tables.context(holder.context);
  if (!context || !outbox_) return;
  std::array<std::byte, sizeof(rm_frame_header) + sizeof(rm_wire_yield)> event{};
  const auto bytes = wire::encode(lock::yield_event(tables, emergency, holder, until_ns), event);
  if (!bytes) return;
  (void)outbox_->post(lock::client_of(load(context->state)), std::span(event).first(*bytes));
}

std::optional<std::uint64_t> EmergencyDesk::quiesce(Handle handle, std::uint32_t attempt,
                                                    std::uint64_t now_ns) {
  const auto entry = state_.view().read(handle);
  if (!entry || entry->state == Lifecycle::Orphaned || !outbox_) return {};
  const std::uint64_t until = now_ns + static_cast<std::uint64_t>(policy_->grace().quiesce.count());
  std::array<std::byte, sizeof(rm_frame_header) + sizeof(rm_wire_quiesce)> event{};
  const auto bytes = wire::encode(wire::QuiesceEvent{.handle = entry->handle,
                                                     .reason = wire::QuiesceReason::Revoked,
                                                     .deadline_ns = until,
                                                     .attempt = attempt},
                                  event);
  if (!bytes || !outbox_->post(entry->owner_client, std::span(event).first(*bytes))) return {};
  return until;
}

bool EmergencyDesk::may_open(Handle handle) {
  const auto entry = state_.view().read(handle);
  return entry && !entry->drained && !quiescer_.concerns(handle);
}

void EmergencyDesk::told(const lock::Emergency& emergency, lock::EmergencyStep step,
                         const Participant& who, std::string_view detail) {
  if (!audit_) return;
  const auto found = askers_.find(emergency.node_link);
  const Asker asker = found != askers_.end() ? found->second : Asker{};
  const std::string resource = resource_name(emergency.handle);
  if (step == lock::EmergencyStep::Fenced) {
    const std::string by = "taken for an emergency of process " + std::to_string(asker.pid) +
                           (asker.driver.empty() ? "" : " (" + asker.driver + ")");
    record({.event = AuditEvent::Revoked,
            .pid = static_cast<pid_t>(who.pid),
            .uid = asker.uid,
            .driver = who.driver.data(),
            .resource = resource,
            .detail = by});
    return;
  }
  std::string what;
  switch (step) {
    case lock::EmergencyStep::Asked:
      what = "asks " + text_of(who) + " to let go";
      break;
    case lock::EmergencyStep::TimeOver:
      what = "the time is over, and " + text_of(who) + " has it still";
      break;
    case lock::EmergencyStep::Quiet:
      what = "its owner made it quiet";
      break;
    case lock::EmergencyStep::NotQuiet:
      what = "its owner did not make it quiet: " + std::string(detail);
      break;
    case lock::EmergencyStep::NotForced:
      what = "nobody is forced: " + std::string(detail);
      break;
    case lock::EmergencyStep::Fenced:
      break;
  }
  record({.event = AuditEvent::Emergency,
          .pid = asker.pid,
          .uid = asker.uid,
          .driver = asker.driver,
          .resource = resource,
          .detail = what});
}

}  // namespace resmgr::daemon
