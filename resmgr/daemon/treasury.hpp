// SPDX-License-Identifier: Apache-2.0
//
// Treasury: what the policy gives drivers, in the domain's book.
//
// What it is: the rules of the configuration as rows of the book, for all drivers together and for
// each that has come; what operators set besides; and the audit log's lines of overdrafts. What it
// is not: permission to ask; see Clerk.
//
// What an operator set stays, in this worker and those after it, until the configuration has
// another rule for that row than it had.
//
// Lifetime: borrows the state. Thread-safety: one thread.
//
//   treasury.set_policy(policy);
//   treasury.driver_came(number);
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "resmgr/base/budgets.hpp"
#include "resmgr/budget/pressure_watch.hpp"
#include "resmgr/daemon/audit_log.hpp"
#include "resmgr/daemon/domain_state.hpp"
#include "resmgr/daemon/outbox.hpp"
#include "resmgr/daemon/policy.hpp"

namespace resmgr::daemon {

class Treasury {
 public:
  explicit Treasury(DomainState& state);
  Treasury(const Treasury&) = delete;
  Treasury& operator=(const Treasury&) = delete;
  ~Treasury();

  void set_audit(AuditLog* audit) noexcept { audit_ = audit; }
  /// From now on: for all together, and for each driver that has a name already.
  void set_policy(std::shared_ptr<const Policy> policy);
  /// A driver that may have got its name just now.
  void driver_came(std::uint32_t driver);

  void set_outbox(Outbox* outbox) noexcept { outbox_ = outbox; }
  /// Somebody waits for so much: all clients are asked to give back what they can do without, but
  /// not more often than makes sense.
  void need(ResourceType type, std::uint64_t amount, std::uint64_t now_ns);

  /// The memory around the daemon counts as well, from the next look_again() on.
  void observe(budget::MemoryObserver observer) noexcept { watch_.observe(std::move(observer)); }
  /// As of PressureWatch.
  [[nodiscard]] int stall_fd() const noexcept { return watch_.stall_fd(); }
  void note_stall() noexcept { watch_.note_stall(); }
  /// Looks whether what was scarce is so still. Returns when to do so again; nothing if nothing is.
  [[nodiscard]] std::optional<std::uint64_t> look_again(std::uint64_t now_ns) {
    pressed_ = false;
    return watch_.look_again(now_ns);
  }
  /// Whether something became scarce since it was looked at: look_again() has to be called.
  [[nodiscard]] bool is_pressed() const noexcept { return pressed_; }

  [[nodiscard]] budget::Book& book() noexcept { return state_.book(); }

 private:
  void apply(std::uint32_t driver, const Policy* before);
  void record(const budget::Overdraft& overdraft) const noexcept;
  [[nodiscard]] std::string name_of(std::uint32_t driver) const;

  DomainState& state_;
  std::shared_ptr<const Policy> policy_;  ///< null: none yet, and no rules
  void tell_pressure(const budget::PressureWatch::Change& change);
  template <typename Event>
  void post_to_all(const Event& event);

  budget::PressureWatch watch_;
  bool pressed_ = false;
  AuditLog* audit_ = nullptr;
  Outbox* outbox_ = nullptr;
  struct Asked {
    std::uint64_t amount = 0;
    std::uint64_t at_ns = 0;
  };
  std::array<Asked, kResourceTypes> asked_{};  ///< of clients, last
};

}  // namespace resmgr::daemon
