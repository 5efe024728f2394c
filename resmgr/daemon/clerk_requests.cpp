// SPDX-License-Identifier: Apache-2.0
//
// What clients ask for once they have been greeted.
#include <algorithm>
#include <utility>
#include <vector>

#include "resmgr/base/clock.hpp"
#include "resmgr/base/reopen.hpp"
#include "resmgr/daemon/clerk.hpp"
#include "resmgr/registry/slot_attributes.hpp"

namespace resmgr::daemon {
namespace {

// An orphan's was a client who is gone, whose place somebody else may have by now.
bool is_owner(const Client& client, const registry::EntryCopy& entry) noexcept {
  return entry.owner_client == client.index && entry.state != Lifecycle::Orphaned;
}

}  // namespace

Result<registry::EntryCopy> Clerk::owned(const Client& client, Handle handle) const {
  auto entry = state_.view().read(handle);
  if (!entry) return entry;
  if (!is_owner(client, *entry)) return fail(ErrorCode::NotPermitted, "not the owner");
  return entry;
}

Result<Rights> Clerk::rights_of(const Client& client, const registry::EntryCopy& entry) const {
  if (is_owner(client, entry)) return Rights::All;
  // A driver of the owner's name in another process is not the owner.
  Rights all = Rights::None;
  for (const Role& role : client.roles) {
    if (role.number == 0 || role.number == entry.owner_driver) continue;
    const auto rights = state_.view().rights(entry.handle, role.number);
    if (!rights) return rights;
    all = all | *rights;
  }
  return all;
}

Result<Clerk::Reply> Clerk::unregister(Client& client, const wire::Frame& frame) {
  auto request = wire::UnregisterRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  const Handle handle = request->handle;
  const auto entry = owned(client, handle);
  if (!entry) return std::unexpected(entry.error());
  if (entry->drained && entry->state == Lifecycle::Quarantined) {
    return fail(ErrorCode::Quarantined, "it is poisoned");
  }
  Result<void> done;
  switch (request->step) {
    case wire::UnregisterStep::Begin:
      done = state_.writer().begin_unregister(handle);
      break;
    case wire::UnregisterStep::Cancel:
      done = state_.writer().cancel_unregister(handle);
      break;
    case wire::UnregisterStep::Finish:
      done = finish_unregister(client, handle);
      break;
  }
  if (!done) return std::unexpected(std::move(done.error()));
  return Reply{};
}

// What is being drained is closed to all: its owner can't take it for himself first, and needs not.
Result<void> Clerk::finish_drained(Handle handle) {
  if (state_.recovery().remove(handle, RM_NODE_REMOVED)) return {};
  bool held = false;
  state_.engine().for_each_holder(handle, [&](const Participant&) { held = true; });
  return held ? fail(ErrorCode::InUse, "unregister") : fail(ErrorCode::WouldBlock, "the latch");
}

// The client took the resource for itself before it asked. That is a matter of locks, for which the
// word is the truth; of the registry it proves nothing, so ownership was looked up there.
Result<void> Clerk::finish_held(const Client& client, Handle handle) {
  const std::uint16_t holder = state_.engine().word(handle.slot()).owner();
  rm_context* const record = state_.locks().tables().context(holder);
  if (!record || lock::client_of(load(record->state)) != client.index) {
    return fail(ErrorCode::NotPermitted, "not held exclusively");
  }
  lock::Context context;
  context.id = holder;
  context.record = record;
  // Without patience: the latch may be in the hands of one who is stopped.
  if (auto retired = state_.engine().retire(context, handle, monotonic_ns(), RM_AUTHORITY_CONTEXT);
      !retired) {
    if (retired.error() == ErrorCode::InUse) return fail(ErrorCode::WouldBlock, "the latch");
    return retired;
  }
  return {};
}

Result<void> Clerk::finish_unregister(Client& client, Handle handle) {
  const auto entry = state_.view().read(handle);
  if (!entry || entry->state != Lifecycle::PendingCleanup) {
    return fail(ErrorCode::InvalidArgument, "not being unregistered");
  }
  if (auto unused = state_.writer().check_users(handle); !unused) return unused;
  auto closed = entry->drained ? finish_drained(handle) : finish_held(client, handle);
  if (!closed) return closed;
  uncount(client, entry->handle, entry->owner_driver);
  drop_file(entry->handle);
  return state_.writer().finish_unregister(handle);
}

Result<Clerk::Reply> Clerk::share(const Client& client, const wire::Frame& frame) {
  auto request = wire::ShareRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  if (request->as_operator) return share_for_owner(client, *request);
  const auto entry = state_.view().read(request->handle);
  if (!entry) return std::unexpected(entry.error());
  // Before a name is written down for it.
  if (!is_owner(client, *entry)) {
    const auto rights = rights_of(client, *entry);
    if (!rights) return std::unexpected(rights.error());
    if (*rights == Rights::None)
      return fail(ErrorCode::NotPermitted, "no driver of this client may");
  }
  std::uint32_t with = request->driver_id;
  if (with == 0) {
    // By name also with one that has not come yet.
    auto number = state_.writer().drivers().intern(request->driver);
    if (!number) return std::unexpected(std::move(number.error()));
    with = *number;
  }
  const auto change = [&](std::uint32_t by) {
    return request->change == wire::ShareChange::Share
               ? state_.writer().shares().share(request->handle, by, with, request->rights)
               : state_.writer().shares().unshare(request->handle, by, with);
  };
  Result<void> done = fail(ErrorCode::NotPermitted, "no driver of this client may");
  if (is_owner(client, *entry)) {
    done = change(entry->owner_driver);
  } else {
    for (const Role& role : client.roles) {
      // One of the owner's name, but in another process.
      if (role.number == 0 || role.number == entry->owner_driver) continue;
      done = change(role.number);
      if (done || done.error() != ErrorCode::NotPermitted) break;
    }
  }
  if (!done) return std::unexpected(std::move(done.error()));
  return Reply{};
}

Result<Clerk::Reply> Clerk::depend(const Client& client, const wire::Frame& frame) {
  auto request = wire::DependencyRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  if (auto entry = owned(client, request->from); !entry) {
    return std::unexpected(std::move(entry.error()));
  }
  auto done = request->change == wire::DependencyChange::Add
                  ? state_.writer().dependencies().add(request->from, request->to)
                  : state_.writer().dependencies().remove(request->from, request->to);
  if (!done) return std::unexpected(std::move(done.error()));
  return Reply{};
}

Result<Clerk::Reply> Clerk::set_state(Client& client, const wire::Frame& frame,
                                      std::span<UniqueFd> fds) {
  auto request = wire::SetStateRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  const auto entry = owned(client, request->handle);
  if (!entry) return std::unexpected(entry.error());
  if (request->attempt != 0 || request->state == Lifecycle::Quarantined ||
      entry->state == Lifecycle::Quarantined) {
    if (desk_.answered(entry->handle, *request)) return Reply{};
    auto heard = quiescer_.answered(entry->handle, *request);
    if (!heard) return std::unexpected(std::move(heard.error()));
    return Reply{};
  }
  if (request->has_fd) {
    if (entry->state != Lifecycle::Allocated) {
      return fail(ErrorCode::InvalidArgument, "it has its memory");
    }
    if (auto usable = check_file(fds[0], entry->size_bytes); !usable) {
      return std::unexpected(std::move(usable.error()));
    }
  }
  // First, so that who reads that it has its memory gets it, from a successor too.
  if (request->has_fd) keep_file(entry->handle, std::move(fds[0]));
  if (auto done = state_.writer().set_lifecycle(request->handle, request->state); !done) {
    if (request->has_fd) drop_file(entry->handle);
    return std::unexpected(std::move(done.error()));
  }
  if (request->has_fd) ++client.files;
  if (request->state == Lifecycle::Ready) state_.engine().has_memory(entry->handle);
  return Reply{};
}

Result<UniqueFd> Clerk::open_for(const Client& client, const wire::OpenFdRequest& request) const {
  // It may write there anyway; what it gets is what nobody else has open.
  if (request.handle.is_null()) return reopen_read_only(state_.locks().fd());
  const auto entry = state_.view().read(request.handle);
  if (!entry) return std::unexpected(entry.error());
  const auto rights = rights_of(client, *entry);
  if (!rights) return std::unexpected(rights.error());
  if ((*rights & request.rights) != request.rights) {
    return fail(ErrorCode::NotPermitted, "the rights that this client has");
  }
  const auto file = files_.find(entry->handle);
  if (file == files_.end()) return fail(ErrorCode::Unsupported, "no descriptor behind it");
  return has(request.rights, Rights::Write) ? file->second.duplicate()
                                            : reopen_read_only(file->second.get());
}

Result<Clerk::Answer> Clerk::open_fd(const Client& client, const wire::Frame& frame,
                                     std::span<std::byte> out) {
  auto request = wire::OpenFdRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  auto copy = open_for(client, *request);
  if (!copy) return std::unexpected(std::move(copy.error()));
  Answer answer;
  auto size = wire::encode(Reply{.has_fd = true}, frame.request_id, out);
  if (!size) return std::unexpected(std::move(size.error()));
  answer.bytes = *size;
  answer.fds[answer.fd_count++] = std::move(*copy);
  if (has(request->rights, Rights::Write)) pools_.opened(request->handle, client.index);
  return answer;
}

Result<Clerk::Reply> Clerk::plead(const Client& client, const wire::Frame& frame) {
  const auto request = wire::EmergencyRequest::decode(frame);
  if (!request) return std::unexpected(request.error());
  if (auto begun = desk_.plead(client, *request); !begun) {
    return std::unexpected(std::move(begun.error()));
  }
  return Reply{};
}

Result<Clerk::Reply> Clerk::intern_driver(Client& client, const wire::Frame& frame) {
  auto request = wire::InternDriverRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  const auto role = take_role(client, request->driver);
  if (!role) return std::unexpected(role.error());
  return Reply{.value = {(*role)->number, 0}};
}

}  // namespace resmgr::daemon
