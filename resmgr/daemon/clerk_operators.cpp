// SPDX-License-Identifier: Apache-2.0
//
// What operators ask for: each of it, and who asked in vain, is written down in the audit log.
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "resmgr/daemon/clerk.hpp"

namespace resmgr::daemon {
namespace {

std::uint64_t to_wire(const lock::Recovery::Mended& mended) noexcept {
  const auto bit = [](bool was_wrong, std::uint64_t value) { return was_wrong ? value : 0; };
  return bit(mended.latch, RM_WIRE_REPAIRED_LATCH) | bit(mended.queue, RM_WIRE_REPAIRED_QUEUE) |
         bit(mended.offer, RM_WIRE_REPAIRED_OFFER) | bit(mended.hold, RM_WIRE_REPAIRED_HOLD) |
         bit(mended.wait, RM_WIRE_REPAIRED_WAIT) | bit(mended.flags, RM_WIRE_REPAIRED_FLAGS);
}

}  // namespace

Result<Clerk::Reply> Clerk::operate(const Client& client, const wire::Frame& frame) {
  if (frame.type == wire::FrameType::Repair || frame.type == wire::FrameType::Unpoison) {
    auto request = wire::RemedyRequest::decode(frame);
    if (!request) return std::unexpected(std::move(request.error()));
    const bool repairs = request->remedy == wire::Remedy::Repair;
    return perform(
        client, {.what = repairs ? "repair" : "unpoison", .resource = name_of(request->handle)},
        [&] { return repairs ? repair(request->handle) : lift_poison(client, request->handle); });
  }
  auto request = wire::DrainRequest::decode(frame);
  if (!request) return std::unexpected(std::move(request.error()));
  const bool begins = request->step == wire::DrainStep::Begin;
  return perform(client, {.what = begins ? "drain" : "cancel drain", .driver = request->driver},
                 [&] { return drain(*request); });
}

Result<Clerk::Reply> Clerk::share_for_owner(const Client& client,
                                            const wire::ShareRequest& request) {
  const bool gives = request.change == wire::ShareChange::Share;
  const std::string driver = driver_of(request);
  Deed deed{
      .what = gives ? "share" : "revoke", .resource = name_of(request.handle), .driver = driver};
  if (gives) deed.what += " with rights " + std::to_string(static_cast<unsigned>(request.rights));
  if (!gives && driver.empty()) deed.what += " of all drivers";
  return perform(client, deed, [&] { return gives ? give_rights(request) : take_rights(request); });
}

std::string Clerk::driver_of(const wire::ShareRequest& request) const {
  if (request.driver_id == 0) return std::string(request.driver);
  const auto name = state_.view().drivers().name(request.driver_id);
  return name ? std::string(name->data()) : "number " + std::to_string(request.driver_id);
}

Result<Clerk::Reply> Clerk::perform(const Client& client, const Deed& deed,
                                    const std::function<Result<Reply>()>& act) {
  const auto allowed = policy_->may_operate(client.identity());
  Result<Reply> done = allowed ? act() : std::unexpected(allowed.error());
  if (audit_) {
    const std::string outcome = done ? "done" : done.error().message();
    audit_->record({.event = allowed ? AuditEvent::Operated : AuditEvent::Refused,
                    .pid = static_cast<pid_t>(client.pid),
                    .uid = client.uid,
                    .driver = deed.driver,
                    .resource = deed.resource,
                    .detail = deed.what + ": " + outcome});
  }
  return done;
}

std::string Clerk::name_of(Handle handle) const {
  const auto entry = state_.view().read(handle);
  return entry ? std::string(entry->name_text()) : std::string();
}

Result<Clerk::Reply> Clerk::give_rights(const wire::ShareRequest& request) {
  const auto entry = state_.view().read(request.handle);
  if (!entry) return std::unexpected(entry.error());
  // Before the name is written down, which stays.
  if (!has(entry->flags, ResourceFlags::Shareable)) return fail(ErrorCode::NotShareable);
  const auto with = request.driver_id != 0 ? Result<std::uint32_t>(request.driver_id)
                                           : state_.writer().drivers().intern(request.driver);
  if (!with) return std::unexpected(with.error());
  auto done =
      state_.writer().shares().share(entry->handle, entry->owner_driver, *with, request.rights);
  if (!done) return std::unexpected(std::move(done.error()));
  const auto rights = state_.view().rights(entry->handle, *with);
  if (!rights) return std::unexpected(rights.error());
  return Reply{.value = {static_cast<std::uint64_t>(*rights), 0}};
}

Result<Clerk::Reply> Clerk::take_rights(const wire::ShareRequest& request) {
  const auto entry = state_.view().read(request.handle);
  if (!entry) return std::unexpected(entry.error());
  std::vector<std::uint32_t> drivers;
  if (request.driver_id != 0) {
    drivers.push_back(request.driver_id);
  } else if (request.driver.empty()) {
    const auto shares = state_.view().shares(entry->handle);
    if (!shares) return std::unexpected(shares.error());
    for (const registry::ShareCopy& share : *shares) drivers.push_back(share.driver);
  } else {
    const auto driver = state_.view().drivers().find(request.driver);
    if (!driver) return std::unexpected(driver.error());
    drivers.push_back(*driver);
  }
  for (const std::uint32_t driver : drivers) {
    auto done = state_.writer().shares().unshare(entry->handle, entry->owner_driver, driver);
    if (!done) return std::unexpected(std::move(done.error()));
  }
  return Reply{.value = {drivers.size(), 0}};
}

Result<Clerk::Reply> Clerk::repair(Handle handle) {
  const auto entry = state_.view().read(handle);
  if (!entry) return std::unexpected(entry.error());
  const auto mended = state_.recovery().mend(entry->handle);
  // Should hardware have been behind a hold that ended.
  const std::uint32_t slot = handle.slot();
  if (mended.hold) quiescer_.look({}, std::span(&slot, 1));
  if (mended.left_to == 0) return Reply{.value = {to_wire(mended), 0}};
  const lock::LockTables& t = state_.locks().tables();
  const rm_context* const context = t.context(mended.left_to);
  const rm_client* const client =
      context ? t.client(lock::client_of(load(context->state))) : nullptr;
  Error error(ErrorCode::InUse, "repair");
  error.with_detail(ErrorDetail{
      .cycle = {},
      .text = "process " + std::to_string(client ? load_relaxed(client->pid) : 0) +
              " lives, is in the middle of serving it, and was told to look again: if it is "
              "stopped, let it go on or end it"});
  return std::unexpected(std::move(error));
}

Result<Clerk::Reply> Clerk::lift_poison(const Client& client, Handle handle) {
  const auto entry = state_.view().read(handle);
  if (!entry) return std::unexpected(entry.error());
  if (entry->drained && entry->state != Lifecycle::Quarantined) {
    return fail(ErrorCode::InvalidArgument, "its driver is being drained, and that is all");
  }
  auto done = unpoison(client, entry->handle);
  if (!done) return std::unexpected(std::move(done.error()));
  return Reply{};
}

// The registry first, which a successor believes: he closes what it says is drained.
void Clerk::shut(const registry::EntryCopy& entry) {
  (void)state_.writer().set_drained(entry.handle, true);
  state_.recovery().bar(entry.handle);
}

void Clerk::note_drained(Handle handle, std::uint32_t driver) {
  if (drained_.contains(driver)) (void)state_.writer().set_drained(handle, true);
}

// Unless it is closed for another reason. Nobody looked meanwhile whether somebody died who had it:
// hardware is asked for.
void Clerk::reopen(const registry::EntryCopy& entry) {
  (void)state_.writer().set_drained(entry.handle, false);
  const bool stays =
      entry.state == Lifecycle::Quarantined || state_.engine().has_quiesce_hook(entry.handle);
  if (!stays) (void)state_.recovery().lift_quarantine(entry.handle);
}

std::vector<registry::EntryCopy> Clerk::owned_by(std::uint32_t driver) const {
  std::vector<registry::EntryCopy> owned;
  state_.view().for_each([&](const registry::EntryCopy& entry) {
    if (entry.owner_driver == driver) owned.push_back(entry);
    return true;
  });
  return owned;
}

Result<Clerk::Reply> Clerk::drain(const wire::DrainRequest& request) {
  const auto driver = state_.view().drivers().find(request.driver);
  if (!driver) return std::unexpected(driver.error());
  std::uint64_t count = 0;
  if (request.step == wire::DrainStep::Begin) {
    drained_.insert(*driver);
    ledger_.drained(*driver, true);
    for (const registry::EntryCopy& entry : owned_by(*driver)) {
      shut(entry);
      ++count;
    }
    return Reply{.value = {count, 0}};
  }
  if (drained_.erase(*driver) == 0) {
    return fail(ErrorCode::InvalidArgument, "it is not being drained");
  }
  std::vector<std::uint32_t> slots;
  for (const registry::EntryCopy& entry : owned_by(*driver)) {
    if (!entry.drained) continue;
    reopen(entry);
    slots.push_back(entry.handle.slot());
    ++count;
  }
  // Last: a successor of one who died on the way goes on with the drain, and nobody was told that
  // it is over.
  ledger_.drained(*driver, false);
  quiescer_.look({}, slots);
  return Reply{.value = {count, 0}};
}

void Clerk::inherit_drain(std::uint32_t driver) {
  if (!state_.view().drivers().name(driver)) {
    ledger_.drained(driver, false);
  } else {
    drained_.insert(driver);
  }
}

void Clerk::inherit_drains() {
  state_.view().for_each([&](const registry::EntryCopy& entry) {
    if (entry.drained && drained_.insert(entry.owner_driver).second) {
      ledger_.drained(entry.owner_driver, true);
    }
    return true;
  });
  // Also what a predecessor was in the middle of.
  for (const std::uint32_t driver : drained_) {
    for (const registry::EntryCopy& entry : owned_by(driver)) shut(entry);
  }
}

}  // namespace resmgr::daemon
