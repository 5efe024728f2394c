// SPDX-License-Identifier: Apache-2.0
//
// Registration and unregistration: the registry's entry and the lock region's slot, in step.
#include <cerrno>
#include <new>
#include <utility>

#include "resmgr/base/pause.hpp"
#include "resmgr/client/derived_lifecycle.hpp"
#include "resmgr/client/domain.hpp"
#include "resmgr/registry/slot_attributes.hpp"

namespace resmgr::client {
namespace {

NewResource new_resource(std::string_view name, const Registration& registration) noexcept {
  return {.name = name,
          .description = registration.description,
          .wishes = {.access_hook = registration.hooks.on_access != nullptr,
                     .lazy = registration.lazy,
                     .quiesce_hook = registration.on_quiesce != nullptr},
          .file = registration.file.fd.get()};
}

}  // namespace

// The files and hooks of a registration. What is left of hooks if it fails goes with this object,
// under no lock.
class Domain::Belongings final : public LocalPart {
 public:
  Belongings(Domain& domain, Registration& registration) noexcept
      : domain_(domain), registration_(registration) {}

  [[nodiscard]] Result<void> keep(Handle handle) noexcept override try {
    if (!registration_.hooks.empty()) {
      auto added = domain_.hooks_.add(handle, std::move(registration_.hooks));
      if (!added) {
        refused_ = handle;
        return added;
      }
    }
    if (registration_.file.fd || registration_.make) {
      domain_.memory_.add(handle, std::move(registration_.file), std::move(registration_.make));
    }
    return {};
  } catch (const std::bad_alloc&) {
    leftovers_ = domain_.hooks_.forget(handle);
    refused_ = handle;
    return fail_errno(ENOMEM, "registration");
  }
  void drop(Handle handle) noexcept override {
    leftovers_ = domain_.hooks_.forget(handle);
    domain_.memory_.remove(handle);
  }

  /// What could not be kept; null: nothing.
  [[nodiscard]] Handle refused() const noexcept { return refused_; }

 private:
  Domain& domain_;
  Registration& registration_;
  Handle refused_;
  std::shared_ptr<void> leftovers_;
};

Result<std::uint32_t> Domain::register_driver(std::string_view name) {
  if (closed()) return fail(ErrorCode::Disconnected);
  return authority_->intern_driver(name);
}

Handle Domain::lookup_elsewhere(std::string_view name) const noexcept {
  return closed() ? Handle() : view_.lookup_elsewhere(name);
}

Result<Handle> Domain::register_resource(std::string_view name, Registration& registration) {
  const Description& description = registration.description;
  return within_budget(registration.deadline_ns, description.owner_driver, description.type,
                       [&] { return try_register(name, registration); });
}

Result<Handle> Domain::try_register(std::string_view name, Registration& registration) {
  if (closed()) return fail(ErrorCode::Disconnected);
  // Who acquires it first may be in another process, where the author's backing is not.
  if (is_served()) registration.lazy = false;
  if (registration.make && !registration.lazy) {
    // What would be refused anyway should not make anything first.
    auto acceptable = authority_->check(name, registration.description);
    if (!acceptable) return std::unexpected(std::move(acceptable.error()));
    auto made = registration.make();
    if (!made) return std::unexpected(std::move(made.error()));
    registration.file = std::move(*made);
    registration.make = {};
  }
  registration.description.created_at = Clock::coarse();
  if (registration.on_quiesce) {
    listen();
    registration.hooks.on_quiesce = [this, hook = registration.on_quiesce](Handle handle,
                                                                           std::uint32_t attempt) {
      quiesce(hook, handle, attempt);
    };
  }
  Belongings belongings(*this, registration);
  auto registered = authority_->register_resource(new_resource(name, registration), belongings);
  if (registered) hooks_.created(*registered);
  undo(belongings);
  return registered;
}

void Domain::listen() {
  std::call_once(listens_, [this] {
    authority_->listen(
        {.quiesce = [this](Handle handle,
                           std::uint32_t attempt) { hooks_.quiesce(handle, attempt); },
         .yield = [this](const wire::YieldEvent& event) { asked_to_yield(event); },
         .reclaim =
             [this](const wire::ReclaimEvent& event) {
               asked_to_reclaim(event.type, event.amount);
             },
         .pressure = [this](const wire::PressureEvent& event) { pressure_changed(event); }});
  });
}

// What was asked for before the last answer is over by now: the next holder may be at work.
void Domain::quiesce(const std::function<Result<void>(Handle)>& hook, Handle handle,
                     std::uint32_t attempt) noexcept {
  const lock::StateWord word = engine_.word(handle.slot());
  if (!word.is_tenant(handle.generation()) || !word.has(RM_WORD_QUARANTINED)) return;
  std::optional<ErrorCode> error = ErrorCode::System;
  try {
    const auto done = hook(handle);
    error = done ? std::nullopt : std::optional(done.error().code());
  } catch (...) {
    // An author's hook that throws has not made anything quiet.
  }
  authority_->quiesced(handle, attempt, error);
  pursue();
}

Result<void> Domain::register_many(std::span<const NewResource> resources,
                                   std::span<Description> descriptions,
                                   std::span<Result<Handle>> outcomes) {
  if (closed()) return fail(ErrorCode::Disconnected);
  const std::uint64_t now = Clock::coarse();
  for (Description& each : descriptions) each.created_at = now;
  return authority_->register_many(resources, outcomes);
}

Result<Handle> Domain::register_with_needed(std::string_view name, Registration& registration,
                                            std::string_view needed_name, Registration& needed) {
  if (closed()) return fail(ErrorCode::Disconnected);
  registration.description.created_at = needed.description.created_at = Clock::coarse();
  Belongings belongings(*this, registration);
  Belongings needed_belongings(*this, needed);
  auto registered =
      authority_->register_with_needed(new_resource(name, registration), belongings,
                                       new_resource(needed_name, needed), needed_belongings);
  undo(belongings);
  undo(needed_belongings);
  return registered;
}

// Where the authority is elsewhere, what this process could not keep is registered by then.
void Domain::undo(const Belongings& belongings) noexcept {
  if (is_served() && !belongings.refused().is_null()) {
    (void)unregister_resource(belongings.refused(), 0);
  }
}

Result<void> Domain::unregister_resource(Handle handle, std::uint64_t deadline_ns,
                                         const registry::Leaving* leaving) {
  auto context = thread_context();
  if (!context) return std::unexpected(std::move(context.error()));
  if (auto begun = authority_->begin_unregister(handle, leaving); !begun) return begun;
  hooks_.mute(handle, true);
  const auto give_up = [&](Error error) -> Result<void> {
    hooks_.mute(handle, false);
    authority_->cancel_unregister(handle);
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
    if (code == ErrorCode::Quarantined && is_drained(handle)) {
      auto finished = finish_drained(**context, handle, leaving, deadline_ns);
      if (!finished) return give_up(std::move(finished.error()));
      memory_.remove(handle);
      hooks_.remove(handle);
      return {};
    }
    // Deadlock without a cycle: the caller holds it himself.
    const bool own = code == ErrorCode::Deadlock && grant.error().cycle().empty();
    if (code != ErrorCode::WouldBlock && code != ErrorCode::TimedOut && !own) {
      return give_up(std::move(grant.error()));
    }
    Error error(ErrorCode::InUse, "unregister");
    error.with_blame(grant.error().blame(), grant.error().blamed());
    return give_up(std::move(error));
  }
  if (auto finished = authority_->finish_unregister(**context, handle, leaving, waits); !finished) {
    engine_.revert(**context, handle.with_tenure(grant->tenure), HoldKind::Exclusive);
    return give_up(std::move(finished.error()));
  }
  memory_.remove(handle);
  hooks_.remove(handle);
  return {};
}

bool Domain::is_drained(Handle handle) const noexcept {
  const auto entry = view_.read(handle);
  return entry && entry->drained;
}

// It is closed to its owner too, so no hold of his can keep others out, and none has to.
Result<void> Domain::finish_drained(lock::Context& context, Handle handle,
                                    const registry::Leaving* leaving, std::uint64_t deadline_ns) {
  constexpr std::uint64_t kPauseNs = 1'000'000;
  for (;;) {
    bool held = false;
    engine_.for_each_holder(handle, [&](const Participant&) { held = true; });
    auto done = held ? fail(ErrorCode::InUse, "unregister")
                     : authority_->finish_unregister(context, handle, leaving, true);
    if (done || done.error() != ErrorCode::InUse || monotonic_ns() >= deadline_ns) return done;
    pause_for(kPauseNs);
  }
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
  return derived_lifecycle(entry, engine_.word(entry.handle.slot()), [&] {
    bool held = false;
    engine_.for_each_holder(entry.handle, [&](const Participant&) { held = true; });
    return held;
  });
}

}  // namespace resmgr::client
