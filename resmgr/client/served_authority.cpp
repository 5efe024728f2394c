// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/served_authority.hpp"

#include <sched.h>

#include <array>
#include <new>
#include <optional>
#include <utility>

#include "resmgr/abi/budget_requests.hpp"
#include "resmgr/abi/events.hpp"
#include "resmgr/abi/registration.hpp"
#include "resmgr/abi/requests.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/base/pause.hpp"

namespace resmgr::client {
namespace {

Result<wire::ResultReply> result_of(const Link::Attempt& reply) {
  auto result = wire::ResultReply::decode(reply.frame);
  if (!result) return result;
  if (result->error) return std::unexpected(wire::error_of(*result));
  return result;
}

// A refusal is of the whole request.
Result<wire::RegisteredReply> registered_of(const Link::Attempt& reply) {
  if (reply.frame.type == wire::FrameType::Result) {
    auto result = result_of(reply);
    if (!result) return std::unexpected(std::move(result.error()));
  }
  return wire::RegisteredReply::decode(reply.frame);
}

Result<UniqueFd> file_from(Link& link, const wire::OpenFdRequest& request) {
  UniqueFd file;
  auto done = link.call(
      [&](std::uint64_t id, std::span<std::byte> out) { return wire::encode(request, id, out); },
      {},
      [&](const Link::Attempt& reply) -> Result<void> {
        auto result = result_of(reply);
        if (!result) return std::unexpected(std::move(result.error()));
        if (!result->has_fd || reply.fds.empty()) {
          return fail(ErrorCode::InvalidArgument, "an answer without its descriptor");
        }
        file = std::move(reply.fds[0]);
        return {};
      });
  if (!done) return std::unexpected(std::move(done.error()));
  return file;
}

// Who sees no /proc asks the daemon, which does. None, where that is of a version that can't help
// either: then a connection that is lost has to be made anew in the time that the daemon gives.
Presence presence_in(Link& link, int locks, std::uint32_t client) {
  auto presence = Presence::mark(locks, client);
  if (presence) return std::move(*presence);
  auto own = file_from(link, {.handle = {}, .rights = Rights::Read});
  if (own) presence = Presence::mark_own(std::move(*own), client);
  return presence ? std::move(*presence) : Presence();
}

// The lock region goes on where another daemon takes the domain over, perhaps right now: its epoch
// may be a later one.
bool belong_to(const rm_region_header& registry, const rm_region_header& locks,
               const wire::ClientPlace& place) noexcept {
  return registry.domain_id == place.domain_id && registry.epoch == place.epoch &&
         locks.domain_id == place.domain_id;
}

}  // namespace

Result<ServedAuthority::Attached> ServedAuthority::attach(LinkOptions options) {
  auto link = Link::connect(std::move(options));
  if (!link) return std::unexpected(std::move(link.error()));
  Link::Regions regions = (*link)->take_regions();
  auto registry =
      registry::RegistryRegion::attach(std::move(regions.registry), Mapping::Access::Read);
  if (!registry) return std::unexpected(std::move(registry.error()));
  auto locks = lock::LockRegion::attach(std::move(regions.locks));
  if (!locks) return std::unexpected(std::move(locks.error()));
  if (!belong_to(registry->header(), locks->header(), regions.place) ||
      regions.place.client >= locks->tables().client_count) {
    return fail(ErrorCode::InvalidArgument, "the daemon's regions are of another domain");
  }
  struct Public : ServedAuthority {  // make_unique needs a constructor it may call
    Public(std::unique_ptr<Link> l, const registry::RegistryRegion& r, std::uint32_t c,
           Presence p) noexcept
        : ServedAuthority(std::move(l), r, c, std::move(p)) {}
  };
  Presence presence = presence_in(**link, locks->fd(), regions.place.client);
  std::unique_ptr<ServedAuthority> authority = std::make_unique<Public>(
      std::move(*link), *registry, regions.place.client, std::move(presence));
  return Attached{std::move(*registry), std::move(*locks), std::move(authority),
                  regions.place.client, std::move(regions.daemon_version)};
}

Result<void> ServedAuthority::follow_in(registry::RegistryRegion& registry) {
  return link_->on_new_epoch(
      [&registry](UniqueFd later) { return registry.follow(std::move(later)); });
}

// What the daemon does with the place afterwards is no concern of this process.
void ServedAuthority::on_end(Link::OnEnd on_end) {
  link_->on_end([this, tell = std::move(on_end)] {
    presence_.end();
    tell();
  });
}

// First, so that a connection that ends without a goodbye is not waited for.
void ServedAuthority::close() noexcept {
  presence_.end();
  link_->close();
}

void ServedAuthority::after_fork_in_child() noexcept {
  link_->after_fork_in_child();
  presence_ = {};
}

template <typename Request>
Result<void> ServedAuthority::ask(const Request& request, std::span<const int> fds,
                                  std::optional<ErrorCode> done_before) {
  return link_->call(
      [&](std::uint64_t id, std::span<std::byte> out) { return wire::encode(request, id, out); },
      fds,
      [&](const Link::Attempt& reply) -> Result<void> {
        auto result = result_of(reply);
        if (result) return {};
        if (reply.repeated && done_before && result.error() == *done_before) return {};
        return std::unexpected(std::move(result.error()));
      });
}

Result<std::uint32_t> ServedAuthority::intern_driver(std::string_view name) {
  std::uint32_t number = 0;
  auto done = link_->call(
      [&](std::uint64_t id, std::span<std::byte> out) {
        return wire::encode(wire::InternDriverRequest{.driver = name}, id, out);
      },
      {},
      [&](const Link::Attempt& reply) -> Result<void> {
        auto result = result_of(reply);
        if (!result) return std::unexpected(std::move(result.error()));
        number = static_cast<std::uint32_t>(result->value[0]);
        return {};
      });
  if (!done) return std::unexpected(std::move(done.error()));
  link_->remember_driver(name);
  return number;
}

// The daemon finds the rest, and refuses then.
Result<void> ServedAuthority::check(std::string_view name, const Description& description) {
  if (auto sound = (wire::Record{.name = name, .description = description}).check(); !sound) {
    return sound;
  }
  if (!view_.lookup(name).is_null()) return fail(ErrorCode::AlreadyExists);
  return {};
}

Handle ServedAuthority::own(std::string_view name) const noexcept {
  const Handle handle = view_.lookup(name);
  const auto entry = view_.read(handle);
  return entry && entry->owner_client == client_ ? handle : Handle();
}

// One request; of two the first needs the second. Returns the first.
Result<Handle> ServedAuthority::register_all(std::span<const NewResource* const> resources) {
  std::array<int, kMaxPacketFds> files{};
  std::size_t file_count = 0;
  for (const NewResource* resource : resources) {
    if (resource->file >= 0) files[file_count++] = resource->file;
  }
  Handle first;
  auto done = link_->call(
      [&](std::uint64_t id, std::span<std::byte> out) -> Result<std::size_t> {
        wire::RegisterWriter writer(id, out);
        std::uint16_t file = 0;
        for (const NewResource* resource : resources) {
          wire::Record record{.name = resource->name,
                              .description = resource->description,
                              .lazy = resource->wishes.lazy,
                              .access_hook = resource->wishes.access_hook,
                              .quiesce_hook = resource->wishes.quiesce_hook,
                              .needs_next = resource != resources.back()};
          if (resource->file >= 0) record.fd = file++;
          if (auto added = writer.add(record); !added) {
            return std::unexpected(std::move(added.error()));
          }
        }
        return writer.finish();
      },
      std::span(files).first(file_count),
      [&](const Link::Attempt& reply) -> Result<void> {
        auto registered = registered_of(reply);
        if (!registered) return std::unexpected(std::move(registered.error()));
        auto outcome = outcome_of(registered->at(0), *resources.front(), reply.repeated);
        if (!outcome) return std::unexpected(std::move(outcome.error()));
        first = *outcome;
        return {};
      });
  if (!done) return std::unexpected(std::move(done.error()));
  return first;
}

Result<Handle> ServedAuthority::register_resource(const NewResource& resource, LocalPart& part) {
  const std::array resources{&resource};
  auto handle = register_all(resources);
  if (!handle) return handle;
  if (auto kept = part.keep(*handle); !kept) return std::unexpected(std::move(kept.error()));
  return handle;
}

Result<Handle> ServedAuthority::register_with_needed(const NewResource& resource, LocalPart& part,
                                                     const NewResource& needed,
                                                     LocalPart& needed_part) {
  const std::array resources{&resource, &needed};
  auto handle = register_all(resources);
  if (!handle) return handle;
  if (auto kept = part.keep(*handle); !kept) return std::unexpected(std::move(kept.error()));
  if (auto kept = needed_part.keep(own(needed.name)); !kept) {
    return std::unexpected(std::move(kept.error()));
  }
  return handle;
}

Result<void> ServedAuthority::register_many(std::span<const NewResource> resources,
                                            std::span<Result<Handle>> outcomes) {
  for (std::size_t done = 0; done < resources.size();) {
    std::size_t sent = 0;
    auto called = link_->call(
        [&](std::uint64_t id, std::span<std::byte> out) -> Result<std::size_t> {
          wire::RegisterWriter writer(id, out);
          for (sent = 0; done + sent < resources.size(); ++sent) {
            const NewResource& resource = resources[done + sent];
            auto added = writer.add({.name = resource.name, .description = resource.description});
            if (added) continue;
            if (added.error() == ErrorCode::CapacityExceeded && sent != 0) break;
            outcomes[done + sent] = std::unexpected(std::move(added.error()));
            break;
          }
          return sent != 0 ? writer.finish() : fail(ErrorCode::InvalidArgument, "registration");
        },
        {},
        [&](const Link::Attempt& reply) -> Result<void> {
          auto registered = registered_of(reply);
          if (!registered) return std::unexpected(std::move(registered.error()));
          if (registered->count() != sent) return fail(ErrorCode::InvalidArgument, "batch");
          for (std::uint32_t i = 0; i < sent; ++i) {
            outcomes[done + i] = outcome_of(registered->at(i), resources[done + i], reply.repeated);
          }
          return {};
        });
    // The first of the rest is one that can't be sent at all: its own error is there.
    if (!called && sent == 0) {
      ++done;
      continue;
    }
    if (!called) {
      for (; done < resources.size(); ++done) outcomes[done] = std::unexpected(called.error());
      return called;
    }
    done += sent;
  }
  return {};
}

Result<Handle> ServedAuthority::outcome_of(const wire::RegistrationOutcome& outcome,
                                           const NewResource& resource, bool repeated) const {
  if (!outcome.error) return outcome.handle;
  if (repeated && *outcome.error == ErrorCode::AlreadyExists) {
    if (const Handle handle = own(resource.name); !handle.is_null()) return handle;
  }
  Error error(*outcome.error, "registration");
  if (error == ErrorCode::BudgetExceeded) {
    // Which is not on the wire: as it is by now.
    const Description& wanted = resource.description;
    error.with_amounts(cost_of(wanted.type, wanted.size_bytes),
                       budget::available(budgets_, wanted.owner_driver, wanted.type));
  }
  return std::unexpected(std::move(error));
}

// Whose resources leave together is not told: of two drivers that use each other's the daemon lets
// none go before the other has unshared.
Result<void> ServedAuthority::begin_unregister(Handle handle, const registry::Leaving*) {
  return ask(wire::UnregisterRequest{.step = wire::UnregisterStep::Begin, .handle = handle}, {},
             ErrorCode::InUse);
}

void ServedAuthority::cancel_unregister(Handle handle) noexcept try {
  (void)ask(wire::UnregisterRequest{.step = wire::UnregisterStep::Cancel, .handle = handle});
} catch (const std::bad_alloc&) {
  // It stays in PendingCleanup until its owner tries again or leaves.
}

Result<void> ServedAuthority::finish_unregister(lock::Context&, Handle handle,
                                                const registry::Leaving*, bool) {
  const std::uint64_t deadline = monotonic_ns() + kLatchPatienceNs;
  for (;;) {
    auto done = ask(wire::UnregisterRequest{.step = wire::UnregisterStep::Finish, .handle = handle},
                    {}, ErrorCode::StaleHandle);
    if (done || done.error() != ErrorCode::WouldBlock) return done;
    // Somebody has the latch, whom the daemon does not wait for.
    if (monotonic_ns() > deadline) return fail(ErrorCode::InUse, "unregister");
    ::sched_yield();
  }
}

void ServedAuthority::listen(Asked asked) {
  link_->listen([asked = std::move(asked)](const wire::Frame& frame) {
    if (frame.type == wire::FrameType::Quiesce) {
      const auto event = wire::QuiesceEvent::decode(frame);
      if (event && asked.quiesce) asked.quiesce(event->handle, event->attempt);
    } else if (frame.type == wire::FrameType::Yield) {
      const auto event = wire::YieldEvent::decode(frame);
      if (event && asked.yield) asked.yield(*event);
    } else if (frame.type == wire::FrameType::Reclaim) {
      const auto event = wire::ReclaimEvent::decode(frame);
      if (event && asked.reclaim) asked.reclaim(*event);
    } else if (frame.type == wire::FrameType::Pressure) {
      const auto event = wire::PressureEvent::decode(frame);
      if (event && asked.pressure) asked.pressure(*event);
    }
  });
}

Result<void> ServedAuthority::plead(const lock::Emergency& emergency) {
  return ask(wire::EmergencyRequest{.handle = emergency.handle,
                                    .sequence = emergency.sequence,
                                    .yield_ns = emergency.yield_ns,
                                    .node_link = emergency.node_link,
                                    .context = emergency.context});
}

void ServedAuthority::quiesced(Handle handle, std::uint32_t attempt,
                               std::optional<ErrorCode> error) noexcept try {
  (void)ask(wire::SetStateRequest{.handle = handle,
                                  .state = error ? Lifecycle::Quarantined : Lifecycle::Ready,
                                  .attempt = attempt,
                                  .error = error});
} catch (const std::bad_alloc&) {
  // As if the hook had said nothing in time.
}

void ServedAuthority::memory_made(Handle handle, int file) noexcept try {
  const std::array files{file};
  (void)ask(wire::SetStateRequest{.handle = handle, .has_fd = file >= 0},
            std::span(files).first(file >= 0 ? 1 : 0));
} catch (const std::bad_alloc&) {
  // Who acquires it next comes by here again.
}

Result<UniqueFd> ServedAuthority::open_file(Handle handle, Rights rights) {
  return file_from(*link_, {.handle = handle, .rights = rights});
}

// As whom is not said: the daemon knows which drivers are this process's.
Result<void> ServedAuthority::share(Handle handle, std::uint32_t, std::uint32_t with,
                                    Rights rights) {
  return ask(wire::ShareRequest{
      .change = wire::ShareChange::Share, .handle = handle, .driver_id = with, .rights = rights});
}

Result<void> ServedAuthority::unshare(Handle handle, std::uint32_t, std::uint32_t with) {
  return ask(wire::ShareRequest{.change = wire::ShareChange::Unshare,
                                .handle = handle,
                                .driver_id = with,
                                .rights = Rights::All},
             {}, ErrorCode::NotFound);
}

Result<void> ServedAuthority::add_dependency(Handle needs, Handle needed) {
  return ask(
      wire::DependencyRequest{.change = wire::DependencyChange::Add, .from = needs, .to = needed},
      {}, ErrorCode::AlreadyExists);
}

Result<void> ServedAuthority::remove_dependency(Handle needs, Handle needed) {
  return ask(
      wire::DependencyRequest{
          .change = wire::DependencyChange::Remove, .from = needs, .to = needed},
      {}, ErrorCode::NotFound);
}

Result<void> ServedAuthority::set_budget(std::uint32_t driver, ResourceType type,
                                         const ResourceBudget& budget) {
  return ask(wire::SetBudgetRequest{.driver_id = driver, .type = type, .budget = budget});
}

// Said twice it is drawn twice: then this process has more in advance.
Result<budget::Drawn> ServedAuthority::draw(std::uint32_t driver, ResourceType type,
                                            std::uint64_t least, std::uint64_t most,
                                            Urgency urgency) {
  const wire::DrawRequest request{
      .driver_id = driver, .type = type, .least = least, .most = most, .urgency = urgency};
  budget::Drawn drawn;
  auto done = link_->call(
      [&](std::uint64_t id, std::span<std::byte> out) { return wire::encode(request, id, out); },
      {},
      [&](const Link::Attempt& reply) -> Result<void> {
        auto result = result_of(reply);
        if (!result) return std::unexpected(std::move(result.error()));
        drawn = {.account = static_cast<std::uint32_t>(result->value[0]),
                 .amount = result->value[1]};
        return {};
      });
  if (!done) return std::unexpected(std::move(done.error()));
  return drawn;
}

Result<void> ServedAuthority::return_credits(std::uint32_t account, ResourceType type,
                                             std::uint64_t kept) {
  return ask(wire::ReturnCreditsRequest{.account = account, .type = type, .kept = kept});
}

Result<void> ServedAuthority::need(std::uint32_t driver, ResourceType type, std::uint64_t amount) {
  return ask(wire::NeedRequest{.driver_id = driver, .type = type, .amount = amount});
}

// The daemon's changes are short; one that died in the middle of one is replaced in milliseconds.
void ServedAuthority::read_apart(const std::function<void()>& read) {
  constexpr std::uint64_t kPauseNs = 100'000;
  pause_for(kPauseNs);
  read();
}

}  // namespace resmgr::client
