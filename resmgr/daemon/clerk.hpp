// SPDX-License-Identifier: Apache-2.0
//
// Clerk: answers what clients ask of a domain's authority, and buries the dead.
//
// What it is: a frame in, a frame out; who may do what; the files behind resources, which are
// handed out only when rights allow. What it is not: a socket, nor a detector of death: who sends,
// and that he died, is the caller's knowledge. A client is known by his connection; nothing that he
// says of himself is believed, and nothing that the lock region says of him but in what concerns
// locks.
//
// No request waits for anybody: what would, is refused with WouldBlock or InUse, and the client
// asks again. A refused request changes nothing.
//
// Lifetime: borrows the state. Thread-safety: one thread.
//
//   auto client = clerk.admit(pid, start_time).value();
//   std::vector<std::byte> out(RM_WIRE_MAX_FRAME);
//   Clerk::Answer answer = clerk.answer(client, frame, fds, out);
//   send(socket, out.first(answer.bytes), answer.fds);
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "resmgr/abi/frame.hpp"
#include "resmgr/abi/registration.hpp"
#include "resmgr/abi/replies.hpp"
#include "resmgr/abi/requests.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/audit_log.hpp"
#include "resmgr/daemon/domain_state.hpp"
#include "resmgr/daemon/emergency_desk.hpp"
#include "resmgr/daemon/herald.hpp"
#include "resmgr/daemon/ledger.hpp"
#include "resmgr/daemon/policy.hpp"
#include "resmgr/daemon/pool_care.hpp"
#include "resmgr/daemon/quiescer.hpp"
#include "resmgr/daemon/treasury.hpp"

namespace resmgr::daemon {

/// A driver that a client speaks for.
struct Role {
  std::uint32_t number = 0;  ///< 0: none, for what has no driver
  DriverPolicy policy;
  std::uint32_t resources = 0;  ///< that it owns
};

/// One client, as its session keeps it.
struct Client {
  std::uint32_t pid = 0;         ///< as the kernel says
  std::uint64_t start_time = 0;  ///< of that process
  int pidfd = -1;                ///< the session's, borrowed
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};
  std::uint32_t index = 0;  ///< of its record in the lock region, 0: it has no place yet
  std::uint64_t sequence = 0;
  std::vector<Role> roles = {};
  std::uint32_t resources = 0;  ///< that it owns, of whichever driver
  std::uint32_t files = 0;      ///< kept behind them
  bool greeted = false;
  bool reads_events = false;
  bool hears_of_owners = false;  ///< wants to know what becomes of what the dead owned
  bool returned = false;         ///< to the place that it had before
  bool settled = false;          ///< has asked for something since it was greeted
  bool left = false;             ///< said goodbye, or broke the protocol
  bool broke_protocol = false;

  [[nodiscard]] Identity identity() const noexcept { return {uid, gid, groups}; }
  /// Null if it does not speak for that driver.
  [[nodiscard]] Role* role(std::uint32_t driver) noexcept {
    const auto found = std::ranges::find(roles, driver, &Role::number);
    return found == roles.end() ? nullptr : &*found;
  }
};

class Clerk {
 public:
  struct Answer {
    std::size_t bytes = 0;  ///< of the frame in `out`; 0: nothing can be answered to that
    std::array<UniqueFd, RM_WIRE_REGION_FDS> fds = {};
    std::size_t fd_count = 0;
  };

  /// `version`: what Welcome tells, static text. `ledger`: what is told of that a successor needs.
  Clerk(DomainState& state, std::string_view version, Ledger& ledger = Ledger::none())
      : state_(state),
        version_(version),
        ledger_(ledger),
        quiescer_(state),
        desk_(state, quiescer_),
        treasury_(state),
        herald_(state) {
    places_.resize(state.locks().tables().client_count);
  }

  /// From now on. Without it the daemon's own user may do everything, and nobody else anything.
  void set_policy(std::shared_ptr<const Policy> policy) {
    policy_ = std::move(policy);
    quiescer_.set_policy(policy_);
    desk_.set_policy(policy_);
    treasury_.set_policy(policy_);
  }
  /// Asks the policy anew what the client's drivers may. One that it may not be any more registers
  /// nothing; what it has stays.
  void refresh_roles(Client& client) const;
  /// Null: nothing is written down.
  void set_audit(AuditLog* audit) noexcept {
    audit_ = audit;
    quiescer_.set_audit(audit);
    desk_.set_audit(audit);
    treasury_.set_audit(audit);
  }
  /// Null: clients are told nothing unasked.
  void set_outbox(Outbox* outbox) noexcept {
    quiescer_.set_outbox(outbox);
    desk_.set_outbox(outbox);
    treasury_.set_outbox(outbox);
    herald_.set_outbox(outbox);
  }

  /// Whether the process in that place has the lock region still, as far as the kernel can tell: it
  /// goes on with what it holds, whatever became of its connection. One that called exec has not.
  [[nodiscard]] bool has_region(std::uint32_t index) const noexcept;

  // What a predecessor left: before anything else.
  /// A file behind a resource; of one that is not there any more it is dropped.
  void inherit(Handle handle, UniqueFd file);
  /// A client that has a place and no connection: the same process may come back to it.
  void inherit(const Client& client);
  /// One that had a place and did not come back in time, or was leaving. `pidfd`: of its process,
  /// which may live and have devices open; -1 if it has ended.
  void bury_absent(std::uint32_t index, int pidfd = -1);
  /// Resources that lost their owner: their grace begins anew. Transient ones have none, Persistent
  /// ones are kept until they are adopted.
  void inherit_orphans();
  /// A driver that was being drained, whether or not it owns anything; one that there is not is
  /// left out.
  void inherit_drain(std::uint32_t driver);
  /// All that are being drained, those of the registry too: what they own stays closed, and so does
  /// what they register.
  void inherit_drains();
  /// Resources that are quarantined: their owners are asked anew, when they are back.
  void inherit_quarantine() { quiescer_.look_everywhere(); }

  /// Serves one frame. `fds` came with it; those that are kept are moved from. REQUIRES: `out` has
  /// room for RM_WIRE_MAX_FRAME bytes.
  [[nodiscard]] Answer answer(Client& client, std::span<const std::byte> frame,
                              std::span<UniqueFd> fds, std::span<std::byte> out);

  /// The client died, or its connection ended for good: its contexts are dead, what it held goes to
  /// who waits, what it owned is ORPHANED, what it had begun to unregister stays. Its `pidfd` says
  /// whether its process lives, and may have devices open; without one it does not.
  void bury(const Client& client);
  /// Goes on where something living had to let go first. Returns whether anything is left; call it
  /// again then, some milliseconds later.
  [[nodiscard]] bool recover();
  /// Destroys orphans whose grace is over by `now_ns`. Returns when to call it again; nothing if
  /// there are no orphans.
  [[nodiscard]] std::optional<std::uint64_t> destroy_orphans(std::uint64_t now_ns);
  /// Has hardware made quiet that the dead had in use. Returns when to call it again; nothing if
  /// there is none.
  [[nodiscard]] std::optional<std::uint64_t> quiesce(std::uint64_t now_ns) {
    return quiescer_.proceed(now_ns);
  }
  [[nodiscard]] bool is_quiescing() const noexcept { return !quiescer_.idle(); }
  /// Sees emergencies through. Returns when to call it again; nothing if that needs nobody.
  [[nodiscard]] std::optional<std::uint64_t> see_to_emergencies(std::uint64_t now_ns) {
    return desk_.proceed(now_ns);
  }
  [[nodiscard]] bool has_emergencies() const noexcept { return !desk_.idle(); }
  /// Looks after budgets that are scarce. Returns when to call it again; nothing if none is.
  [[nodiscard]] std::optional<std::uint64_t> look_at_pressure(std::uint64_t now_ns) {
    return treasury_.look_again(now_ns);
  }
  [[nodiscard]] bool has_pressure() const noexcept { return treasury_.is_pressed(); }
  /// What the policy gives drivers, and what becomes scarce of it.
  [[nodiscard]] Treasury& treasury() noexcept { return treasury_; }
  /// An operator says that the hardware behind it is quiet: poisoned or not, it is given to who
  /// waits for it. Errors: StaleHandle, InvalidArgument (it is not quarantined).
  Result<void> unpoison(const Client& by, Handle handle);

 private:
  using Reply = wire::ResultReply;
  /// A place for a new client. Errors: CapacityExceeded.
  Result<void> admit(Client& client);
  [[nodiscard]] bool take_place_back(Client& client, const wire::ClientPlace& before);
  [[nodiscard]] Result<Answer> serve(Client& client, const wire::Frame& frame,
                                     std::span<UniqueFd> fds, std::span<std::byte> out);
  [[nodiscard]] Result<Answer> hello(Client& client, const wire::Frame& frame,
                                     std::span<std::byte> out);
  [[nodiscard]] Result<Answer> register_all(Client& client, const wire::Frame& frame,
                                            std::span<UniqueFd> fds, std::span<std::byte> out);
  /// A slot with all that is to be behind it; not found yet.
  [[nodiscard]] Result<registry::PreparedSlot> prepare(Client& client, const wire::Record& record,
                                                       std::span<UniqueFd> fds);
  void arm(const registry::PreparedSlot& prepared, const wire::Record& record);
  void abandon(Client& client, const registry::PreparedSlot& prepared, const wire::Record& record);
  void uncount(Client& client, Handle handle, std::uint32_t driver);
  using Outcomes = std::vector<wire::RegistrationOutcome>;
  void register_one(Client& client, const wire::Record& record, std::span<UniqueFd> fds,
                    Outcomes& outcomes);
  void register_two(Client& client, const wire::Record& record, const Result<wire::Record>& needed,
                    std::span<UniqueFd> fds, Outcomes& outcomes);
  [[nodiscard]] static Result<void> check_file(const UniqueFd& fd, std::uint64_t bytes) noexcept;
  [[nodiscard]] Result<void> check_registration(Client& client, const Role& role,
                                                const Description& description) const;
  /// An orphan of that name, if the client may have it and it is what is registered.
  [[nodiscard]] Result<Handle> adopt(Client& client, const wire::Record& record,
                                     std::span<UniqueFd> fds);
  [[nodiscard]] Result<Role*> take_role(Client& client, std::string_view name);
  void count_owned(Client& client) const;
  void orphan_one(const registry::EntryCopy& entry, std::uint64_t now_ns);
  void tell(AuditEvent event, const Client& client, std::string_view resource,
            std::string_view detail = {}) const noexcept;
  /// What a predecessor kept, if it is a pool.
  void note_pool(Handle handle);
  void keep_file(Handle handle, UniqueFd file);
  void drop_file(Handle handle);
  [[nodiscard]] Result<Reply> unregister(Client& client, const wire::Frame& frame);
  Result<void> finish_unregister(Client& client, Handle handle);
  [[nodiscard]] Result<void> finish_held(const Client& client, Handle handle);
  [[nodiscard]] Result<void> finish_drained(Handle handle);
  [[nodiscard]] Result<Reply> share(const Client& client, const wire::Frame& frame);
  [[nodiscard]] Result<Reply> depend(const Client& client, const wire::Frame& frame);
  [[nodiscard]] Result<Reply> set_state(Client& client, const wire::Frame& frame,
                                        std::span<UniqueFd> fds);
  [[nodiscard]] Result<UniqueFd> open_for(const Client& client,
                                          const wire::OpenFdRequest& request) const;
  [[nodiscard]] Result<Answer> open_fd(const Client& client, const wire::Frame& frame,
                                       std::span<std::byte> out);
  [[nodiscard]] Result<Reply> plead(const Client& client, const wire::Frame& frame);
  [[nodiscard]] Result<Reply> intern_driver(Client& client, const wire::Frame& frame);

  // clerk_budgets.cpp
  [[nodiscard]] static Result<void> check_urgency(const Role& role, Urgency urgency);
  /// Errors: NotPermitted (another client's), those of take_role().
  [[nodiscard]] Result<Role*> role_for(Client& client, std::uint32_t driver);
  [[nodiscard]] Result<Reply> draw(Client& client, const wire::Frame& frame);
  [[nodiscard]] Result<Reply> return_credits(const Client& client, const wire::Frame& frame);
  [[nodiscard]] Result<Reply> need(Client& client, const wire::Frame& frame);
  [[nodiscard]] Result<Reply> set_budget(const Client& client, const wire::Frame& frame);

  // clerk_operators.cpp
  /// What an operator is about to do, for the audit log.
  struct Deed {
    std::string what;
    std::string resource = {};
    std::string_view driver = {};
  };
  [[nodiscard]] Result<Reply> operate(const Client& client, const wire::Frame& frame);
  [[nodiscard]] Result<Reply> perform(const Client& client, const Deed& deed,
                                      const std::function<Result<Reply>()>& act);
  [[nodiscard]] std::string name_of(Handle handle) const;
  [[nodiscard]] Result<Reply> share_for_owner(const Client& client,
                                              const wire::ShareRequest& request);
  [[nodiscard]] std::string driver_of(const wire::ShareRequest& request) const;
  [[nodiscard]] Result<Reply> give_rights(const wire::ShareRequest& request);
  [[nodiscard]] Result<Reply> take_rights(const wire::ShareRequest& request);
  [[nodiscard]] Result<Reply> repair(Handle handle);
  [[nodiscard]] Result<Reply> lift_poison(const Client& client, Handle handle);
  [[nodiscard]] Result<Reply> drain(const wire::DrainRequest& request);
  void shut(const registry::EntryCopy& entry);
  void reopen(const registry::EntryCopy& entry);
  /// It was closed before it was published, if its driver is being drained; says so.
  void note_drained(Handle handle, std::uint32_t driver);
  [[nodiscard]] std::vector<registry::EntryCopy> owned_by(std::uint32_t driver) const;

  /// The entry, if the client owns the resource. Errors: StaleHandle, NotPermitted.
  [[nodiscard]] Result<registry::EntryCopy> owned(const Client& client, Handle handle) const;
  /// What any driver of the client may do. Errors: those of read_rights().
  [[nodiscard]] Result<Rights> rights_of(const Client& client,
                                         const registry::EntryCopy& entry) const;
  /// False: something living has to let go first.
  bool recover_locks();
  /// Their places are free.
  void forget_the_dying();
  void orphan(const Client& client);

  DomainState& state_;
  std::string_view version_;
  Ledger& ledger_;
  Quiescer quiescer_;
  EmergencyDesk desk_;
  Treasury treasury_;
  Herald herald_;
  std::unordered_map<Handle, UniqueFd> files_;
  PoolCare pools_{files_};
  /// Whose the records of the lock region are: there any client could write it.
  struct Place {
    std::uint64_t sequence = 0;
    bool taken = false;
  };
  std::vector<Place> places_;
  std::unordered_map<std::uint32_t, Client> absent_;  ///< by index
  std::vector<Client> dying_;                         ///< their recovery isn't complete
  std::vector<Departed> departed_;                    ///< the same
  std::unordered_set<std::uint32_t> drained_;         ///< drivers
  struct Orphan {
    Handle handle;
    std::uint64_t deadline_ns = 0;
  };
  std::vector<Orphan> orphans_;
  std::shared_ptr<const Policy> policy_ = std::make_shared<Policy>(Config(), ::geteuid());
  AuditLog* audit_ = nullptr;
};

}  // namespace resmgr::daemon
