// SPDX-License-Identifier: Apache-2.0
//
// Policy: who may attach, as which driver, and what such a driver may register.
//
// What it is: the rules of a configuration, made ready to be asked for each client, each driver and
// each resource. What it is not: rights on resources, which their owners give; nor a counter: who
// asks tells how much there is already. Rules are tried in the order of the file, and the first one
// that is about whoever asks decides:
//
//   no [[attach]] at all   root and the daemon's own user may attach
//   some, none fits        refused
//   no [[driver]] at all   each client may be any driver and do anything as that
//   some, none fits        refused
//
// Operators are root, the daemon's own user, and whom [operators] names; they have to be let in
// like everybody. Otherwise root is no exception where there are rules. A rule that names users and
// groups is about those who are one of the users or in one of the groups; one that names neither,
// about everybody.
//
// Lifetime: a DriverPolicy keeps what it needs alive; a session asks for it once a driver, and it
// goes on as it is when the configuration is read again. Thread-safety: immutable; from any thread.
//
//   const Policy policy(config, ::geteuid());
//   if (auto ok = policy.may_attach(who); !ok) return ok;
//   auto driver = policy.driver("dma-edu", who);
//   if (auto ok = driver->may_register(type, class_name, priority, owned); !ok) return ok;
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/daemon/config.hpp"

namespace resmgr::daemon {

/// A process, as the kernel describes it.
struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::span<const gid_t> groups = {};  ///< supplementary ones
};

class DriverPolicy {
 public:
  /// For each resource of a batch: no allocation unless it is refused. `class_name` is empty for a
  /// resource of no class, which a rule that names classes allows by "*" alone. `owned`: how many
  /// resources the driver has. Errors: NotPermitted, CapacityExceeded (with the amounts); either
  /// with the rule as its detail.
  [[nodiscard]] Result<void> may_register(ResourceType type, std::string_view class_name,
                                          ResourcePriority priority, std::uint32_t owned) const;
  /// That of who may not be the driver any more.
  [[nodiscard]] static DriverPolicy nothing() {
    DriverPolicy policy;
    policy.may_register_ = policy.emergency_ = false;
    return policy;
  }
  /// In AcquisitionMode::Emergency.
  [[nodiscard]] bool may_use_emergency() const noexcept { return emergency_; }

 private:
  friend class Policy;
  explicit DriverPolicy(std::string_view file_name, const DriverRule& rule);
  DriverPolicy() = default;

  [[nodiscard]] bool allows_class(std::string_view class_name) const noexcept;
  [[nodiscard]] std::unexpected<Error> refuse(ErrorCode code, const char* what,
                                              std::uint32_t owned) const;

  /// The classes of a rule, for searches: sorted, and no stem begins with another one.
  struct Classes {
    std::vector<std::string> names;
    std::vector<std::string> stems;
  };

  std::uint32_t types_ = (1u << kResourceTypes) - 1;  ///< a bit each
  std::uint32_t max_resources_ = kMaxSlots;
  ResourcePriority max_priority_ = ResourcePriority::Critical;
  bool may_register_ = true;
  bool emergency_ = true;
  std::shared_ptr<const Classes> classes_;   ///< null: all
  std::shared_ptr<const std::string> rule_;  ///< "resmgrd.toml:12"; null: there are no rules
};

class Policy {
 public:
  /// `own_uid`: the user that the daemon runs as. REQUIRES: the configuration has no mistakes.
  explicit Policy(const Config& config, uid_t own_uid);

  /// Errors: NotPermitted, with the rule as its detail.
  [[nodiscard]] Result<void> may_attach(const Identity& who) const;
  /// May change what is others'. Errors: NotPermitted, with the reason as its detail.
  [[nodiscard]] Result<void> may_operate(const Identity& who) const;
  /// What `who` may do as a driver of that name. Errors: NotPermitted (may not be it), with the
  /// reason as its detail.
  [[nodiscard]] Result<DriverPolicy> driver(std::string_view name, const Identity& who) const;

  /// What the driver of that name may have, or all together, where it is empty. No limit where no
  /// rule is about it.
  [[nodiscard]] ResourceBudget budget(std::string_view driver, ResourceType type) const noexcept;

  [[nodiscard]] const Limits& limits() const noexcept { return limits_; }
  [[nodiscard]] const Grace& grace() const noexcept { return grace_; }

 private:
  struct NamedRule {
    std::string pattern;
    Whom whom;
    std::uint32_t line;
    DriverPolicy policy;
  };

  std::string file_name_;
  uid_t own_uid_;
  Limits limits_;
  Grace grace_;
  Whom operators_;
  std::vector<AttachRule> attach_;
  std::vector<NamedRule> drivers_;
  std::vector<BudgetRule> budgets_;
};

}  // namespace resmgr::daemon
