// SPDX-License-Identifier: Apache-2.0
//
// What clients ask for once they have been greeted.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

#include "resmgr/base/clock.hpp"
#include "resmgr/daemon/clerk.hpp"
#include "resmgr/registry/slot_attributes.hpp"

namespace resmgr::daemon {
namespace {

bool has_driver(const Client& client, std::uint32_t driver) noexcept {
  return std::ranges::find(client.drivers, driver) != client.drivers.end();
}

// Devices stay with their driver's process: its last close is what lets the kernel stop them. And
// touching what a file is said to have, and has not, would be everybody's SIGBUS.
Result<void> check_file(const UniqueFd& fd, std::uint64_t bytes) noexcept {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return fail_errno(errno, "fstat");
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode) || S_ISDIR(status.st_mode)) {
    return fail(ErrorCode::InvalidArgument, "a device's descriptor is not handed on");
  }
  if (S_ISREG(status.st_mode) && static_cast<std::uint64_t>(status.st_size) < bytes) {
    return fail(ErrorCode::InvalidArgument, "the file is smaller than size_bytes");
  }
  return {};
}

// The same file, so opened that no mapping of it can be made writable.
Result<UniqueFd> reopen_read_only(int fd) noexcept {
  std::array<char, 32> path{};
  (void)std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  UniqueFd opened(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!opened) return fail_errno(errno, "a read-only descriptor");
  return opened;
}

}  // namespace

Result<registry::EntryCopy> Clerk::owned(const Client& client, Handle handle) const {
  auto entry = state_.view().read(handle);
  if (!entry) return entry;
  if (entry->owner_client != client.index) return fail(ErrorCode::NotPermitted, "not the owner");
  return entry;
}

Result<Rights> Clerk::rights_of(const Client& client, const registry::EntryCopy& entry) const {
  if (entry.owner_client == client.index) return Rights::All;
  // A driver of the owner's name in another process is not the owner.
  Rights all = Rights::None;
  for (const std::uint32_t driver : client.drivers) {
    if (driver == entry.owner_driver) continue;
    const auto rights = state_.view().rights(entry.handle, driver);
    if (!rights) return rights;
    all = all | *rights;
  }
  return all;
}

Result<Clerk::Answer> Clerk::register_all(const Client& client, const wire::Frame& frame,
                                          std::span<UniqueFd> fds, std::span<std::byte> out) {
  auto request = wire::RegisterRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  std::vector<wire::RegistrationOutcome> outcomes;
  outcomes.reserve(request->count());
  for (wire::RecordReader reader(*request); !reader.over();) {
    const auto record = reader.next();
    if (!record) {
      outcomes.push_back({.error = record.error().code()});
    } else if (!record->needs_next) {
      register_one(client, *record, fds, outcomes);
    } else if (reader.over()) {
      outcomes.push_back({.error = ErrorCode::InvalidArgument});
    } else {
      // The reader's pairs are valid until its next record.
      wire::Record needing = *record;
      const std::vector<PairText> pairs(needing.description.pairs.begin(),
                                        needing.description.pairs.end());
      needing.description.pairs = pairs;
      register_two(client, needing, reader.next(), fds, outcomes);
    }
  }
  Answer answer;
  auto size = wire::encode(outcomes, frame.request_id, out);
  if (!size) return std::unexpected(std::move(size.error()));
  answer.bytes = *size;
  return answer;
}

void Clerk::register_one(const Client& client, const wire::Record& record, std::span<UniqueFd> fds,
                         Outcomes& outcomes) {
  const auto prepared = prepare(client, record, fds);
  if (!prepared) {
    outcomes.push_back({.error = prepared.error().code()});
    return;
  }
  (void)publish(*prepared, record);
  outcomes.push_back({.handle = prepared->handle()});
}

// What may fail comes before either can be found, for what was found may be held, and stays then.
void Clerk::register_two(const Client& client, const wire::Record& record,
                         const Result<wire::Record>& needed, std::span<UniqueFd> fds,
                         Outcomes& outcomes) {
  const auto refuse = [&](ErrorCode first, ErrorCode second) {
    outcomes.push_back({.error = first});
    outcomes.push_back({.error = second});
  };
  if (!needed || needed->needs_next) {
    return refuse(ErrorCode::InvalidArgument,
                  needed ? ErrorCode::InvalidArgument : needed.error().code());
  }
  if (auto room = state_.writer().dependencies().check_room(); !room) {
    return refuse(room.error().code(), room.error().code());
  }
  const auto second = prepare(client, *needed, fds);
  if (!second) return refuse(second.error().code(), second.error().code());
  const auto first = prepare(client, record, fds);
  if (!first) {
    abandon(*second);
    return refuse(first.error().code(), first.error().code());
  }
  (void)publish(*second, *needed);
  (void)publish(*first, record);
  state_.writer().dependencies().add_first(first->handle(), second->handle());
  outcomes.push_back({.handle = first->handle()});
  outcomes.push_back({.handle = second->handle()});
}

Result<registry::PreparedSlot> Clerk::prepare(const Client& client, const wire::Record& record,
                                              std::span<UniqueFd> fds) {
  Description description = record.description;
  if (description.owner_driver != 0 && !has_driver(client, description.owner_driver)) {
    return fail(ErrorCode::NotPermitted, "another client's driver");
  }
  description.owner_client = client.index;
  description.created_at = Clock::coarse();
  UniqueFd* const file = record.fd ? &fds[*record.fd] : nullptr;
  if (file) {
    if (!*file) return fail(ErrorCode::InvalidArgument, "one descriptor for two resources");
    if (auto usable = check_file(*file, description.size_bytes); !usable) {
      return std::unexpected(std::move(usable.error()));
    }
  }
  auto prepared = state_.writer().prepare(record.name, description);
  if (prepared && file) keep_file(prepared->handle(), std::move(*file));
  return prepared;
}

Result<Handle> Clerk::publish(const registry::PreparedSlot& prepared, const wire::Record& record) {
  if (prepared.generation == 1) state_.locks().grow_into(prepared.slot);
  state_.engine().arm(
      prepared.slot, prepared.generation, prepared.class_id,
      registry::slot_attributes(record.description,
                                {.access_hook = record.access_hook, .lazy = record.lazy}));
  // Last, so that who finds the name finds everything behind it.
  return state_.writer().publish(prepared, record.lazy ? Lifecycle::Allocated : Lifecycle::Ready);
}

void Clerk::abandon(const registry::PreparedSlot& prepared) {
  drop_file(prepared.handle());
  (void)state_.writer().abandon(prepared);
}

void Clerk::keep_file(Handle handle, UniqueFd file) {
  ledger_.file_kept(handle, file.get());
  files_[handle] = std::move(file);
}

void Clerk::drop_file(Handle handle) {
  if (files_.erase(handle) != 0) ledger_.file_dropped(handle);
}

Result<Clerk::Reply> Clerk::unregister(const Client& client, const wire::Frame& frame) {
  auto request = wire::UnregisterRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  const Handle handle = request->handle;
  if (auto entry = owned(client, handle); !entry) return std::unexpected(std::move(entry.error()));
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

// The client took the resource for itself before it asked. That is a matter of locks, for which the
// word is the truth; of the registry it proves nothing, so ownership was looked up there.
Result<void> Clerk::finish_unregister(const Client& client, Handle handle) {
  const auto entry = state_.view().read(handle);
  if (!entry || entry->state != Lifecycle::PendingCleanup) {
    return fail(ErrorCode::InvalidArgument, "not being unregistered");
  }
  if (auto unused = state_.writer().check_users(handle); !unused) return unused;
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
  drop_file(handle.with_tenure(0));
  return state_.writer().finish_unregister(handle);
}

Result<Clerk::Reply> Clerk::share(const Client& client, const wire::Frame& frame) {
  auto request = wire::ShareRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  const auto entry = state_.view().read(request->handle);
  if (!entry) return std::unexpected(entry.error());
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
  if (entry->owner_client == client.index) {
    done = change(entry->owner_driver);
  } else {
    for (const std::uint32_t driver : client.drivers) {
      // One of the owner's name, but in another process.
      if (driver == entry->owner_driver) continue;
      done = change(driver);
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

Result<Clerk::Reply> Clerk::set_state(const Client& client, const wire::Frame& frame,
                                      std::span<UniqueFd> fds) {
  auto request = wire::SetStateRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  const auto entry = owned(client, request->handle);
  if (!entry) return std::unexpected(entry.error());
  if (request->has_fd) {
    if (entry->state != Lifecycle::Allocated) {
      return fail(ErrorCode::InvalidArgument, "it has its memory");
    }
    if (auto usable = check_file(fds[0], entry->size_bytes); !usable) {
      return std::unexpected(std::move(usable.error()));
    }
  }
  if (auto done = state_.writer().set_lifecycle(request->handle, request->state); !done) {
    return std::unexpected(std::move(done.error()));
  }
  if (request->has_fd) keep_file(entry->handle, std::move(fds[0]));
  if (request->state == Lifecycle::Ready) state_.engine().has_memory(entry->handle);
  return Reply{};
}

Result<Clerk::Answer> Clerk::open_fd(const Client& client, const wire::Frame& frame,
                                     std::span<std::byte> out) {
  auto request = wire::OpenFdRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  const auto entry = state_.view().read(request->handle);
  if (!entry) return std::unexpected(entry.error());
  const auto rights = rights_of(client, *entry);
  if (!rights) return std::unexpected(rights.error());
  if ((*rights & request->rights) != request->rights) {
    return fail(ErrorCode::NotPermitted, "the rights that this client has");
  }
  const auto file = files_.find(entry->handle);
  if (file == files_.end()) return fail(ErrorCode::Unsupported, "no descriptor behind it");
  auto copy = has(request->rights, Rights::Write) ? file->second.duplicate()
                                                  : reopen_read_only(file->second.get());
  if (!copy) return std::unexpected(std::move(copy.error()));
  Answer answer;
  auto size = wire::encode(Reply{.has_fd = true}, frame.request_id, out);
  if (!size) return std::unexpected(std::move(size.error()));
  answer.bytes = *size;
  answer.fds[answer.fd_count++] = std::move(*copy);
  return answer;
}

Result<Clerk::Reply> Clerk::intern_driver(Client& client, const wire::Frame& frame) {
  auto request = wire::InternDriverRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  auto number = state_.writer().drivers().intern(request->driver);
  if (!number) return std::unexpected(std::move(number.error()));
  if (!has_driver(client, *number)) client.drivers.push_back(*number);
  return Reply{.value = {*number, 0}};
}

}  // namespace resmgr::daemon
