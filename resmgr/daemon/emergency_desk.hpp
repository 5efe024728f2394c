// SPDX-License-Identifier: Apache-2.0
//
// EmergencyDesk: sees the Emergency requests of clients through.
//
// What it is: who may have something taken from others, by the policy of the driver that waits;
// and how those are reached whom it concerns: holders by the event YIELD, the owner by QUIESCE.
// Each step is in the audit log. What it is not: what follows when (lock/emergencies.hpp); nor a
// promise: who is not connected is not asked, and a successor knows of nothing until clients name
// their waits again, as they do from time to time.
//
// It closes the gate that the quiescer closes for the dead. Should somebody die meanwhile, the
// quiescer has looked at it, and opens it: hardware that was stopped while a holder lived is to be
// stopped once more when he is dead.
//
// Lifetime: borrows the state, the quiescer, the outbox. Thread-safety: one thread.
//
//   if (auto begun = desk.plead(client, request); !begun) return begun;
//   if (const auto next = desk.proceed(monotonic_ns())) arm_timer(*next);
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "resmgr/abi/requests.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/daemon/audit_log.hpp"
#include "resmgr/daemon/domain_state.hpp"
#include "resmgr/daemon/outbox.hpp"
#include "resmgr/daemon/policy.hpp"
#include "resmgr/daemon/quiescer.hpp"
#include "resmgr/lock/emergencies.hpp"

namespace resmgr::daemon {

class EmergencyDesk : private lock::EmergencyHost {
 public:
  EmergencyDesk(DomainState& state, Quiescer& quiescer) noexcept;

  void set_policy(std::shared_ptr<const Policy> policy) noexcept { policy_ = std::move(policy); }
  void set_audit(AuditLog* audit) noexcept { audit_ = audit; }
  void set_outbox(Outbox* outbox) noexcept { outbox_ = outbox; }

  /// A client waits. Errors: NotPermitted (it is none of the client's, or its driver may not),
  /// those of Emergencies::begin().
  Result<void> plead(const Client& client, const wire::EmergencyRequest& request);
  /// The owner's answer. False if it is none to a question of this desk.
  bool answered(Handle handle, const wire::SetStateRequest& answer);
  /// Does what is due by `now_ns`. Returns when to call it again; nothing if there is nothing to
  /// wait for.
  [[nodiscard]] std::optional<std::uint64_t> proceed(std::uint64_t now_ns);
  [[nodiscard]] bool idle() const noexcept { return emergencies_.idle(); }

 private:
  /// Who waits, for the audit log.
  struct Asker {
    pid_t pid = 0;
    uid_t uid = kNoUid;
    std::string driver = {};
  };
  // lock::EmergencyHost
  void ask(const lock::Emergency& emergency, const Participant& holder,
           std::uint64_t until_ns) override;
  [[nodiscard]] std::optional<std::uint64_t> quiesce(Handle handle, std::uint32_t attempt,
                                                     std::uint64_t now_ns) override;
  [[nodiscard]] bool may_open(Handle handle) override;
  void told(const lock::Emergency& emergency, lock::EmergencyStep step, const Participant& who,
            std::string_view detail) override;

  [[nodiscard]] Result<void> check(const Client& client, std::uint32_t driver) const;
  void record_refusal(const Asker& asker, std::string_view resource, const Error& why) const;
  [[nodiscard]] std::string driver_name(std::uint32_t driver) const;
  [[nodiscard]] std::string resource_name(Handle handle) const;
  void record(const AuditEntry& entry) const noexcept {
    if (audit_) audit_->record(entry);
  }

  DomainState& state_;
  Quiescer& quiescer_;
  std::shared_ptr<const Policy> policy_;
  AuditLog* audit_ = nullptr;
  Outbox* outbox_ = nullptr;
  lock::Emergencies emergencies_;
  std::unordered_map<std::uint32_t, Asker> askers_;  ///< by node
};

}  // namespace resmgr::daemon
