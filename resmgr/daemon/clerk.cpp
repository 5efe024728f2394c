// SPDX-License-Identifier: Apache-2.0
//
// Who is served, and how an answer is made; the dead. The requests themselves: clerk_requests.cpp.
#include "resmgr/daemon/clerk.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "resmgr/abi/version.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/base/presence.hpp"

namespace resmgr::daemon {

void Clerk::inherit(Handle handle, UniqueFd file) {
  if (state_.view().is_live(handle)) {
    files_[handle] = std::move(file);
    note_pool(handle);
  } else {
    ledger_.file_dropped(handle);
  }
}

void Clerk::note_pool(Handle handle) {
  const auto entry = state_.view().read(handle);
  if (!entry) return;
  const auto class_name = state_.view().classes().name(entry->class_id);
  if (class_name && PoolCare::is_pool(entry->type, class_name->data())) pools_.inherit(handle);
}

void Clerk::inherit(const Client& client) {
  if (client.index == 0 || client.index >= places_.size()) return;
  places_[client.index] = {client.sequence, true};
  absent_[client.index] = client;
}

bool Clerk::has_region(std::uint32_t index) const noexcept {
  return Presence::is_marked(state_.locks().fd(), index);
}

void Clerk::bury_absent(std::uint32_t index, int pidfd) {
  const auto absent = absent_.extract(index);
  if (!absent) return;
  absent.mapped().pidfd = pidfd;
  bury(absent.mapped());
}

Result<void> Clerk::admit(Client& client) {
  const lock::LockTables& t = state_.locks().tables();
  // 0 is a process alone with its domain.
  for (std::uint32_t index = 1; index < places_.size(); ++index) {
    Place& place = places_[index];
    if (place.taken) continue;
    rm_client& record = *t.client(index);
    // The region's goes on from what a predecessor left; should a client have written there, the
    // numbers only jump.
    place.sequence = std::max(place.sequence, load(record.state) >> RM_CLIENT_SEQ_SHIFT) + 1;
    place.taken = true;
    client.index = index;
    client.sequence = place.sequence;
    store_relaxed(record.pid, client.pid);
    store_relaxed(record.start_time, client.start_time);
    store_relaxed(record.doorbell, 0);
    store(record.state, client.sequence << RM_CLIENT_SEQ_SHIFT | RM_CONTEXT_LIVE);
    return {};
  }
  Error error(ErrorCode::CapacityExceeded, "clients");
  error.with_amounts(t.client_count, t.client_count - 1);
  return std::unexpected(std::move(error));
}

// Believed of the same process only: its pid can't have changed hands while it lives. It may come
// from an earlier epoch, whose registry this one's is a copy of.
bool Clerk::take_place_back(Client& client, const wire::ClientPlace& before) {
  const rm_region_header& header = state_.registry().header();
  const auto absent = absent_.find(before.client);
  if (absent == absent_.end() || before.domain_id != header.domain_id ||
      before.epoch > header.epoch || before.sequence != absent->second.sequence ||
      client.pid != absent->second.pid || client.start_time != absent->second.start_time) {
    return false;
  }
  client.index = absent->second.index;
  client.sequence = absent->second.sequence;
  client.returned = true;
  absent_.erase(absent);
  return true;
}

Clerk::Answer Clerk::answer(Client& client, std::span<const std::byte> bytes,
                            std::span<UniqueFd> fds, std::span<std::byte> out) {
  const auto refuse = [&](std::uint64_t request_id, const Error& error) {
    Answer answer;
    // Without a request id there is nobody to answer: the caller ends the connection.
    const auto size = wire::encode(wire::refusal(error), request_id, out);
    if (size) {
      answer.bytes = *size;
    } else {
      client.left = client.broke_protocol = true;
    }
    return answer;
  };
  const auto frame = wire::read_frame(bytes);
  if (!frame) return refuse(wire::request_id_of(bytes), frame.error());
  if (wire::kind_of(frame->type) != wire::FrameKind::Request) {
    client.left = client.broke_protocol = true;
    return {};
  }
  if (frame->fds != fds.size()) {
    return refuse(frame->request_id,
                  Error(ErrorCode::InvalidArgument, "other descriptors than the frame says"));
  }
  auto answer = serve(client, *frame, fds, out);
  return answer ? std::move(*answer) : refuse(frame->request_id, answer.error());
}

Result<Clerk::Answer> Clerk::serve(Client& client, const wire::Frame& frame,
                                   std::span<UniqueFd> fds, std::span<std::byte> out) {
  const auto plain = [&](Result<Reply> reply) -> Result<Answer> {
    if (!reply) return std::unexpected(std::move(reply.error()));
    Answer answer;
    auto size = wire::encode(*reply, frame.request_id, out);
    if (!size) return std::unexpected(std::move(size.error()));
    answer.bytes = *size;
    return answer;
  };
  if (client.greeted == (frame.type == wire::FrameType::Hello)) {
    return fail(ErrorCode::InvalidArgument, "hello comes first, and once");
  }
  switch (frame.type) {
    case wire::FrameType::Hello:
      return hello(client, frame, out);
    case wire::FrameType::Register:
      return register_all(client, frame, fds, out);
    case wire::FrameType::BeginUnregister:
    case wire::FrameType::FinishUnregister:
    case wire::FrameType::CancelUnregister:
      return plain(unregister(client, frame));
    case wire::FrameType::Share:
    case wire::FrameType::Unshare:
      return plain(share(client, frame));
    case wire::FrameType::AddDependency:
    case wire::FrameType::RemoveDependency:
      return plain(depend(client, frame));
    case wire::FrameType::SetState:
      return plain(set_state(client, frame, fds));
    case wire::FrameType::OpenFd:
      return open_fd(client, frame, out);
    case wire::FrameType::InternDriver:
      return plain(intern_driver(client, frame));
    case wire::FrameType::Emergency:
      return plain(plead(client, frame));
    case wire::FrameType::Draw:
      return plain(draw(client, frame));
    case wire::FrameType::ReturnCredits:
      return plain(return_credits(client, frame));
    case wire::FrameType::Need:
      return plain(need(client, frame));
    case wire::FrameType::SetBudget:
      return plain(set_budget(client, frame));
    case wire::FrameType::Repair:
    case wire::FrameType::Unpoison:
    case wire::FrameType::Drain:
    case wire::FrameType::CancelDrain:
      return plain(operate(client, frame));
    case wire::FrameType::Goodbye:
      client.left = true;
      [[fallthrough]];
    case wire::FrameType::Ping: {
      auto signal = wire::SignalRequest::decode(frame);
      if (!signal) return std::unexpected(std::move(signal.error()));
      return plain(Reply{});
    }
    default:
      return fail(ErrorCode::Unsupported, "request");
  }
}

Result<Clerk::Answer> Clerk::hello(Client& client, const wire::Frame& frame,
                                   std::span<std::byte> out) {
  auto hello = wire::Hello::decode(frame);
  if (!hello) return std::unexpected(std::move(hello.error()));
  if (hello->layout_major != RM_LAYOUT_MAJOR) {
    return std::unexpected(version_mismatch("hello", "the client",
                                            {hello->layout_major, hello->layout_minor},
                                            {RM_LAYOUT_MAJOR, RM_LAYOUT_MINOR}));
  }
  // It has one if an earlier hello failed later.
  if (client.index == 0 && !take_place_back(client, hello->before)) {
    if (auto admitted = admit(client); !admitted) {
      // That its place is lost is for good, and matters more than that there is no other.
      if (hello->before.epoch != 0) return fail(ErrorCode::Disconnected, "that place is lost");
      return std::unexpected(admitted.error());
    }
    ledger_.client_came(client);
  }
  Answer answer;
  for (const int fd : {state_.registry().fd(), state_.locks().fd()}) {
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) return fail_errno(errno, "the regions' descriptors");
    answer.fds[answer.fd_count++] = std::move(copy);
  }
  count_owned(client);
  std::uint32_t driver = 0;
  if (!hello->driver.empty()) {
    auto role = take_role(client, hello->driver);
    if (!role) return std::unexpected(std::move(role.error()));
    driver = (*role)->number;
  }
  const rm_region_header& header = state_.registry().header();
  const wire::Welcome welcome{.regions = {.client = {.domain_id = header.domain_id,
                                                     .epoch = header.epoch,
                                                     .sequence = client.sequence,
                                                     .client = client.index},
                                          .registry_bytes = header.region_bytes,
                                          .lock_bytes = state_.locks().header().region_bytes},
                              .driver = driver,
                              .version = version_};
  auto size = wire::encode(welcome, frame.request_id, out);
  if (!size) return std::unexpected(std::move(size.error()));
  answer.bytes = *size;
  client.greeted = true;
  client.reads_events = (hello->features & RM_WIRE_FEATURE_EVENTS) != 0;
  client.hears_of_owners = client.reads_events && (hello->features & RM_WIRE_FEATURE_OWNERS) != 0;
  if (client.returned) quiescer_.owner_came(client.index);
  return answer;
}

void Clerk::bury(const Client& client) {
  if (client.index == 0) return;
  // From here on nobody can come back to that place, to no successor either.
  ledger_.client_leaves(client);
  rm_client* const record = state_.locks().tables().client(client.index);
  store(record->state, client.sequence << RM_CLIENT_SEQ_SHIFT | RM_CONTEXT_DEAD);
  (void)state_.recovery().mark_dead(client.index);
  dying_.push_back(client);
  Departed& departed = departed_.emplace_back(client.index, client.pid);
  departed.ended = client.pidfd < 0;
  // Without a descriptor left it is not known: then nothing is waited for, and nothing lifted.
  UniqueFd process(departed.ended ? -1 : ::fcntl(client.pidfd, F_DUPFD_CLOEXEC, 0));
  if (process) departed.process = std::make_shared<const UniqueFd>(std::move(process));
  // Who waits comes first; the registry is nobody's wait. But all of it comes before the place is
  // somebody else's.
  const bool locks_done = recover_locks();
  treasury_.book().close_accounts(client.index);
  herald_.departed(client.index);
  orphan(client);
  quiescer_.look(departed_, state_.recovery().quarantined());
  pools_.bury(client.index);
  if (pools_.proceed() && locks_done) forget_the_dying();
}

bool Clerk::recover() {
  if (dying_.empty()) return false;
  const bool locks_done = recover_locks();
  const bool done = pools_.proceed() && locks_done;
  quiescer_.look(departed_, state_.recovery().quarantined());
  if (done) forget_the_dying();
  return !done;
}

bool Clerk::recover_locks() { return state_.recovery().run(state_.view().slot_end()).pending == 0; }

void Clerk::forget_the_dying() {
  for (const Client& client : dying_) {
    rm_client* const record = state_.locks().tables().client(client.index);
    store(record->state, client.sequence << RM_CLIENT_SEQ_SHIFT | RM_CONTEXT_FREE);
    places_[client.index].taken = false;
    ledger_.client_went(client);
  }
  dying_.clear();
  departed_.clear();
}

void Clerk::orphan(const Client& client) {
  std::vector<registry::EntryCopy> left;
  state_.view().for_each([&](const registry::EntryCopy& entry) {
    if (entry.owner_client == client.index && entry.state != Lifecycle::Orphaned) {
      left.push_back(entry);
    }
    return true;
  });
  const std::uint64_t now = monotonic_ns();
  std::vector<Handle> handles;
  for (const registry::EntryCopy& entry : left) {
    handles.push_back(entry.handle);
    // One that it was unregistering is a resource again, for whoever adopts it.
    (void)state_.writer().cancel_unregister(entry.handle);
    (void)state_.writer().set_lifecycle(entry.handle, Lifecycle::Orphaned);
    orphan_one(entry, now);
    tell(AuditEvent::Orphaned, client, entry.name_text());
  }
  herald_.orphaned(handles);
}

void Clerk::orphan_one(const registry::EntryCopy& entry, std::uint64_t now_ns) {
  if (has(entry.flags, ResourceFlags::Persistent)) return;
  const auto grace = static_cast<std::uint64_t>(policy_->grace().owner.count());
  orphans_.push_back(
      {entry.handle, has(entry.flags, ResourceFlags::Transient) ? now_ns : now_ns + grace});
}

void Clerk::inherit_orphans() {
  const std::uint64_t now = monotonic_ns();
  state_.view().for_each([&](const registry::EntryCopy& entry) {
    if (entry.state == Lifecycle::Orphaned) orphan_one(entry, now);
    return true;
  });
}

std::optional<std::uint64_t> Clerk::destroy_orphans(std::uint64_t now_ns) {
  // Holders of one go on until they release; what others need or use waits for those.
  constexpr std::uint64_t kPauseNs = 100'000'000;
  std::optional<std::uint64_t> next;
  std::vector<Handle> due;
  for (const Orphan& orphan : orphans_) {
    if (orphan.deadline_ns <= now_ns) due.push_back(orphan.handle);
  }
  herald_.about_to_destroy(due);
  std::erase_if(orphans_, [&](Orphan& orphan) {
    const auto entry = state_.view().read(orphan.handle);
    if (!entry || entry->state != Lifecycle::Orphaned) return true;  // adopted
    if (orphan.deadline_ns <= now_ns) {
      if (state_.writer().begin_unregister(orphan.handle)) {
        if (state_.recovery().remove(orphan.handle)) {
          drop_file(orphan.handle);
          (void)state_.writer().finish_unregister(orphan.handle);
          herald_.destroyed(orphan.handle);
          return true;
        }
        (void)state_.writer().cancel_unregister(orphan.handle);
      }
      orphan.deadline_ns = now_ns + kPauseNs;
    }
    next = std::min(next.value_or(orphan.deadline_ns), orphan.deadline_ns);
    return false;
  });
  return next;
}

Result<void> Clerk::unpoison(const Client& by, Handle handle) {
  const auto entry = state_.view().read(handle);
  if (!entry) return std::unexpected(entry.error());
  if (!quiescer_.lift(entry->handle)) {
    return fail(ErrorCode::InvalidArgument, "it is not quarantined");
  }
  tell(AuditEvent::Unpoisoned, by, entry->name_text());
  return {};
}

// What it owned before its daemon was replaced.
void Clerk::count_owned(Client& client) const {
  if (!client.returned) return;
  client.resources = 0;
  state_.view().for_each([&](const registry::EntryCopy& entry) {
    if (entry.owner_client != client.index) return true;
    ++client.resources;
    if (files_.contains(entry.handle)) ++client.files;
    return true;
  });
}

Result<Role*> Clerk::take_role(Client& client, std::string_view name) {
  auto allowed = policy_->driver(name, client.identity());
  if (!allowed) {
    tell(AuditEvent::Refused, client, {}, "driver " + std::string(name));
    return std::unexpected(std::move(allowed.error()));
  }
  std::uint32_t number = 0;
  if (!name.empty()) {
    const auto has_name = [&](const Role& role) {
      const auto known = state_.view().drivers().name(role.number);
      return known && name == known->data();
    };
    // Before the name is written down for it, which stays.
    if (client.roles.size() >= policy_->limits().drivers &&
        std::ranges::none_of(client.roles, has_name)) {
      Error error(ErrorCode::CapacityExceeded, "drivers of one client");
      error.with_amounts(client.roles.size() + 1, policy_->limits().drivers);
      return std::unexpected(std::move(error));
    }
    auto interned = state_.writer().drivers().intern(name);
    if (!interned) return std::unexpected(std::move(interned.error()));
    number = *interned;
    treasury_.driver_came(number);
  }
  if (Role* const known = client.role(number)) {
    known->policy = *std::move(allowed);
    return known;
  }
  Role& role = client.roles.emplace_back(number, *std::move(allowed));
  if (client.returned) {
    state_.view().for_each([&](const registry::EntryCopy& entry) {
      if (entry.owner_client == client.index && entry.owner_driver == number) ++role.resources;
      return true;
    });
  }
  return &role;
}

void Clerk::refresh_roles(Client& client) const {
  for (Role& role : client.roles) {
    const auto name = state_.view().drivers().name(role.number);
    auto allowed = policy_->driver(name && role.number != 0 ? name->data() : "", client.identity());
    role.policy = allowed ? *std::move(allowed) : DriverPolicy::nothing();
  }
}

void Clerk::tell(AuditEvent event, const Client& client, std::string_view resource,
                 std::string_view detail) const noexcept {
  if (!audit_) return;
  audit_->record({.event = event,
                  .pid = static_cast<pid_t>(client.pid),
                  .uid = client.uid,
                  .resource = resource,
                  .detail = detail});
}

}  // namespace resmgr::daemon
