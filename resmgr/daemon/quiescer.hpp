// SPDX-License-Identifier: Apache-2.0
//
// Quiescer: sees to it that hardware is quiet before it changes hands.
//
// What it is: for each resource whose holder died and whose owner has a quiesce hook, the attempts
// to have it made quiet: the owner is asked when nobody has the resource any more, asked again with
// pauses that double, and the resource is poisoned after the last attempt. What it is not: what
// keeps others out; that is QUARANTINED in the state word, set by the step that ended the dead
// one's hold. So nothing has to be kept for a successor: he finds the words, and begins anew; what
// was poisoned the registry says.
//
// A dead owner's devices are stopped by the kernel, when it closes what his process had open: his
// quarantine ends with his process, at the latest when the resource is destroyed. A process that
// hung up but lives may have its devices still; should the worker be replaced meanwhile, its
// quarantine ends when it is adopted or destroyed.
//
// Lifetime: borrows the state and the outbox. Thread-safety: one thread.
//
//   quiescer.look(dead, recovery.quarantined());
//   if (const auto next = quiescer.proceed(monotonic_ns())) arm_timer(*next);
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "resmgr/abi/requests.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/audit_log.hpp"
#include "resmgr/daemon/domain_state.hpp"
#include "resmgr/daemon/outbox.hpp"
#include "resmgr/daemon/policy.hpp"

namespace resmgr::daemon {

/// One who died, or whose connection ended.
struct Departed {
  std::uint32_t client = 0;  ///< its place
  std::uint32_t pid = 0;
  std::shared_ptr<const UniqueFd> process = {};  ///< its pidfd, if it may live; null: not known
  bool ended = false;                            ///< nothing of it is open any more
};

class Quiescer {
 public:
  explicit Quiescer(DomainState& state) noexcept;

  void set_policy(std::shared_ptr<const Policy> policy) noexcept { policy_ = std::move(policy); }
  void set_audit(AuditLog* audit) noexcept { audit_ = audit; }
  void set_outbox(Outbox* outbox) noexcept { outbox_ = outbox; }

  /// Looks whether these slots are quarantined, and anything has to be done about it. `departed`:
  /// those who may have had it, or owned it; the last one first in question.
  void look(std::span<const Departed> departed, std::span<const std::uint32_t> slots);
  /// The same for all there are, where nobody knows which.
  void look_everywhere();
  /// The owner is there, perhaps again, and is asked at once, as if for the first time.
  void owner_came(std::uint32_t client);
  void adopted(Handle handle);
  /// Its owner's answer. Errors: InvalidArgument (he was not asked, or not by that number),
  /// Quarantined (it is poisoned: an operator has to say that it is quiet).
  Result<void> answered(Handle handle, const wire::SetStateRequest& answer);
  /// It is quiet, whoever says so; but what is being drained stays closed. False if it was not
  /// quarantined.
  bool lift(Handle handle);
  /// Does what is due by `now_ns`. Returns when to call it again; nothing if there is nothing to
  /// wait for.
  [[nodiscard]] std::optional<std::uint64_t> proceed(std::uint64_t now_ns);
  /// Whether it is quarantined for one who died, as far as is known.
  [[nodiscard]] bool concerns(Handle handle) const noexcept { return cases_.contains(handle); }
  /// Whether proceed() has anything to look at.
  [[nodiscard]] bool idle() const noexcept { return cases_.empty(); }

 private:
  enum class Stage : std::uint8_t {
    Waiting,    ///< for those who still have it, or for the time of the next attempt
    Asked,      ///< until the deadline
    Poisoned,   ///< for an operator
    Closing,    ///< for the end of its owner's process
    Abandoned,  ///< for whoever adopts or destroys it
  };
  struct Case {
    Stage stage = Stage::Waiting;
    std::uint64_t due_ns = 0;
    std::uint32_t attempts = 0;
    std::uint32_t first_number = 0;  ///< of the first attempt
    std::uint32_t last_number = 0;   ///< of the last one; 0: not asked yet
    std::uint32_t culprit_pid = 0;   ///< who died; 0: not known
    std::string last_error = {};
    std::shared_ptr<const UniqueFd> owner = {};
  };

  [[nodiscard]] bool is_quarantined(Handle handle) const noexcept;
  void look_at(std::uint32_t slot, std::span<const Departed> departed);
  void begin(const registry::EntryCopy& entry, std::span<const Departed> departed);
  /// When it is due again; nothing: it is over.
  [[nodiscard]] std::optional<std::uint64_t> proceed_with(Handle handle, Case& one,
                                                          std::uint64_t now_ns);
  void ask(const registry::EntryCopy& entry, Case& one, std::uint64_t now_ns);
  void failed(const registry::EntryCopy& entry, Case& one, std::string_view why,
              std::uint64_t now_ns);
  void poison(const registry::EntryCopy& entry, Case& one, std::uint64_t now_ns);

  DomainState& state_;
  std::shared_ptr<const Policy> policy_;
  AuditLog* audit_ = nullptr;
  Outbox* outbox_ = nullptr;
  std::unordered_map<Handle, Case> cases_;
  std::uint32_t next_number_;
};

}  // namespace resmgr::daemon
