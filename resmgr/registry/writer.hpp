// SPDX-License-Identifier: Apache-2.0
//
// RegistryWriter: the authority's hand in the registry.
//
// What it is: registration, lifecycle and removal of resources, and the writers of what hangs on
// them. Registration and removal take two steps, so that the authority can set the resource up in
// the lock region while nobody finds it: prepare() reserves name and slot, publish() makes it a
// resource; begin_unregister() closes it for new dependencies, finish_unregister() frees the slot.
// What it is not: permission; who may register or remove is the caller's question.
//
// Crash safety (I3): each step takes effect by one store, and everything else is made from what was
// there before. A writer killed anywhere leaves a region that readers read correctly and that
// recover() completes; a resource that was prepared only is undone, one that was being unregistered
// stays so until the caller finishes or cancels it.
//
// Lifetime: borrows the region. Thread-safety: callers serialise; any number of readers, in this
// process and others, go on meanwhile.
//
//   auto writer = RegistryWriter::open(region).value();
//   auto prepared = writer.prepare("gpu0/frame/3", {.type = ResourceType::Memory}).value();
//   arm(prepared.slot, prepared.generation, prepared.class_id);   // in the lock region
//   Handle handle = writer.publish(prepared).value();
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "resmgr/abi/description.hpp"
#include "resmgr/base/budgets.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/registry/dependencies.hpp"
#include "resmgr/registry/generations.hpp"
#include "resmgr/registry/name_index.hpp"
#include "resmgr/registry/pairs.hpp"
#include "resmgr/registry/region.hpp"
#include "resmgr/registry/shares.hpp"
#include "resmgr/registry/tags.hpp"

namespace resmgr::registry {

/// A reserved slot that is not a resource yet.
struct PreparedSlot {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  std::uint16_t class_id = 0;
  bool fresh = false;           ///< the slot was never used before
  std::uint64_t name_hash = 0;  ///< of the name, for the index

  [[nodiscard]] Handle handle() const noexcept { return {slot, generation}; }
};

/// What recover() found.
struct Recovery {
  std::uint32_t live = 0;       ///< resources kept
  std::uint32_t undone = 0;     ///< prepared slots taken back
  std::uint32_t retired = 0;    ///< slots out of generations
  std::vector<Handle> pending;  ///< being unregistered: to be finished or cancelled by the caller
};

/// How many resources of each driver go together with one.
using Leaving = std::unordered_map<std::uint32_t, std::uint32_t>;

class RegistryWriter {
 public:
  /// Errors: InvalidArgument (the region is mapped for reading).
  [[nodiscard]] static Result<RegistryWriter> open(const RegistryRegion& region) noexcept;

  /// Who is asked before a slot is prepared, and told when it is free again; null: nobody.
  /// Borrowed.
  void set_accountant(Accountant* accountant) noexcept { accountant_ = accountant; }

  /// Completes or undoes what a writer before this one left unfinished; repeatable. Slow: looks at
  /// every entry ever used. To be called by a new authority before anything else.
  Recovery recover();

  /// What prepare() would refuse, without doing it: for callers who have something costly to make
  /// first. Errors: as prepare(), except for slots.
  [[nodiscard]] Result<void> check(std::string_view name, const Description& description) noexcept;
  /// Reserves a name and a slot. Errors: InvalidName (of the resource or its class), AlreadyExists,
  /// InvalidArgument (see check_description(), PairWriter::check(); no such owner driver),
  /// CapacityExceeded (slots, pairs, classes), those of the accountant. What it refuses leaves no
  /// trace.
  [[nodiscard]] Result<PreparedSlot> prepare(std::string_view name,
                                             const Description& description) noexcept;
  /// Makes it a resource: found by name, in state Ready, or Allocated, where its memory is still to
  /// be made. Errors: StaleHandle (not prepared), InvalidArgument (another state).
  Result<Handle> publish(const PreparedSlot& prepared, Lifecycle state = Lifecycle::Ready) noexcept;
  /// Publishes two, of which `prepared` needs `needed`: found together, by readers as by a
  /// successor of a writer that died in the middle. REQUIRES: dependencies().check_room() was
  /// content. Errors: as publish(); none is a resource then.
  Result<void> publish_with_needed(const PreparedSlot& prepared, Lifecycle state,
                                   const PreparedSlot& needed, Lifecycle needed_state) noexcept;
  /// Gives a reserved slot back, and the class, if it was new and nobody else has it yet. Errors:
  /// StaleHandle (not prepared).
  Result<void> abandon(const PreparedSlot& prepared) noexcept;

  /// Stores Allocated, Ready, Orphaned or Quarantined. Errors: StaleHandle, InvalidArgument (a
  /// state that is derived, or reached by other functions), InUse (being unregistered).
  Result<void> set_lifecycle(Handle handle, Lifecycle state) noexcept;

  /// Says why nobody acquires it: an operator has its driver drained. Errors: StaleHandle.
  Result<void> set_drained(Handle handle, bool drained) noexcept;

  /// An Orphaned resource has an owner again, and is Ready, or Allocated, where its memory is still
  /// to be made. Errors: StaleHandle, InvalidArgument (not Orphaned; another state).
  Result<void> adopt(Handle handle, std::uint32_t client, std::uint64_t cookie,
                     Lifecycle state) noexcept;

  /// State PendingCleanup; the name stays taken and found. `leaving` is what goes with it, null: it
  /// alone. Errors: StaleHandle, InUse (being unregistered already; needed by others; or shared
  /// with a driver that has resources besides those `leaving` and those that this one needs, which
  /// can't go before it: named in detail()), those of read_shares() and read_teardown_order().
  Result<void> begin_unregister(Handle handle, const Leaving* leaving = nullptr);
  /// What begin_unregister() found of users, asked anew: a driver it was shared with may have
  /// registered something since. Errors: InUse, as there; StaleHandle.
  [[nodiscard]] Result<void> check_users(Handle handle, const Leaving* leaving = nullptr) const;
  /// Whether it is being unregistered, and was Orphaned before that.
  [[nodiscard]] bool was_orphaned(Handle handle) const noexcept;
  /// Back to the state before. Errors: StaleHandle, InvalidArgument (not being unregistered).
  Result<void> cancel_unregister(Handle handle) noexcept;
  /// Removes the resource with its pairs, shares and dependencies; the handle is stale from here
  /// on. A slot whose generations are used up is retired. Errors: as cancel_unregister().
  Result<void> finish_unregister(Handle handle) noexcept;

  [[nodiscard]] TagWriter& classes() noexcept { return classes_; }
  [[nodiscard]] TagWriter& drivers() noexcept { return drivers_; }
  [[nodiscard]] ShareWriter& shares() noexcept { return shares_; }
  [[nodiscard]] DependencyWriter& dependencies() noexcept { return dependencies_; }

 private:
  explicit RegistryWriter(const Tables& tables) noexcept;

  /// A slot that nobody uses, taken off its list. Errors: CapacityExceeded.
  [[nodiscard]] Result<std::uint32_t> take_slot() noexcept;
  /// Has pages ready for that slot, which was never used, and some after it.
  void reserve_entries(std::uint32_t slot) noexcept;
  void give_slot_back(std::uint32_t slot, std::uint32_t generation) noexcept;
  /// What can be said of a registration without looking for its name, and the number that its class
  /// has or will get.
  [[nodiscard]] Result<std::uint32_t> check_rest(const Description& description) const noexcept;
  /// Gives a class of the number from check_rest() to one more resource.
  void use_class(std::uint32_t id, std::string_view name) noexcept;
  /// Errors: those of publish().
  [[nodiscard]] Result<void> check_prepared(const PreparedSlot& prepared,
                                            Lifecycle state) const noexcept;
  [[nodiscard]] bool is_prepared(const PreparedSlot& prepared) const noexcept;
  void store_lifecycle(std::uint32_t slot, unsigned lifecycle) noexcept;
  /// Has a published entry found and counted.
  void announce(const PreparedSlot& prepared) noexcept;
  /// What resources in `live` need and was prepared only is published, and live too.
  void publish_needed(std::vector<bool>& live);
  [[nodiscard]] Result<Word*> pending_entry(Handle handle) const noexcept;
  void clear_entry(std::uint32_t slot) noexcept;
  /// What the budgets were charged for a slot that is about to be free.
  void give_budget_back(const Word* entry) noexcept;

  struct KnownClass {
    Tag name{};
    std::size_t bytes = 0;  ///< 0: none
    std::uint32_t id = 0;
  };

  Tables tables_;
  Generations generations_;
  KnownClass last_class_;  ///< given to a resource
  std::uint32_t reserved_slots_ = 0;
  NameIndex index_;
  PairWriter pairs_;
  ShareWriter shares_;
  DependencyWriter dependencies_;
  TagWriter classes_;
  std::uint32_t fresh_class_ = 0;  ///< the newest, while one prepared slot alone has it; 0: none
  TagWriter drivers_;
  Accountant* accountant_ = nullptr;
};

}  // namespace resmgr::registry
