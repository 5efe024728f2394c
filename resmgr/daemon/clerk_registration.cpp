// SPDX-License-Identifier: Apache-2.0
//
// Registration: who may, what is kept behind a resource, and orphans that find an owner again.
#include <sys/stat.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "resmgr/base/clock.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/daemon/clerk.hpp"
#include "resmgr/registry/slot_attributes.hpp"

namespace resmgr::daemon {
namespace {

std::unexpected<Error> over_limit(const char* what, std::uint32_t has, std::uint32_t limit) {
  Error error(ErrorCode::CapacityExceeded, what);
  error.with_amounts(has, limit);
  return std::unexpected(std::move(error));
}

Lifecycle state_of(const wire::Record& record) noexcept {
  return record.lazy ? Lifecycle::Allocated : Lifecycle::Ready;
}

}  // namespace

// Devices stay with their driver's process: its last close is what lets the kernel stop them. And
// touching what a file is said to have, and has not, would be everybody's SIGBUS.
Result<void> Clerk::check_file(const UniqueFd& fd, std::uint64_t bytes) noexcept {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return fail_errno(errno, "fstat");
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode) || S_ISDIR(status.st_mode)) {
    return fail(ErrorCode::InvalidArgument, "a device's descriptor is not handed on");
  }
  if (is_too_short(fd.get(), bytes)) {
    return fail(ErrorCode::InvalidArgument, "the file is smaller than size_bytes");
  }
  return {};
}

Result<Clerk::Answer> Clerk::register_all(Client& client, const wire::Frame& frame,
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

void Clerk::register_one(Client& client, const wire::Record& record, std::span<UniqueFd> fds,
                         Outcomes& outcomes) {
  const auto prepared = prepare(client, record, fds);
  if (prepared) {
    arm(*prepared, record);
    (void)state_.writer().publish(*prepared, state_of(record));
    note_drained(prepared->handle(), record.description.owner_driver);
    outcomes.push_back({.handle = prepared->handle()});
    return;
  }
  if (prepared.error() == ErrorCode::AlreadyExists) {
    if (const auto adopted = adopt(client, record, fds)) {
      outcomes.push_back({.handle = *adopted});
      return;
    }
  }
  outcomes.push_back({.error = prepared.error().code()});
}

// What may fail comes before either can be found, for what was found may be held, and stays then.
void Clerk::register_two(Client& client, const wire::Record& record,
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
    abandon(client, *second, *needed);
    return refuse(first.error().code(), first.error().code());
  }
  arm(*second, *needed);
  arm(*first, record);
  (void)state_.writer().publish_with_needed(*first, state_of(record), *second, state_of(*needed));
  note_drained(first->handle(), record.description.owner_driver);
  note_drained(second->handle(), needed->description.owner_driver);
  outcomes.push_back({.handle = first->handle()});
  outcomes.push_back({.handle = second->handle()});
}

Result<registry::PreparedSlot> Clerk::prepare(Client& client, const wire::Record& record,
                                              std::span<UniqueFd> fds) {
  Description description = record.description;
  description.owner_client = client.index;
  description.created_at = Clock::coarse();
  auto known = role_for(client, description.owner_driver);
  if (!known) return std::unexpected(std::move(known.error()));
  Role* const role = *known;
  if (record.lazy && record.quiesce_hook) {
    return fail(ErrorCode::InvalidArgument, "hardware whose memory is still to be made");
  }
  if (auto allowed = check_registration(client, *role, description); !allowed) {
    return std::unexpected(std::move(allowed.error()));
  }
  UniqueFd* const file = record.fd ? &fds[*record.fd] : nullptr;
  const bool is_pool = PoolCare::is_pool(description.type, description.class_name);
  if (file) {
    if (!*file) return fail(ErrorCode::InvalidArgument, "one descriptor for two resources");
    auto usable = check_file(*file, description.size_bytes);
    if (usable && is_pool) usable = PoolCare::check(file->get());
    if (!usable) return std::unexpected(std::move(usable.error()));
    if (client.files >= policy_->limits().fds) {
      return over_limit("descriptors of one client", client.files, policy_->limits().fds);
    }
  }
  auto prepared = state_.writer().prepare(record.name, description);
  if (!prepared) return prepared;
  ++role->resources;
  ++client.resources;
  if (file) {
    keep_file(prepared->handle(), std::move(*file));
    if (is_pool) pools_.keep(prepared->handle(), client.index);
    ++client.files;
  }
  return prepared;
}

Result<void> Clerk::check_registration(Client& client, const Role& role,
                                       const Description& description) const {
  if (client.resources >= policy_->limits().resources) {
    return over_limit("resources of one client", client.resources, policy_->limits().resources);
  }
  auto allowed = role.policy.may_register(description.type, description.class_name,
                                          description.priority, role.resources);
  if (allowed) allowed = check_urgency(role, description.urgency);
  if (!allowed) tell(AuditEvent::Refused, client, {}, allowed.error().message());
  return allowed;
}

// A driver that was restarted has what it had, with its handles, holders and waiters. The file
// behind it is the new one: who mapped the old one keeps that. But a pool stays the one that others
// have blocks of, and its owner asks for the file.
Result<Handle> Clerk::adopt(Client& client, const wire::Record& record, std::span<UniqueFd> fds) {
  const Description& wanted = record.description;
  const auto entry = state_.view().read(state_.view().lookup(record.name));
  Role* const role = client.role(wanted.owner_driver);
  if (!entry || !role || entry->state != Lifecycle::Orphaned || wanted.owner_driver == 0 ||
      entry->owner_driver != wanted.owner_driver) {
    return fail(ErrorCode::AlreadyExists);
  }
  const auto class_name = state_.view().classes().name(entry->class_id);
  const std::string_view wanted_class =
      wanted.class_name.empty() ? to_string(wanted.type) : wanted.class_name;
  if (entry->type != wanted.type || entry->size_bytes != wanted.size_bytes ||
      entry->type_tag != wanted.type_tag || entry->flags != wanted.flags || !class_name ||
      wanted_class != class_name->data()) {
    return fail(ErrorCode::AlreadyExists, "an orphan of another type, class or size");
  }
  // First, so that what has its owner again has the file too, with a successor as well.
  state_.engine().set_quiesce_hook(entry->handle, record.quiesce_hook);
  if (pools_.contains(entry->handle)) {
    pools_.opened(entry->handle, client.index);
  } else if (record.fd) {
    keep_file(entry->handle, std::move(fds[*record.fd]));
  }
  if (auto done =
          state_.writer().adopt(entry->handle, client.index, wanted.cookie, state_of(record));
      !done) {
    return std::unexpected(std::move(done.error()));
  }
  // Should its new owner die too, its grace begins anew.
  std::erase_if(orphans_, [&](const Orphan& each) { return each.handle == entry->handle; });
  quiescer_.adopted(entry->handle);
  herald_.adopted(entry->handle);
  if (files_.contains(entry->handle)) ++client.files;
  ++role->resources;
  ++client.resources;
  tell(AuditEvent::Adopted, client, record.name);
  return entry->handle;
}

// Before it is published, so that who finds the name finds everything behind it.
void Clerk::arm(const registry::PreparedSlot& prepared, const wire::Record& record) {
  if (prepared.fresh) state_.locks().grow_into(prepared.slot);
  if (record.description.type == ResourceType::Performance) {
    store_relaxed(state_.locks().tables().meters[prepared.slot], 0);
  }
  state_.engine().arm(
      prepared.slot, prepared.generation, prepared.class_id,
      registry::slot_attributes(record.description, {.access_hook = record.access_hook,
                                                     .lazy = record.lazy,
                                                     .quiesce_hook = record.quiesce_hook}));
  if (drained_.contains(record.description.owner_driver)) {
    state_.recovery().bar(prepared.handle());
  }
}

void Clerk::abandon(Client& client, const registry::PreparedSlot& prepared,
                    const wire::Record& record) {
  uncount(client, prepared.handle(), record.description.owner_driver);
  drop_file(prepared.handle());
  (void)state_.writer().abandon(prepared);
}

void Clerk::uncount(Client& client, Handle handle, std::uint32_t driver) {
  --client.resources;
  if (files_.contains(handle)) --client.files;
  if (Role* const role = client.role(driver)) --role->resources;
}

void Clerk::keep_file(Handle handle, UniqueFd file) {
  ledger_.file_kept(handle, file.get());
  files_[handle] = std::move(file);
}

void Clerk::drop_file(Handle handle) {
  pools_.drop(handle);
  if (files_.erase(handle) != 0) ledger_.file_dropped(handle);
}

}  // namespace resmgr::daemon
