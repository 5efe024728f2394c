// SPDX-License-Identifier: Apache-2.0
//
// Domain: one resource manager's state as this process sees it: both regions, the lock engine, the
// contexts and callbacks of this process, and, embedded, the authority.
//
// What it is: what hal::ResourceManager is a face of. What it is not: a public interface. The
// registry is changed by its authority; lookups and everything about locks ask nobody.
//
// Lifetime: shared by the manager, by contexts that authors opened, and weakly by WeakResource and
// by threads. close() ends its use; memory stays mapped until the last of them goes.
// Thread-safety: all functions from any thread; nobody may be inside another call during close().
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "resmgr/abi/budget_requests.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/log.hpp"
#include "resmgr/base/wanted.hpp"
#include "resmgr/budget/profile.hpp"
#include "resmgr/client/acquire_all.hpp"
#include "resmgr/client/authority.hpp"
#include "resmgr/client/callback_list.hpp"
#include "resmgr/client/credits.hpp"
#include "resmgr/client/domain_gate.hpp"
#include "resmgr/client/doorbell.hpp"
#include "resmgr/client/hooks.hpp"
#include "resmgr/client/link.hpp"
#include "resmgr/client/memory.hpp"
#include "resmgr/client/observation.hpp"
#include "resmgr/client/pool_list.hpp"
#include "resmgr/client/revocations.hpp"
#include "resmgr/client/thread_contexts.hpp"
#include "resmgr/client/ticker.hpp"
#include "resmgr/lock/context_table.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/region.hpp"
#include "resmgr/pool/words.hpp"
#include "resmgr/registry/region.hpp"
#include "resmgr/registry/view.hpp"

namespace resmgr::client {

struct DomainOptions {
  std::string name;
  Capacities capacities = {};
  /// Other than None: capacities, and budgets to begin with, are the profile's for this machine.
  budget::ProfileChoice profile = budget::ProfileChoice::None;
  bool compact_handles = false;
  OrderPolicy order_policy = OrderPolicy::Warn;
  AsyncPath async_path = AsyncPath::Auto;
  LogSink log;
};

/// What comes with a registration besides its description.
struct Registration {
  Description description;  ///< views what the caller keeps for the call
  BackedFile file;          ///< the owner's
  MakeFile make;            ///< or what makes one
  bool lazy = false;        ///< `make` waits for the first use
  Hooks hooks;
  std::function<Result<void>(Handle)> on_quiesce;  ///< makes the hardware behind it quiet
  std::uint64_t deadline_ns = 0;  ///< until when it waits for budget; 0: not at all
};

class Domain : public std::enable_shared_from_this<Domain>, private lock::Names {
 public:
  /// A new embedded domain. Errors: InvalidArgument, System.
  [[nodiscard]] static Result<std::shared_ptr<Domain>> create(DomainOptions options);
  /// One that resmgrd serves. Errors: those of ServedAuthority::attach().
  [[nodiscard]] static Result<std::shared_ptr<Domain>> connect(
      LinkOptions link, AsyncPath async_path = AsyncPath::Auto);
  ~Domain() override;
  /// Whether other processes may have part in it.
  [[nodiscard]] bool is_served() const noexcept { return client_ != 0; }
  void close() noexcept;
  /// The daemon has another domain now, or another client in this one's place: nobody manages what
  /// this process sees. From here on calls return Disconnected, waits too, and refs do nothing, all
  /// as in a child of fork(), and for the same reason: the regions are not ours to write, and a
  /// release there could be of another's hold (I10). From any thread, while others are inside
  /// calls.
  void end() noexcept;
  /// Or over.
  [[nodiscard]] bool closed() const noexcept {
    return life_.load(std::memory_order_acquire) != Life::Open;
  }

  // For Forks.
  void before_fork() noexcept;
  void after_fork_in_parent() noexcept;
  void after_fork_in_child() noexcept;

  // ---- contexts (domain.cpp) --------------------------------------------------------------------

  /// The calling thread's own context, made at first use. Errors: CapacityExceeded, Disconnected.
  [[nodiscard]] Result<lock::Context*> thread_context() {
    if (last_context.domain == serial_) [[likely]]
      return last_context.context;
    return make_thread_context();
  }
  /// Its fast form: null if the slow one has to be asked.
  [[nodiscard]] lock::Context* known_thread_context() const noexcept {
    if (last_context.domain != serial_) return nullptr;
    lock::Context* const context = last_context.context;
    // The two are set together, and no domain has the serial number of a thread that used none.
    if (!context) __builtin_unreachable();
    return context;
  }
  [[nodiscard]] Result<lock::Context*> open_context(std::uint32_t driver);
  /// Releases and reports what it holds, and gives it back.
  void close_context(lock::Context& context, const char* why) noexcept;
  Result<void> set_driver(lock::Context& context, std::uint32_t driver);
  /// Marks a context that is about to acquire as a task of the calling thread, or of none.
  void note_task(lock::Context& context, bool runs_here) noexcept;

  // ---- registry (domain_registry.cpp) -----------------------------------------------------------

  [[nodiscard]] Result<std::uint32_t> register_driver(std::string_view name);
  /// Takes what `registration` owns.
  [[nodiscard]] Result<Handle> register_resource(std::string_view name, Registration& registration);
  /// Many without files or hooks; `descriptions` are those that `resources` point at. See
  /// Authority::register_many().
  Result<void> register_many(std::span<const NewResource> resources,
                             std::span<Description> descriptions,
                             std::span<Result<Handle>> outcomes);
  /// Registers two, of which the first needs the second: both or none. Returns the first. REQUIRES:
  /// no hooks, and files at hand.
  [[nodiscard]] Result<Handle> register_with_needed(std::string_view name,
                                                    Registration& registration,
                                                    std::string_view needed_name,
                                                    Registration& needed);
  /// `leaving`: see RegistryWriter::begin_unregister().
  Result<void> unregister_resource(Handle handle, std::uint64_t deadline_ns,
                                   const registry::Leaving* leaving = nullptr);
  Result<void> teardown(Handle handle, std::uint64_t deadline_ns);
  [[nodiscard]] const registry::RegistryView& view() const noexcept { return view_; }
  /// The resource of that name, which view().lookup_at_home() did not find; null if there is none
  /// or the domain is closed.
  [[nodiscard, gnu::noinline]] Handle lookup_elsewhere(std::string_view name) const noexcept;
  [[nodiscard]] std::string driver_name(std::uint32_t driver) const;
  [[nodiscard]] std::string class_name(std::uint16_t class_id) const override;
  /// Lifecycle with Active and Locked, which the state word knows.
  [[nodiscard]] Lifecycle lifecycle(const registry::EntryCopy& entry) const noexcept;
  [[nodiscard]] bool knows_driver(std::uint32_t driver) const;
  /// `read(view)`, once more while nobody changes anything where the registry changed during each
  /// of many attempts without a lock: so that it says WouldBlock only where the authority stopped
  /// in the middle of a change, in another process.
  template <typename Read>
  auto read_settled(Read&& read) const {
    auto result = read(view_);
    for (int attempts = 0; attempts < kAttemptsApart; ++attempts) {
      if (result || result.error() != ErrorCode::WouldBlock) break;
      authority_->read_apart([&] { result = read(view_); });
    }
    return result;
  }
  [[nodiscard]] Authority& authority() const noexcept { return *authority_; }

  // ---- memory -----------------------------------------------------------------------------------

  /// Errors: StaleHandle, NotPermitted, Unsupported, System, those of a Lazy resource's backing.
  [[nodiscard]] Result<std::span<std::byte>> map(Handle handle, std::uint32_t driver);
  [[nodiscard]] Result<UniqueFd> duplicate_fd(Handle handle, std::uint32_t driver);
  [[nodiscard]] bool has_file(Handle handle) const { return memory_.contains(handle); }
  /// The memory that others have of a resource that this process registered, in place of what it
  /// gave: of an orphan that it adopted. May throw std::bad_alloc.
  void replace_file(Handle handle, UniqueFd file) {
    memory_.remove(handle);
    memory_.add(handle, {std::move(file), 0}, {});
  }
  /// Pools that are open in this process.
  [[nodiscard]] PoolList& pools() noexcept { return pools_; }
  /// By which pools know what this process has of them.
  [[nodiscard]] pool::Owner block_owner() const noexcept {
    static_assert(RM_MAX_CLIENTS <= RM_POOL_MAX_OWNER);
    return static_cast<pool::Owner>(client_ + 1);
  }

  // ---- acquiring --------------------------------------------------------------------------------

  [[nodiscard]] lock::LockEngine& engine() noexcept { return engine_; }
  [[nodiscard]] const lock::LockEngine& engine() const noexcept { return engine_; }
  /// As LockEngine::acquire(), and makes the memory of a Lazy resource. Errors: also those of its
  /// backing; it is not held then.
  [[nodiscard]] Result<lock::Grant> acquire(lock::Context& context, Handle handle,
                                            const lock::Request& request) noexcept;
  /// The second half of it, for who acquired otherwise: takes the hold back if it fails.
  Result<void> complete(lock::Context& context, Handle handle, HoldKind kind,
                        const lock::Grant& grant) noexcept {
    if (!grant.lacks_memory) [[likely]]
      return {};
    return make_memory_or_revert(context, handle.with_tenure(grant.tenure), kind);
  }
  /// How waits without a thread are woken.
  [[nodiscard]] AsyncPath async_path() const noexcept { return async_path_; }
  /// Where that is by a thread of the process's. It may outlive the domain, and tells nothing then.
  [[nodiscard]] const std::shared_ptr<Doorbell>& doorbell() const noexcept { return doorbell_; }
  /// All or nothing; see AcquireAll. `request` says how, but for the kind. Errors: as acquire(),
  /// and AcquireAll::make(). May throw std::bad_alloc; nothing is held then.
  [[nodiscard]] Result<std::vector<Acquired>> acquire_all(lock::Context& context,
                                                          std::span<const Wanted> wanted,
                                                          const lock::Request& request);
  /// One of them; see LockEngine::acquire_any(). Errors: its, and as acquire(). May throw
  /// std::bad_alloc; nothing is held then.
  [[nodiscard]] Result<Acquired> acquire_any(lock::Context& context, std::span<const Handle> any,
                                             const lock::Request& request);

  // ---- budgets (domain_budgets.cpp) -------------------------------------------------------------

  /// Returns the word that was charged; see Credits. Waits until `deadline_ns` for what others give
  /// back; 0: not at all. Errors: those of Credits::charge(), and of within_budget().
  [[nodiscard]] Result<std::uint64_t*> charge(lock::Context& context, ResourceType type,
                                              std::uint64_t amount, Urgency urgency,
                                              std::uint64_t deadline_ns);
  /// Its fast form: null where that has to be asked.
  [[nodiscard]] static std::uint64_t* charge_at_once(lock::Context& context, ResourceType type,
                                                     std::uint64_t amount) noexcept {
    const auto column = static_cast<std::size_t>(type);
    if (context.credits_used == nullptr || column >= RM_RESOURCE_TYPES) return nullptr;
    std::uint64_t& used = context.credits_used[column];
    return budget::charge(used, context.credits_granted[column], amount) ? &used : nullptr;
  }
  /// The word of a meter. REQUIRES: a handle of this domain.
  [[nodiscard]] std::uint64_t& meter_word(Handle handle) noexcept {
    return locks_.tables().meters[handle.slot()];
  }
  /// By which a charge knows whether the domain is there still.
  [[nodiscard]] const DomainGate& gate() const noexcept { return gate_; }
  /// REQUIRES: the word was charged so.
  void give_back(std::uint64_t& used, ResourceType type, std::uint64_t amount) noexcept {
    budget::give_back(used, amount);
    if (budgets().is_wanted(type)) [[unlikely]]
      return_soon(type);
  }
  /// Somebody who can free some of a type, asked for an amount; says how much he freed.
  struct Reclaimer {
    ResourceType type = ResourceType::Custom;
    std::function<std::uint64_t(std::uint64_t amount)> free;
  };
  /// Calls it where somebody needs more than there is, those of lower rank first. Returns its
  /// number. Errors: Disconnected. May throw std::bad_alloc.
  [[nodiscard]] Result<std::uint64_t> add_reclaimer(Reclaimer reclaimer, int rank);
  void remove_reclaimer(std::uint64_t id) noexcept { reclaimers_.remove(id); }
  using OnPressure = std::function<void(const wire::PressureEvent&)>;
  /// As add_reclaimer().
  [[nodiscard]] Result<std::uint64_t> on_pressure(OnPressure callback);
  void remove_on_pressure(std::uint64_t id) noexcept { pressures_.remove(id); }
  [[nodiscard]] const BudgetTables& budgets() const noexcept { return registry_.tables().budgets; }

  // ---- emergencies (domain_emergency.cpp) -------------------------------------------------------

  /// Whom to call when somebody in an emergency asks for what a context of this process holds; on
  /// the hooks' thread. As Revocations::set(). Errors: Disconnected.
  Result<void> on_revoke(std::uint32_t context, OnRevoke callback);

  // ---- what goes on -----------------------------------------------------------------------------

  void log(LogLevel level, std::string_view line) const noexcept;
  [[nodiscard]] std::vector<Participant> holds() const;
  [[nodiscard]] std::uint64_t resident_bytes() const noexcept;
  [[nodiscard]] std::uint32_t contexts() const noexcept { return contexts_.size(); }
  /// Both regions as they are now.
  [[nodiscard]] Observation observe() const { return {registry_, locks_.tables(), monotonic_ns()}; }
  [[nodiscard]] const LogSink& sink() const noexcept { return log_; }

 private:
  struct Parts {
    registry::RegistryRegion registry;
    lock::LockRegion locks;
    std::optional<registry::RegistryWriter> writer;  ///< of an embedded domain
    std::unique_ptr<Authority> served;               ///< of one that is not
    std::uint32_t client;
  };
  /// Some attempts more than an authority needs that is not stopped.
  static constexpr int kAttemptsApart = 1000;
  class Belongings;
  Domain(Parts parts, DomainOptions options);
  [[nodiscard]] static std::shared_ptr<Domain> make(Parts parts, DomainOptions options);

  void undo(const Belongings& belongings) noexcept;
  [[nodiscard]] bool is_drained(Handle handle) const noexcept;
  [[nodiscard]] Result<void> finish_drained(lock::Context& context, Handle handle,
                                            const registry::Leaving* leaving,
                                            std::uint64_t deadline_ns);
  void listen();
  void plead(const lock::Emergency& emergency, unsigned repeats);
  void pursue();
  void asked_to_yield(const wire::YieldEvent& event) noexcept;
  void tell_holder(const wire::YieldEvent& event);
  /// What `attempt` returns, which is made again while it says BudgetExceeded, until `deadline_ns`
  /// (0: once). Errors: those of `attempt`; TimedOut, with the amounts; Disconnected. Of more than
  /// there can be, and on the thread of the hooks, BudgetExceeded at once.
  template <typename Attempt>
  auto within_budget(std::uint64_t deadline_ns, std::uint32_t driver, ResourceType type,
                     Attempt&& attempt) -> decltype(attempt()) {
    for (;;) {
      // Acquire, and before the attempt: what changed since is seen by it, or ends the sleep.
      const std::uint32_t seen = load_acquire(*budgets().changes);
      auto result = attempt();
      if (result || result.error() != ErrorCode::BudgetExceeded || deadline_ns == 0) return result;
      auto waited = wait_for_budget(result.error(), driver, type, seen, deadline_ns);
      if (!waited) return std::unexpected(std::move(waited.error()));
    }
  }
  [[nodiscard]] Result<void> wait_for_budget(const Error& refused, std::uint32_t driver,
                                             ResourceType type, std::uint32_t seen,
                                             std::uint64_t deadline_ns);
  void asked_to_reclaim(ResourceType type, std::uint64_t amount) noexcept;
  void reclaim(ResourceType type);
  void return_soon(ResourceType type) noexcept;
  void begin_to_watch();
  void watch_pressure();
  void pressure_changed(const wire::PressureEvent& event) noexcept;
  [[nodiscard]] Result<Handle> try_register(std::string_view name, Registration& registration);
  void quiesce(const std::function<Result<void>(Handle)>& hook, Handle handle,
               std::uint32_t attempt) noexcept;
  void remove_all_hooks() noexcept;
  [[nodiscard]] Result<std::vector<Handle>> whole_teardown_order() const noexcept;
  [[nodiscard]] Result<lock::Context*> make_thread_context() noexcept;
  Result<void> make_memory_or_revert(lock::Context& context, Handle handle, HoldKind kind) noexcept;
  void note_memory(Handle handle) noexcept;
  void report_leak(const lock::Context& context, Handle handle, HoldKind kind,
                   const char* why) noexcept;
  [[nodiscard]] Result<MemoryTable*> table_with(const registry::EntryCopy& entry, bool writable);
  [[nodiscard]] bool is_owner(std::uint32_t driver,
                              const registry::EntryCopy& entry) const noexcept;
  [[nodiscard]] Result<Rights> check_access(Handle handle, std::uint32_t driver,
                                            registry::EntryCopy& entry) const;

  // lock::Names
  void describe(Participant& who, std::uint32_t driver) const noexcept override;
  void report_order(std::string_view text) const noexcept override;
  [[nodiscard]] ResourcePriority default_priority(Handle handle) const noexcept override;
  [[nodiscard]] std::uint32_t row_of(Handle handle) const noexcept override {
    return view_.row(handle).value_or(kNoRow);
  }
  [[nodiscard]] ErrorCode check_rights(Handle handle, std::uint32_t driver) const noexcept override;
  void accessed(Handle handle) const noexcept override;
  void urgent(const lock::Emergency& emergency) const noexcept override;
  void busy() const noexcept override;

  enum class Life : std::uint8_t { Open, Over, Closed };

  std::uint64_t serial_;
  DomainGate& gate_;
  std::atomic<Life> life_{Life::Open};
  std::shared_ptr<Domain> kept_for_ever_;  ///< itself, in a child of fork()
  LogSink log_;
  registry::RegistryRegion registry_;
  registry::RegistryView view_;
  lock::LockRegion locks_;
  lock::LockEngine engine_;
  std::unique_ptr<Authority> authority_;
  std::uint32_t client_;  ///< which record of the lock region this process is
  mutable Ticker ticker_;
  AsyncPath async_path_;
  std::shared_ptr<Doorbell> doorbell_;
  lock::ContextTable contexts_;
  Credits credits_;
  PoolList pools_;
  MemoryTable memory_;           ///< of what this process registered
  MemoryTable foreign_memory_;   ///< others', which this process may write
  MemoryTable readable_memory_;  ///< others', which it may not
  std::atomic<std::uint32_t> fetches_{0};
  Revocations revocations_;
  CallbackList<Reclaimer> reclaimers_;
  CallbackList<OnPressure> pressures_;
  std::array<std::atomic<std::uint64_t>, kResourceTypes> wanted_{};  ///< asked for; 0: nothing
  std::array<std::atomic<bool>, kResourceTypes> returns_{};          ///< idle credits, soon
  bool watches_pressure_ = false;                                    ///< by the hooks' thread alone
  std::uint64_t pursued_at_ = ~std::uint64_t{0};  ///< next; by the hooks' thread alone
  mutable HookTable hooks_;
  std::once_flag listens_;
};

}  // namespace resmgr::client
