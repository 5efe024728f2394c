// SPDX-License-Identifier: Apache-2.0
//
// ResourceManager: register, find, acquire, share and let go of hardware resources.
//
// What it is: one domain embedded in this process. Uncontended acquire and release are one
// compare-and-swap each; every wait is checked for deadlock before it sleeps, and every refusal
// names who is in the way. What it is not: a memory allocator or a scheduler, and no protection
// from locks that are not taken through it.
//
// Contexts: every acquisition is made by a context, the thread's own unless options name another
// (one for each task of an event loop, say). A context acquires one thing at a time; holds may be
// released from any thread. Holds that a thread leaves behind when it ends are released and
// reported to the log sink.
//
// Fork: in a child every manager of the parent is closed: calls return Disconnected, refs that are
// destroyed release nothing, and the parent goes on as if nothing had happened. A child makes a
// manager of its own.
//
// Memory: where the heap gives none, a call returns System with ENOMEM and has done nothing.
// Acquiring and releasing one resource take nothing from it, but for a thread's first acquisition,
// for memory that is made lazily, for the text of a deadlock or of an inverted order, and for
// having holders asked in an emergency: without memory for that they are not.
//
// Threads: one that sleeps until holds begin very often, and then keeps the time for their stamps;
// with the first hooks, or the first emergency that somebody may be asked for, one that calls them.
//
// Lifetime: close() or destruction releases and reports what is still held; later calls on copies
// of refs return Disconnected or do nothing. No other thread may be inside a call meanwhile.
// Thread-safety: all functions may be called from any thread at any time, hooks included. After a
// close() in a hook the hooks that are queued still run; the destructor, which waits for them, is
// the one thing that a hook must leave to others.
//
//   auto manager = hal::ResourceManager::create().value();
//   auto handle = manager->register_resource("dma0/channel/0",
//                     {.type = hal::ResourceType::Hardware, .class_name = "dma-channel"}).value();
//   auto hold = manager->acquire_scoped_resource(handle, hal::AcquisitionMode::Blocking);
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <new>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <hal/connection.hpp>
#include <hal/export.hpp>
#include <hal/options.hpp>
#include <hal/refs.hpp>
#include <hal/resource.hpp>
#include <hal/selection.hpp>
#include <hal/statistics.hpp>
#include <hal/type_name.hpp>

namespace hal {

class PoolManager;

/// A logical thread of control that acquires and holds, where one per thread is wrong: a task, a
/// coroutine. Destroying it releases what it still holds and reports it.
class HAL_EXPORT Context {
 public:
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();
  /// The number that blame and cycles show.
  [[nodiscard]] std::uint32_t id() const noexcept;

 private:
  friend class Budgeting;
  friend class ResourceManager;
  Context(std::shared_ptr<resmgr::client::Domain> domain, resmgr::lock::Context* impl) noexcept;

  std::shared_ptr<resmgr::client::Domain> domain_;
  resmgr::lock::Context* impl_ = nullptr;
};

class HAL_EXPORT ResourceManager : public Observing {
 public:
  /// A new embedded domain. Errors: InvalidArgument (a capacity or an enumeration out of range),
  /// CapacityExceeded (descriptors), System.
  [[nodiscard]] static Result<std::unique_ptr<ResourceManager>> create(ManagerOptions options = {});
  /// A client of a served domain, which it shares with other processes. Acquiring and releasing
  /// cost what they cost in an embedded one: no message is sent. Errors: InvalidArgument (the
  /// path), Disconnected (nobody listens there), NotPermitted (by the socket's mode, or by the
  /// daemon's policy), CapacityExceeded (clients), VersionMismatch, System.
  ///
  /// What differs from an embedded domain: a resource may belong to another process, and then its
  /// hooks run there; a Lazy resource's memory is made when it is registered; and what this process
  /// owned when it ends or closes is kept for a while, for whoever it is restarted as.
  [[nodiscard]] static Result<std::unique_ptr<ResourceManager>> connect(
      ConnectOptions options = {});
  /// The process's default instance, made with default options at first use and closed at exit: of
  /// the served domain "main" if its resmgrd answers, else of a domain of its own; is_served() says
  /// which. If neither can be made, every call on it returns Disconnected.
  [[nodiscard]] static ResourceManager& instance() noexcept;
  /// Whether other processes may have part in the domain.
  [[nodiscard]] bool is_served() const noexcept;

  ResourceManager(const ResourceManager&) = delete;
  ResourceManager& operator=(const ResourceManager&) = delete;
  ~ResourceManager();

  /// Releases and reports what is held, runs cleanup hooks, lets go of the domain. Idempotent.
  /// Hooks run in the order of teardown, that of all resources: each before what it needs or its
  /// owner uses, and by age of their slots where uses close a circle.
  void close() noexcept;

  // ---- drivers and contexts ---------------------------------------------------------------------

  /// A named role; the same name gives the same id. Name: 1 to 31 bytes of the alphabet of resource
  /// names. Errors: InvalidName, CapacityExceeded, Disconnected.
  [[nodiscard]] Result<DriverId> register_driver(std::string_view name);
  /// A context for a task. Errors: CapacityExceeded, InvalidArgument (no such driver), System,
  /// Disconnected.
  [[nodiscard]] Result<Context> create_context(DriverId driver = {});
  /// Names the driver of the calling thread's own context, for blame and for the rights on what is
  /// Restricted. Errors: as create_context.
  Result<void> set_thread_driver(DriverId driver);

  // ---- registry ---------------------------------------------------------------------------------

  /// Registers a resource. Errors: InvalidName, AlreadyExists, InvalidArgument (metadata out of
  /// range, flags that contradict, fd and backing together, a plain file or memfd smaller than
  /// size_bytes), BudgetExceeded, TimedOut (waiting for budget), CapacityExceeded, those of the
  /// backing, System (a backing that makes less than
  /// asked for), Disconnected. On an error nothing is registered and the fd is closed.
  [[nodiscard]] Result<Handle> register_resource(std::string_view name,
                                                 const ResourceMetadata& metadata,
                                                 RegisterOptions options = {});
  /// Registers many that have neither memory nor hooks, some hundred in one message where the
  /// domain is served. Returns what became of each, in their order, with the errors of
  /// register_resource(). Errors of the whole: InvalidArgument (no such driver), Disconnected,
  /// System.
  [[nodiscard]] Result<std::vector<Result<Handle>>> register_resources(
      std::span<const NamedResource> resources, DriverId driver = {});
  /// Unregisters: waits up to `timeout` (0 or less: not at all) for holders, removes waiters with
  /// StaleHandle. Errors: InUse (held, by the caller too; needed by another resource; being
  /// unregistered already; or used: shared with a driver that has resources of its own registered,
  /// other than such as this one needs), StaleHandle, Deadlock, Preempted, OrderViolation (policy
  /// Refuse, and it waits), Quarantined (not known to be quiet; see ResourceHooks::on_quiesce),
  /// CapacityExceeded (contexts, waits), Disconnected. The resource stays as it was. InUse names
  /// the holder, the resource or the driver; unsharing ends a use, and so does unregistering the
  /// user's resources first. Of two drivers that share with each other either keeps what the other
  /// uses, and which of them can do without is not for the manager to say: one unshares, as owner
  /// or as user, and the rest goes in order.
  Result<void> unregister_resource(Handle handle, std::chrono::nanoseconds timeout = {});
  /// Unregisters the resource and then what only it needed, in teardown_order(). What others need
  /// too stays, and so does what drivers use that have resources besides those that go; a use among
  /// what goes stops nothing. Errors: as unregister_resource; what was not reached stays
  /// registered.
  Result<void> teardown(Handle handle, std::chrono::nanoseconds timeout = {});
  /// Looks a name up, without a lock. Errors: NotFound, InvalidName, WouldBlock (names came and
  /// went during each of many attempts), Disconnected.
  [[nodiscard]] Result<Handle> find(std::string_view name) const noexcept {
    const Handle found = lookup(name);
    if (!found.is_null()) [[likely]]
      return found;
    return find_or_say_why(name);
  }
  /// Whether the handle names a live resource. A few nanoseconds.
  [[nodiscard]] bool is_valid(Handle handle) const noexcept;
  /// Errors: StaleHandle, Disconnected.
  [[nodiscard]] Result<ResourceInfo> info(Handle handle) const;
  /// Calls `visit` for each resource until it returns false; resources registered or unregistered
  /// meanwhile may or may not be seen. What `visit` throws ends it and reaches the caller, except
  /// want of memory, which is an error. Errors: InvalidArgument (nothing to call), Disconnected.
  Result<void> for_each(const std::function<bool(const ResourceInfo&)>& visit) const;
  /// Registered resources.
  [[nodiscard]] std::uint32_t size() const noexcept;
  /// The resource as one JSON object: metadata, owner, state, holders, statistics, and how it
  /// stands to others. "needs" names all it needs, directly or not; "shares" the drivers it was
  /// shared with, and their rights; "users" those of them that have resources registered, and so
  /// keep it. "edges" is its part of the graph, each edge in one resource's export:
  /// {"kind": "needs", "from": itself, "to": a resource} or
  /// {"kind": "uses", "from": a driver, "to": itself}. Errors: as info().
  [[nodiscard]] Result<std::string> export_json(Handle handle) const;
  /// The short form of a handle. Errors: Unsupported (no compact handles in this domain),
  /// StaleHandle, Disconnected.
  [[nodiscard]] Result<Handle32> compact(Handle handle) const noexcept;
  /// The long form. Errors: as compact().
  [[nodiscard]] Result<Handle> expand(Handle32 handle) const noexcept;
  /// Remembers the resource. Whether there is one is asked later: of a handle that names none, it
  /// is expired.
  [[nodiscard]] WeakResource weak(Handle handle) const noexcept;

  // ---- memory -----------------------------------------------------------------------------------

  /// The resource's memory in this process, mapped once and kept until it is unregistered. `driver`
  /// says on whose behalf: the owner, or one it was shared with (Rights::Read or Write); {} is the
  /// owner of embedded resources. Of a file that its owner gave (RegisterOptions::fd) and did not
  /// seal against shrinking he may cut off what others have mapped, and SIGBUS is sent to who
  /// touches it. Of somebody you don't trust map only what has F_SEAL_SHRINK in
  /// fcntl(F_GET_SEALS) of fd(). Memory of Backing::memfd() is sealed. Errors: StaleHandle,
  /// NotPermitted, Unsupported (no memory, or the file is smaller than the resource by now),
  /// Deadlock (asked by the backing that makes it), System, Disconnected, those of the backing.
  [[nodiscard]] Result<std::span<std::byte>> map(Handle handle, DriverId driver = {});
  /// Pools of blocks: see hal/pool_manager.hpp.
  [[nodiscard]] PoolManager pool_manager() noexcept;
  /// A duplicate of the file behind it. It can be mapped for writing, so a driver other than the
  /// owner needs Rights::Write. Errors: as map(); CapacityExceeded (descriptors).
  [[nodiscard]] Result<UniqueFd> fd(Handle handle, DriverId driver = {});

  // ---- acquire and release ----------------------------------------------------------------------

  /// Acquires. Errors: StaleHandle, WouldBlock, TimedOut, Deadlock (also when this context holds it
  /// already), Preempted (by an emergency), Revoked (it was taken from this context, which has not
  /// let go of that hold yet), OrderViolation (policy Refuse), NotShareable (shared, of an
  /// ExclusiveOnly one), NotPermitted (of a Restricted one, without Rights::Acquire), Quarantined,
  /// CapacityExceeded (waits, cells or contexts), InvalidArgument (an option out of range, a
  /// context of another manager), Disconnected; of Lazy resources those of the backing, which leave
  /// nothing held.
  [[nodiscard]] Result<ScopedResource> acquire_scoped_resource(
      Handle handle, const AcquireOptions& options,
      std::source_location where = std::source_location::current()) noexcept {
    if (!options.context) [[likely]] {
      ScopedResource::Held held;
      if (are_plain(options, HoldKind::Exclusive)) [[likely]] {
        held = acquire_at_once(handle, where);
      } else if (are_plain(options, HoldKind::Shared)) {
        held = acquire_shared_at_once(handle, where);
      }
      if (held.context != 0) [[likely]]
        return Result<ScopedResource>(std::in_place, held);
    }
    return acquire_slowly(handle, options, where);
  }
  [[nodiscard]] Result<ScopedResource> acquire_scoped_resource(
      Handle handle, AcquisitionMode mode = AcquisitionMode::Blocking,
      std::source_location where = std::source_location::current()) noexcept {
    // Options are made where they are needed: built before the call, they would be in its way.
    if (mode <= AcquisitionMode::Emergency) [[likely]] {
      const auto held = acquire_at_once(handle, where);
      if (held.context != 0) [[likely]]
        return Result<ScopedResource>(std::in_place, held);
    }
    return acquire_slowly(handle, AcquireOptions{.mode = mode}, where);
  }
  /// Exclusive, without waiting, as the thread's own context: the fast path.
  [[nodiscard]] Result<ScopedResource> try_acquire(
      Handle handle, std::source_location where = std::source_location::current()) noexcept {
    return acquire_scoped_resource(handle, AcquisitionMode::NonBlocking, where);
  }
  /// Shared, without waiting, as the thread's own context.
  [[nodiscard]] Result<ScopedResource> try_acquire_shared(
      Handle handle, std::source_location where = std::source_location::current()) noexcept {
    return acquire_scoped_resource(handle, AcquireOptions{.kind = HoldKind::Shared}, where);
  }
  /// Acquires all of them or none; an empty list is had at once. Who waits for one keeps the
  /// others, but where that would be a deadlock with somebody who came before him, lets go of them,
  /// waits for that one first, and asks for the others again, at the place in the queues that he
  /// had: so calls of it never wait for each other in a circle, nor for ever. `options` are of the
  /// whole, but for the kind. Errors: as acquire_scoped_resource (Deadlock and Preempted: by what
  /// the context held before); InvalidArgument (one of them twice). Nothing of them is held then.
  ///
  ///   auto frame = manager->acquire_all({buffer, {timer, HoldKind::Shared}}, {.mode = ...});
  [[nodiscard]] Result<std::vector<ScopedResource>> acquire_all(
      std::span<const Wanted> wanted, const AcquireOptions& options = {},
      std::source_location where = std::source_location::current());
  [[nodiscard]] Result<std::vector<ScopedResource>> acquire_all(
      std::initializer_list<Wanted> wanted, const AcquireOptions& options = {},
      std::source_location where = std::source_location::current()) {
    return acquire_all(std::span(wanted.begin(), wanted.size()), options, where);
  }
  /// The same into memory of the caller's: `holds`, as many as are wanted, and all empty, in the
  /// order in which they were had. Of what is free no memory is taken from the heap. Errors: as
  /// acquire_all(); InvalidArgument (another number of them, or one is not empty).
  Result<void> acquire_all_into(std::span<ScopedResource> holds, std::span<const Wanted> wanted,
                                const AcquireOptions& options = {},
                                std::source_location where = std::source_location::current());
  /// The same of handles, each held as options.kind says.
  [[nodiscard]] Result<std::vector<ScopedResource>> acquire_all(
      std::span<const Handle> wanted, const AcquireOptions& options = {},
      std::source_location where = std::source_location::current());
  /// What there is to acquire any of. Errors: InvalidArgument (an enumeration, the node, a pattern
  /// of more than 1024 bytes), Disconnected, System.
  [[nodiscard]] Result<Selection> select(Selector selector) const;
  /// Acquires one of them, the first that is free in the order of the selection. Where all are
  /// taken it waits for all at once, with one place and one outcome: what comes first is had, the
  /// others are not. Which one, its handle() says. Errors: as acquire_scoped_resource, of the first
  /// where none can be had, and Deadlock only where waiting for each of them would be one; NotFound
  /// (nothing was selected), CapacityExceeded (waits: one for each, and one), InvalidArgument (a
  /// selection of another manager).
  [[nodiscard]] Result<ScopedResource> acquire_any(
      Selection& selection, const AcquireOptions& options = {},
      std::source_location where = std::source_location::current()) noexcept;
  /// The same of these, in this order. Errors: as before; InvalidArgument (there are none).
  [[nodiscard]] Result<ScopedResource> acquire_any(
      std::span<const Handle> any, const AcquireOptions& options = {},
      std::source_location where = std::source_location::current()) noexcept;
  /// Acquires an aggregate with everything it needs, each as options.kind says. Errors: as
  /// acquire_all(); InvalidArgument (not an aggregate).
  [[nodiscard]] Result<std::vector<ScopedResource>> acquire_aggregate(
      Handle aggregate, const AcquireOptions& options = {},
      std::source_location where = std::source_location::current());
  /// Releases what the calling thread's own context (or `context`) holds of the resource, whichever
  /// ref has it: holds are the context's, and it has one of a resource at most. So a ref whose hold
  /// was released here must be gone before the same context acquires the resource anew, or it
  /// releases that hold. `handle` is the hold's own; that of find() serves until a hold of the
  /// resource is fenced. Errors: NotPermitted (it holds nothing of it), Revoked (fenced),
  /// StaleHandle, InvalidArgument (a context of another manager), CapacityExceeded (contexts),
  /// Disconnected. What is held by others stays held.
  Result<void> release_resource(Handle handle, Context* context = nullptr) noexcept;

  /// Opens the resource, or registers it with a memfd of sizeof(T) (or metadata.size_bytes, if
  /// larger) and constructs T in it, then acquires. T must be able to live in memory that processes
  /// share: trivially copyable, no pointers that matter. Where programs of other builds open it
  /// too, see hal/type_name.hpp for how they know that T is the same. Errors: as register_resource
  /// and acquire_scoped_resource; InvalidArgument if it exists with another type T, class or size.
  /// What was registered stays so when acquiring or mapping it fails; its owner is the driver of
  /// the context that acquires.
  template <typename T>
  [[nodiscard]] Result<ResourceRef<T>> acquire_resource(
      std::string_view name, const ResourceMetadata& metadata = {},
      const AcquireOptions& options = {.mode = AcquisitionMode::Blocking},
      std::source_location where = std::source_location::current()) {
    static_assert(std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T>,
                  "T is shared between processes: it must be trivially copyable");
    static_assert(!std::is_pointer_v<T>, "an address means nothing in another process");
    static_assert(alignof(T) <= kMaxAlignment, "memory is mapped by pages");
    // Constructed before anybody can find it.
    const TypeOfMemory type{.size = sizeof(T),
                            .alignment = alignof(T),
                            .tag = type_tag<std::remove_cv_t<T>>(),
                            .construct = [](void* memory) { ::new (memory) T(); }};
    auto opened = open_typed(name, metadata, type, options, where);
    if (!opened) return std::unexpected(std::move(opened.error()));
    return ResourceRef<T>(std::launder(static_cast<T*>(opened->memory)), std::move(opened->hold));
  }

  // ---- sharing, dependencies, order -------------------------------------------------------------

  /// Gives another driver rights on a resource, and records that it uses it: the graph shows the
  /// edge, teardown_order() and unregister_resource() obey it, until it is unshared. Two drivers
  /// may use each other's resources. `by` must own it or have Rights::Share with at least these
  /// rights. Errors: NotShareable, NotPermitted, InvalidArgument (rights, drivers), InUse (it is
  /// being unregistered), StaleHandle, CapacityExceeded, Disconnected.
  Result<void> share_resource(Handle handle, DriverId by, DriverId with, Rights rights);
  /// Takes the rights back, and ends the use; holds, and requests that wait already, are not
  /// affected. `by` is the owner, or `with` itself. Errors: NotFound, NotPermitted, StaleHandle,
  /// Disconnected.
  Result<void> unshare_resource(Handle handle, DriverId by, DriverId with);
  /// What a driver may do with the resource. Errors: StaleHandle, InvalidArgument, Disconnected.
  [[nodiscard]] Result<Rights> rights(Handle handle, DriverId driver) const;
  /// `needs` can't work without `needed`, which can't be unregistered before it. Errors:
  /// DependencyCycle (the cycle's names are in detail()), AlreadyExists, InvalidArgument (itself),
  /// StaleHandle, InUse (`needed` is being unregistered), CapacityExceeded, Disconnected.
  Result<void> add_dependency(Handle needs, Handle needed);
  /// Takes the edge back. Errors: NotFound, StaleHandle, Disconnected.
  Result<void> remove_dependency(Handle needs, Handle needed);
  /// All that `handle` needs, directly or not, itself first, each before what it needs. Of these,
  /// what a driver owns stands before what others shared with it, except where that contradicts the
  /// needs, or uses close a circle. The same each time. Errors: StaleHandle, Disconnected.
  [[nodiscard]] Result<std::vector<Handle>> teardown_order(Handle handle) const;
  /// From now on, for everybody. Errors: InvalidArgument, Disconnected.
  Result<void> set_order_policy(OrderPolicy policy) noexcept;

  // ---- emergencies ------------------------------------------------------------------------------

  /// Whom to call when somebody in AcquisitionMode::Emergency wants what a context of this process
  /// holds; see OnRevoke. For the holds of `context`, or, if it is null, of all contexts that have
  /// no callback of their own. Another call replaces it, an empty one takes it back, and a
  /// context's goes with it. Called on the manager's one callback thread (Ring::on_revoke(): on
  /// the ring), under no lock; it may call any function of the manager. Errors: Disconnected,
  /// InvalidArgument (a context of another manager), System.
  Result<void> on_revoke(OnRevoke callback, Context* context = nullptr);

  // ---- what goes on -----------------------------------------------------------------------------

  /// Errors: StaleHandle, Disconnected.
  [[nodiscard]] Result<ResourceStats> get_resource_stats(Handle handle) const;
  struct DomainStats {
    std::uint64_t deadlocks = 0;         ///< victims chosen
    std::uint64_t late_victims = 0;      ///< of these, chosen though a timeout had broken the cycle
    std::uint64_t order_inversions = 0;  ///< reported
    std::uint32_t resources = 0;
    std::uint32_t contexts = 0;
    std::uint64_t resident_bytes = 0;  ///< of both regions
  };
  [[nodiscard]] DomainStats stats() const noexcept;
  /// Every hold of every context, as an empty leak report should not have. Errors: Disconnected.
  [[nodiscard]] Result<std::vector<Participant>> holds() const;

 private:
  explicit ResourceManager(std::shared_ptr<resmgr::client::Domain> domain) noexcept;
  [[nodiscard]] static std::unique_ptr<ResourceManager> of(
      std::shared_ptr<resmgr::client::Domain> domain);

  /// Whether the mode is valid, the kind is this one, and no priority is named: in one load.
  [[nodiscard]] static bool are_plain(const AcquireOptions& options, HoldKind kind) noexcept {
    using Bytes = std::array<std::uint8_t, 4>;
    constexpr auto kAnyMode = static_cast<std::uint8_t>(AcquisitionMode::Emergency);
    static_assert((kAnyMode & (kAnyMode + 1)) == 0, "modes are told from others by a mask");
    static_assert(offsetof(AcquireOptions, mode) == 0 && offsetof(AcquireOptions, kind) == 1 &&
                  offsetof(AcquireOptions, has_priority) == 2 &&
                  offsetof(AcquireOptions, priority) == 3);
    constexpr Bytes kCompared = {static_cast<std::uint8_t>(~kAnyMode), 0xff, 0xff, 0};
    const Bytes wanted = {0, static_cast<std::uint8_t>(kind), 0, 0};
    std::uint32_t bits = 0;
    std::memcpy(&bits, &options, sizeof(bits));
    return (bits & std::bit_cast<std::uint32_t>(kCompared)) == std::bit_cast<std::uint32_t>(wanted);
  }

  /// find() as far as it fits into a register: null for whatever is an error. A Result is returned
  /// through memory, which costs a third of a look-up.
  [[nodiscard]] Handle lookup(std::string_view name) const noexcept;
  [[nodiscard, gnu::cold]] Result<Handle> find_or_say_why(std::string_view name) const noexcept;

  /// The number by which on_revoke() knows it; 0 for null.
  [[nodiscard]] Result<std::uint32_t> holder_of(Context* given) const noexcept;
  /// Who acquires, if it is `given` marked as a task of the calling thread, if that runs tasks.
  [[nodiscard]] Result<resmgr::lock::Context*> acquirer(Context* given,
                                                        bool runs_tasks) const noexcept;
  // Inline callers get a hold in two registers, and nothing of the slow path into their code.
  [[nodiscard]] ScopedResource::Held acquire_at_once(Handle handle,
                                                     std::source_location where) noexcept;
  [[nodiscard]] ScopedResource::Held acquire_shared_at_once(Handle handle,
                                                            std::source_location where) noexcept;
  [[gnu::noinline]] ScopedResource::Held acquire_beside_others(Handle handle,
                                                               std::source_location where) noexcept;
  [[gnu::noinline]] ScopedResource::Held take_shared_back(Handle handle) noexcept;
  Result<ScopedResource> acquire_slowly(Handle handle, const AcquireOptions& options,
                                        std::source_location where) noexcept;
  /// Errors: Disconnected, InvalidArgument, System.
  [[nodiscard]] Result<std::span<const Handle>> list_of(Selection& selection,
                                                        bool sorted) const noexcept;
  [[nodiscard]] ScopedResource::Held any_at_once(std::span<const Handle> any, SelectionOrder order,
                                                 const AcquireOptions& options,
                                                 std::source_location where) noexcept;
  [[nodiscard]] Result<ScopedResource> any_slowly(std::span<const Handle> any,
                                                  const AcquireOptions& options,
                                                  std::source_location where) noexcept;
  [[nodiscard]] static bool all_at_once(resmgr::client::Domain& domain,
                                        resmgr::lock::Context& context,
                                        std::span<const Wanted> wanted, std::source_location where,
                                        std::span<ScopedResource> holds) noexcept;
  Result<Handle> register_typed(std::string_view name, const ResourceMetadata& metadata,
                                RegisterOptions&& options, std::uint64_t type_tag);

  friend class AsyncAcquire;
  friend class AsyncAcquireAll;
  friend class Pool;
  friend class Queue;
  friend class Ring;
  struct FileResource {
    std::string_view name;
    const ResourceMetadata& metadata;
    UniqueFd fd;
  };
  /// Registers `resource`, which needs `needed`, and that: both or none, whoever finds the names.
  Result<Handle> register_with_needed(FileResource resource, FileResource needed, DriverId owner);

  struct OpenedResource {
    ScopedResource hold;
    void* memory = nullptr;
  };
  struct TypeOfMemory {
    std::size_t size = 0;
    std::size_t alignment = 0;
    std::uint64_t tag = 0;
    void (*construct)(void* memory) = nullptr;
  };
  static constexpr std::size_t kMaxAlignment = 4096;
  Result<OpenedResource> open_typed(std::string_view name, const ResourceMetadata& metadata,
                                    const TypeOfMemory& type, const AcquireOptions& options,
                                    std::source_location where);
};

}  // namespace hal
