// SPDX-License-Identifier: Apache-2.0
//
// Authority: who changes the registry of a domain, as its client sees him.
//
// What it is: the changes that a client can ask for, and two who make them: this process itself,
// where the domain is embedded (embedded_authority.hpp), or resmgrd, where it is served
// (served_authority.hpp). What it is not: needed to look anything up, nor to acquire or release
// what is registered.
//
// Lifetime: of the domain. Thread-safety: all functions from any thread.
//
//   auto handle = authority.register_resource({.name = "gpu0/frame/3", ...}, files_and_hooks);
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "resmgr/abi/budget_requests.hpp"
#include "resmgr/abi/description.hpp"
#include "resmgr/abi/events.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/budget/book.hpp"
#include "resmgr/lock/context.hpp"
#include "resmgr/lock/emergencies.hpp"
#include "resmgr/registry/slot_attributes.hpp"
#include "resmgr/registry/writer.hpp"

namespace resmgr::client {

/// How long the last step of unregistering waits for a latch: in the hands of one who is
/// descheduled, not stopped.
inline constexpr std::uint64_t kLatchPatienceNs = 100'000'000;

/// What is to be registered. Views what the caller keeps for the call.
struct NewResource {
  std::string_view name;
  const Description& description;
  registry::SlotWishes wishes = {};
  int file = -1;  ///< the memory's or the device's, borrowed; -1: none
};

/// What this process keeps of a resource that it registers.
class LocalPart {
 public:
  virtual ~LocalPart() = default;
  /// Embedded, it is called before others can find the resource. Refusal undoes the registration.
  [[nodiscard]] virtual Result<void> keep(Handle handle) noexcept = 0;
  /// What was kept is not needed after all.
  virtual void drop(Handle handle) noexcept = 0;
};

class Authority {
 public:
  virtual ~Authority() = default;

  /// Number of the driver of that name. Errors: InvalidName, CapacityExceeded.
  [[nodiscard]] virtual Result<std::uint32_t> intern_driver(std::string_view name) = 0;

  /// What registration would refuse, where that can be told without registering: for those who have
  /// something costly to make first. Errors: as register_resource.
  [[nodiscard]] virtual Result<void> check(std::string_view name,
                                           const Description& description) = 0;
  /// Errors: those of RegistryWriter::prepare(), and of LocalPart::keep().
  [[nodiscard]] virtual Result<Handle> register_resource(const NewResource& resource,
                                                         LocalPart& part) = 0;
  /// Two, of which the first needs the second: both or none. Returns the first. Errors: also those
  /// of DependencyWriter::check_room().
  [[nodiscard]] virtual Result<Handle> register_with_needed(const NewResource& resource,
                                                            LocalPart& part,
                                                            const NewResource& needed,
                                                            LocalPart& needed_part) = 0;

  /// Many that have neither files nor hooks, in as few messages as can be. `outcomes`: what became
  /// of each, in their order. Errors: Disconnected, System; those that were reached are registered
  /// then, and the rest says so too.
  [[nodiscard]] virtual Result<void> register_many(std::span<const NewResource> resources,
                                                   std::span<Result<Handle>> outcomes) = 0;

  /// Unregistering: begun; then the caller takes the resource for itself; then it is finished, or
  /// cancelled. Errors: those of RegistryWriter::begin_unregister().
  [[nodiscard]] virtual Result<void> begin_unregister(Handle handle,
                                                      const registry::Leaving* leaving) = 0;
  virtual void cancel_unregister(Handle handle) noexcept = 0;
  /// `context` holds the resource exclusively; or its driver is being drained, and nobody holds it.
  /// `waited`: others may have changed who uses it since
  /// it was begun. Errors: InUse; the resource is as it was.
  [[nodiscard]] virtual Result<void> finish_unregister(lock::Context& context, Handle handle,
                                                       const registry::Leaving* leaving,
                                                       bool waited) = 0;

  /// What this process is asked for; each quick, and calling nothing of this.
  struct Asked {
    /// To make hardware quiet.
    std::function<void(Handle handle, std::uint32_t attempt)> quiesce;
    /// To let go of something.
    std::function<void(const wire::YieldEvent&)> yield;
    /// To give back what it can do without.
    std::function<void(const wire::ReclaimEvent&)> reclaim;
    /// And told of budgets that become more or less scarce.
    std::function<void(const wire::PressureEvent&)> pressure;
  };
  /// From now on it is told so. Once.
  virtual void listen(Asked asked) = 0;
  /// What became of that; `error`: why it is not quiet.
  virtual void quiesced(Handle handle, std::uint32_t attempt,
                        std::optional<ErrorCode> error) noexcept = 0;

  /// A wait of this process, for which holders are to be asked. What was asked for already is left
  /// as it is. By one thread, as the two that follow. Errors: NotPermitted (the driver may not),
  /// InvalidArgument (it is over), CapacityExceeded, Disconnected. May throw std::bad_alloc.
  [[nodiscard]] virtual Result<void> plead(const lock::Emergency& emergency) = 0;
  /// Goes on with what is waited for so; returns when to call it again, or nothing, if that needs
  /// nobody. May throw std::bad_alloc.
  [[nodiscard]] virtual std::optional<std::uint64_t> pursue() = 0;

  /// The memory of a Lazy resource is there.
  virtual void memory_made(Handle handle, int file) noexcept = 0;
  /// The file behind a resource that another process owns. Errors: NotPermitted, Unsupported (none,
  /// or an embedded domain, which has no other processes).
  [[nodiscard]] virtual Result<UniqueFd> open_file(Handle handle, Rights rights) = 0;

  /// Errors: those of ShareWriter and DependencyWriter.
  [[nodiscard]] virtual Result<void> share(Handle handle, std::uint32_t by, std::uint32_t with,
                                           Rights rights) = 0;
  [[nodiscard]] virtual Result<void> unshare(Handle handle, std::uint32_t by,
                                             std::uint32_t with) = 0;
  [[nodiscard]] virtual Result<void> add_dependency(Handle needs, Handle needed) = 0;
  [[nodiscard]] virtual Result<void> remove_dependency(Handle needs, Handle needed) = 0;

  /// Sets what a driver may have, or all together (0). Errors: those of Book::set(), NotPermitted
  /// (served: by operators alone), Disconnected.
  [[nodiscard]] virtual Result<void> set_budget(std::uint32_t driver, ResourceType type,
                                                const ResourceBudget& budget) = 0;
  /// Credits for a driver of this process's. Errors: those of Book::draw(), NotPermitted (another
  /// client's driver), Disconnected.
  [[nodiscard]] virtual Result<budget::Drawn> draw(std::uint32_t driver, ResourceType type,
                                                   std::uint64_t least, std::uint64_t most,
                                                   Urgency urgency) = 0;
  /// Errors: those of Book::return_credits(), Disconnected.
  [[nodiscard]] virtual Result<void> return_credits(std::uint32_t account, ResourceType type,
                                                    std::uint64_t kept) = 0;

  /// A driver needs so much more than it may be given: who can do without some is asked for it, and
  /// the word of changes is woken by what comes back. Errors: NotPermitted, Disconnected.
  [[nodiscard]] virtual Result<void> need(std::uint32_t driver, ResourceType type,
                                          std::uint64_t amount) = 0;

  /// Looks whether what was scarce is so still. Returns when to do so again; nothing if that needs
  /// nobody. May throw std::bad_alloc.
  [[nodiscard]] virtual std::optional<std::uint64_t> look_at_pressure() = 0;

  /// Whether it would answer now, as far as that is known.
  [[nodiscard]] virtual bool is_there() noexcept = 0;

  /// Runs `read` at a moment when nobody changes the registry, if that can be had, and otherwise
  /// some time later. For readers whom changes overtook.
  virtual void read_apart(const std::function<void()>& read) = 0;

  /// No more requests; those under way end with Disconnected. Idempotent.
  virtual void close() noexcept = 0;

  // For forks.hpp. In a child of fork() what it shares with the parent is not its own.
  virtual void before_fork() noexcept = 0;
  virtual void after_fork_in_parent() noexcept = 0;
  virtual void after_fork_in_child() noexcept = 0;
};

}  // namespace resmgr::client
