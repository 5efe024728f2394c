// SPDX-License-Identifier: Apache-2.0
//
// The registry's entry and the lock region's slot, in step.
#include "resmgr/client/embedded_authority.hpp"

#include <new>
#include <utility>

#include "resmgr/base/clock.hpp"

namespace resmgr::client {
namespace {

/// Its number as a client: nobody else is there.
constexpr std::uint32_t kThisProcess = 0;

Lifecycle state_of(const NewResource& resource) noexcept {
  return resource.wishes.lazy ? Lifecycle::Allocated : Lifecycle::Ready;
}

}  // namespace

Result<std::uint32_t> EmbeddedAuthority::intern_driver(std::string_view name) {
  const std::lock_guard lock(mutex_);
  return writer_.drivers().intern(name);
}

Result<void> EmbeddedAuthority::check(std::string_view name, const Description& description) {
  const std::lock_guard lock(mutex_);
  return writer_.check(name, description);
}

Result<Handle> EmbeddedAuthority::register_resource(const NewResource& resource, LocalPart& part) {
  const std::lock_guard lock(mutex_);
  auto prepared = prepare(resource, part);
  if (!prepared) return std::unexpected(std::move(prepared.error()));
  arm(*prepared, resource);
  return writer_.publish(*prepared, state_of(resource));
}

// What may fail comes before either can be found, for what was found may be held, and stays then.
Result<Handle> EmbeddedAuthority::register_with_needed(const NewResource& resource, LocalPart& part,
                                                       const NewResource& needed,
                                                       LocalPart& needed_part) {
  const std::lock_guard lock(mutex_);
  if (auto room = writer_.dependencies().check_room(); !room) {
    return std::unexpected(std::move(room.error()));
  }
  auto second = prepare(needed, needed_part);
  if (!second) return std::unexpected(std::move(second.error()));
  auto first = prepare(resource, part);
  if (!first) {
    needed_part.drop(second->handle());
    (void)writer_.abandon(*second);
    return std::unexpected(std::move(first.error()));
  }
  arm(*second, needed);
  arm(*first, resource);
  (void)writer_.publish_with_needed(*first, state_of(resource), *second, state_of(needed));
  return first->handle();
}

Result<void> EmbeddedAuthority::register_many(std::span<const NewResource> resources,
                                              std::span<Result<Handle>> outcomes) {
  struct Nothing final : LocalPart {
    [[nodiscard]] Result<void> keep(Handle) noexcept override { return {}; }
    void drop(Handle) noexcept override {}
  } nothing;
  for (std::size_t i = 0; i < resources.size(); ++i) {
    outcomes[i] = register_resource(resources[i], nothing);
  }
  return {};
}

// A slot with all that is to be behind it.
Result<registry::PreparedSlot> EmbeddedAuthority::prepare(const NewResource& resource,
                                                          LocalPart& part) {
  auto prepared = writer_.prepare(resource.name, resource.description);
  if (!prepared) return prepared;
  if (auto kept = part.keep(prepared->handle()); !kept) {
    (void)writer_.abandon(*prepared);
    return std::unexpected(std::move(kept.error()));
  }
  return prepared;
}

// Before it is published, so that who finds the name finds everything behind it.
void EmbeddedAuthority::arm(const registry::PreparedSlot& prepared, const NewResource& resource) {
  if (prepared.fresh) locks_.grow_into(prepared.slot);
  if (resource.description.type == ResourceType::Performance) {
    store_relaxed(locks_.tables().meters[prepared.slot], 0);
  }
  engine_.arm(prepared.slot, prepared.generation, prepared.class_id,
              registry::slot_attributes(resource.description, resource.wishes));
}

Result<void> EmbeddedAuthority::begin_unregister(Handle handle, const registry::Leaving* leaving) {
  const std::lock_guard lock(mutex_);
  return writer_.begin_unregister(handle, leaving);
}

void EmbeddedAuthority::cancel_unregister(Handle handle) noexcept {
  const std::lock_guard lock(mutex_);
  (void)writer_.cancel_unregister(handle);
}

Result<void> EmbeddedAuthority::finish_unregister(lock::Context& context, Handle handle,
                                                  const registry::Leaving* leaving, bool waited) {
  // Who got resources of his own while the caller waited is a user now.
  if (waited) {
    const std::lock_guard lock(mutex_);
    if (auto unused = writer_.check_users(handle, leaving); !unused) return unused;
  }
  // Under no lock: the latch may be in the hands of one who is descheduled.
  if (auto retired = engine_.retire(context, handle, monotonic_ns() + kLatchPatienceNs); !retired) {
    return retired;
  }
  const std::lock_guard lock(mutex_);
  (void)writer_.finish_unregister(handle);
  return {};
}

// While it is being unregistered the state can't be changed; should that be given up, the next one
// who acquires it comes by here again.
void EmbeddedAuthority::memory_made(Handle handle, int) noexcept {
  const std::lock_guard lock(mutex_);
  const auto entry = view_.read(handle);
  if (!entry || entry->state == Lifecycle::PendingCleanup) return;
  if (entry->state == Lifecycle::Allocated) (void)writer_.set_lifecycle(handle, Lifecycle::Ready);
  engine_.has_memory(handle);
}

void EmbeddedAuthority::quiesced(Handle handle, std::uint32_t attempt,
                                 std::optional<ErrorCode> error) noexcept try {
  (void)emergencies_.answered(handle, attempt, error, monotonic_ns());
} catch (const std::bad_alloc&) {
  // What is left to do for it is due.
}

Result<void> EmbeddedAuthority::plead(const lock::Emergency& emergency) {
  return emergencies_.begin(emergency, monotonic_ns());
}

std::optional<std::uint64_t> EmbeddedAuthority::pursue() {
  return emergencies_.proceed(monotonic_ns());
}

void EmbeddedAuthority::ask(const lock::Emergency& emergency, const Participant& holder,
                            std::uint64_t until_ns) {
  if (asked_.yield) asked_.yield(lock::yield_event(engine_.tables(), emergency, holder, until_ns));
}

// He is asked on the one thread that the hooks have; who has no time limit is never too late.
std::optional<std::uint64_t> EmbeddedAuthority::quiesce(Handle handle, std::uint32_t attempt,
                                                        std::uint64_t) {
  if (!asked_.quiesce) return {};
  asked_.quiesce(handle, attempt);
  return kNoDeadline;
}

Result<UniqueFd> EmbeddedAuthority::open_file(Handle, Rights) {
  return fail(ErrorCode::Unsupported, "the resource has no memory");
}

Result<void> EmbeddedAuthority::share(Handle handle, std::uint32_t by, std::uint32_t with,
                                      Rights rights) {
  const std::lock_guard lock(mutex_);
  return writer_.shares().share(handle, by, with, rights);
}

Result<void> EmbeddedAuthority::unshare(Handle handle, std::uint32_t by, std::uint32_t with) {
  const std::lock_guard lock(mutex_);
  return writer_.shares().unshare(handle, by, with);
}

Result<void> EmbeddedAuthority::add_dependency(Handle needs, Handle needed) {
  const std::lock_guard lock(mutex_);
  return writer_.dependencies().add(needs, needed);
}

Result<void> EmbeddedAuthority::remove_dependency(Handle needs, Handle needed) {
  const std::lock_guard lock(mutex_);
  return writer_.dependencies().remove(needs, needed);
}

Result<void> EmbeddedAuthority::set_budget(std::uint32_t driver, ResourceType type,
                                           const ResourceBudget& budget) {
  const std::lock_guard lock(mutex_);
  return book_.set(driver, type, budget, true);
}

Result<budget::Drawn> EmbeddedAuthority::draw(std::uint32_t driver, ResourceType type,
                                              std::uint64_t least, std::uint64_t most,
                                              Urgency urgency) {
  const std::lock_guard lock(mutex_);
  return book_.draw(kThisProcess, driver, type, least, most, urgency);
}

Result<void> EmbeddedAuthority::return_credits(std::uint32_t account, ResourceType type,
                                               std::uint64_t kept) {
  const std::lock_guard lock(mutex_);
  return book_.return_credits(kThisProcess, account, type, kept);
}

Result<void> EmbeddedAuthority::need(std::uint32_t, ResourceType type, std::uint64_t amount) {
  {
    const std::lock_guard lock(mutex_);
    book_.expect_return(type);
  }
  if (asked_.reclaim) asked_.reclaim({.type = type, .amount = amount});
  return {};
}

// From now on it is told, and what it missed with the next change.
void EmbeddedAuthority::listen(Asked asked) {
  const std::lock_guard lock(mutex_);
  asked_ = std::move(asked);
}

std::optional<std::uint64_t> EmbeddedAuthority::look_at_pressure() {
  // Two small files are read under the lock, once in a second, by who wants to know of pressure.
  const std::lock_guard lock(mutex_);
  if (!watch_.observes()) watch_.observe(budget::MemoryObserver::find());
  return watch_.look_again(monotonic_ns());
}

void EmbeddedAuthority::read_apart(const std::function<void()>& read) {
  const std::lock_guard lock(mutex_);
  read();
}

}  // namespace resmgr::client
