// SPDX-License-Identifier: Apache-2.0
//
// Registration and unregistration: the registry's entry and the lock region's slot, in step.
#include <cerrno>
#include <new>
#include <utility>

#include "resmgr/client/domain.hpp"
#include "resmgr/registry/slot_attributes.hpp"

namespace resmgr::client {
namespace {

std::uint8_t attributes_of(const Registration& registration) noexcept {
  return registry::slot_attributes(
      registration.description,
      {.access_hook = registration.hooks.on_access != nullptr, .lazy = registration.lazy});
}

}  // namespace

Result<std::uint32_t> Domain::register_driver(std::string_view name) {
  if (closed()) return fail(ErrorCode::Disconnected);
  const std::lock_guard lock(registry_mutex_);
  return writer_.drivers().intern(name);
}

Handle Domain::lookup_elsewhere(std::string_view name) const noexcept {
  return closed() ? Handle() : view_.lookup_elsewhere(name);
}

Result<Handle> Domain::register_resource(std::string_view name, Registration& registration) {
  if (closed()) return fail(ErrorCode::Disconnected);
  if (registration.make && !registration.lazy) {
    // What would be refused anyway should not make anything first.
    auto acceptable = with_writer([&](registry::RegistryWriter& writer) {
      return writer.check(name, registration.description);
    });
    if (!acceptable) return std::unexpected(std::move(acceptable.error()));
    auto made = registration.make();
    if (!made) return std::unexpected(std::move(made.error()));
    registration.file = std::move(*made);
    registration.make = {};
  }
  registration.description.created_at = Clock::coarse();
  std::shared_ptr<void> leftovers;
  const std::lock_guard lock(registry_mutex_);
  const std::uint8_t attributes = attributes_of(registration);
  auto prepared = prepare(name, registration, leftovers);
  if (!prepared) return std::unexpected(std::move(prepared.error()));
  return publish(*prepared, registration.lazy ? Lifecycle::Allocated : Lifecycle::Ready,
                 attributes);
}

// What may fail comes before either can be found, for what was found may be held, and stays then.
Result<Handle> Domain::register_with_needed(std::string_view name, Registration& registration,
                                            std::string_view needed_name, Registration& needed) {
  if (closed()) return fail(ErrorCode::Disconnected);
  registration.description.created_at = needed.description.created_at = Clock::coarse();
  std::shared_ptr<void> leftovers;
  const std::lock_guard lock(registry_mutex_);
  if (auto room = writer_.dependencies().check_room(); !room) {
    return std::unexpected(std::move(room.error()));
  }
  auto second = prepare(needed_name, needed, leftovers);
  if (!second) return std::unexpected(std::move(second.error()));
  auto first = prepare(name, registration, leftovers);
  if (!first) {
    memory_.remove(second->handle());
    (void)writer_.abandon(*second);
    return std::unexpected(std::move(first.error()));
  }
  (void)publish(*second, Lifecycle::Ready, attributes_of(needed));
  auto published = publish(*first, Lifecycle::Ready, attributes_of(registration));
  writer_.dependencies().add_first(first->handle(), second->handle());
  return published;
}

// A slot with all that is to be behind it. What is left of hooks if it fails goes under no lock.
Result<registry::PreparedSlot> Domain::prepare(std::string_view name, Registration& registration,
                                               std::shared_ptr<void>& leftovers) noexcept {
  auto prepared = writer_.prepare(name, registration.description);
  if (!prepared) return prepared;
  if (auto kept = keep(prepared->handle(), registration); !kept) {
    leftovers = hooks_.forget(prepared->handle());
    (void)writer_.abandon(*prepared);
    return std::unexpected(std::move(kept.error()));
  }
  return prepared;
}

Result<Handle> Domain::publish(const registry::PreparedSlot& prepared, Lifecycle state,
                               std::uint8_t attributes) noexcept {
  if (prepared.generation == 1) locks_.grow_into(prepared.slot);
  engine_.arm(prepared.slot, prepared.generation, prepared.class_id, attributes);
  // Last, so that who finds the name finds everything behind it.
  auto published = writer_.publish(prepared, state);
  if (published) hooks_.created(prepared.handle());
  return published;
}

// What this process keeps of a resource.
Result<void> Domain::keep(Handle handle, Registration& registration) noexcept try {
  if (!registration.hooks.empty()) {
    if (auto added = hooks_.add(handle, std::move(registration.hooks)); !added) return added;
  }
  if (registration.file.fd || registration.make) {
    memory_.add(handle, std::move(registration.file), std::move(registration.make));
  }
  return {};
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "registration");
}

Result<void> Domain::unregister_resource(Handle handle, std::uint64_t deadline_ns,
                                         const registry::Leaving* leaving) {
  auto context = thread_context();
  if (!context) return std::unexpected(std::move(context.error()));
  {
    const std::lock_guard lock(registry_mutex_);
    if (auto begun = writer_.begin_unregister(handle, leaving); !begun) {
      return std::unexpected(std::move(begun.error()));
    }
  }
  hooks_.mute(handle, true);
  const auto give_up = [&](Error error) -> Result<void> {
    hooks_.mute(handle, false);
    const std::lock_guard lock(registry_mutex_);
    (void)writer_.cancel_unregister(handle);
    return std::unexpected(std::move(error));
  };
  // Unregistering is an exclusive hold that never ends: it waits its turn before everybody else.
  const bool waits = deadline_ns > monotonic_ns();
  const lock::Request request{
      .mode = waits ? AcquisitionMode::Timeout : AcquisitionMode::NonBlocking,
      .deadline_ns = deadline_ns,
      .priority = ResourcePriority::Critical,
      .authority = true};
  auto grant = engine_.acquire(**context, handle, request);
  if (!grant) {
    const ErrorCode code = grant.error().code();
    // Deadlock without a cycle: the caller holds it himself.
    const bool own = code == ErrorCode::Deadlock && grant.error().cycle().empty();
    if (code != ErrorCode::WouldBlock && code != ErrorCode::TimedOut && !own) {
      return give_up(std::move(grant.error()));
    }
    Error error(ErrorCode::InUse, "unregister");
    error.with_blame(grant.error().blame(), grant.error().blamed());
    return give_up(std::move(error));
  }
  // Who got resources of his own while this waited is a user now.
  Result<void> retired = waits ? check_users(handle, leaving) : Result<void>();
  constexpr std::uint64_t kLatchPatienceNs = 100'000'000;  // a holder descheduled, not stopped
  if (retired) retired = engine_.retire(**context, handle, monotonic_ns() + kLatchPatienceNs);
  if (!retired) {
    engine_.revert(**context, handle.with_tenure(grant->tenure), HoldKind::Exclusive);
    return give_up(std::move(retired.error()));
  }
  {
    const std::lock_guard lock(registry_mutex_);
    (void)writer_.finish_unregister(handle);
  }
  memory_.remove(handle);
  hooks_.remove(handle);
  return {};
}

Result<void> Domain::check_users(Handle handle, const registry::Leaving* leaving) noexcept try {
  const std::lock_guard lock(registry_mutex_);
  return writer_.check_users(handle, leaving);
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "unregister");
}

Result<void> Domain::teardown(Handle handle, std::uint64_t deadline_ns) {
  auto order = read_settled([&](const auto& view) { return view.teardown_order(handle); });
  if (!order) return std::unexpected(std::move(order.error()));
  std::vector<std::uint32_t> owners;
  registry::Leaving leaving;
  for (const Handle each : *order) {
    const auto entry = view_.read(each);
    owners.push_back(entry ? entry->owner_driver : 0);
    ++leaving[owners.back()];
  }
  for (std::size_t i = 0; i < order->size(); ++i) {
    --leaving[owners[i]];  // what stays is a user of what follows
    auto gone = unregister_resource((*order)[i], deadline_ns, &leaving);
    if (gone) continue;
    // Below the first, what others need or use too stays: that is not an error but the end of this
    // branch.
    if (i > 0 && gone.error() == ErrorCode::InUse && gone.error().blamed() == 0) continue;
    return gone;
  }
  return {};
}

Lifecycle Domain::lifecycle(const registry::EntryCopy& entry) const noexcept {
  if (entry.state != Lifecycle::Ready && entry.state != Lifecycle::Allocated) return entry.state;
  const lock::StateWord word = engine_.word(entry.handle.slot());
  if (!word.is_tenant(entry.handle.generation())) return Lifecycle::Deallocated;
  if (word.has(RM_WORD_QUARANTINED)) return Lifecycle::Quarantined;
  if (word.owner() != 0) return Lifecycle::Locked;
  bool held = false;
  engine_.for_each_holder(entry.handle, [&](const Participant&) { held = true; });
  if (held) return Lifecycle::Active;
  return entry.state;
}

}  // namespace resmgr::client
