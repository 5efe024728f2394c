// SPDX-License-Identifier: Apache-2.0
//
// One or several at once, and the memory behind resources.
#include <cerrno>
#include <new>
#include <utility>

#include "resmgr/client/domain.hpp"
#include "resmgr/lock/wait.hpp"

namespace resmgr::client {

Result<lock::Grant> Domain::acquire(lock::Context& context, Handle handle,
                                    const lock::Request& request) noexcept {
  auto grant = engine_.acquire(context, handle, request);
  if (!grant) return grant;
  if (auto complete = this->complete(context, handle, request.kind, *grant); !complete) {
    return std::unexpected(std::move(complete.error()));
  }
  return grant;
}

// Under the hold, so that the resource stays registered meanwhile.
Result<void> Domain::make_memory_or_revert(lock::Context& context, Handle handle,
                                           HoldKind kind) noexcept {
  const Handle resource = handle.with_tenure(0);
  auto made = memory_.make(resource);
  if (made) {
    note_memory(resource);
    hooks_.accessed(resource);
  } else {
    engine_.revert(context, handle, kind);
  }
  return made;
}

void Domain::note_memory(Handle handle) noexcept {
  authority_->memory_made(handle, memory_.file(handle));
}

Result<Acquired> Domain::acquire_any(lock::Context& context, std::span<const Handle> any,
                                     const lock::Request& request) {
  lock::Wait wait;
  const bool waits = request.mode != AcquisitionMode::NonBlocking;
  std::vector<lock::Wait> members(waits ? any.size() : 0);
  const auto grant = engine_.acquire_any(context, any, request, wait, members);
  if (!grant) return std::unexpected(grant.error());
  if (auto whole = complete(context, wait.handle, request.kind, *grant); !whole) {
    return std::unexpected(std::move(whole.error()));
  }
  return Acquired{wait.handle.with_tenure(grant->tenure), &context, request.kind};
}

Result<std::vector<Acquired>> Domain::acquire_all(lock::Context& context,
                                                  std::span<const Wanted> wanted,
                                                  const lock::Request& request) {
  auto all = AcquireAll::make(engine_, view_, context, wanted, request);
  if (!all) return std::unexpected(std::move(all.error()));
  while (const Wanted* const next = all->next()) {
    auto grant = acquire(context, next->handle, all->request());
    if (grant) {
      all->granted(*grant);
    } else if (auto goes_on = all->refused(std::move(grant.error())); !goes_on) {
      return std::unexpected(std::move(goes_on.error()));
    }
  }
  return all->take();
}

ErrorCode Domain::check_rights(Handle handle, std::uint32_t driver) const noexcept {
  const auto rights = read_settled([&](const auto& view) { return view.rights(handle, driver); });
  if (!rights) return rights.error().code();
  return has(*rights, Rights::Acquire) ? ErrorCode{} : ErrorCode::NotPermitted;
}

// Where the resource's file is: with what this process registered, or among what it fetched from
// the authority, which knows the rights, and does so now. Errors: Unsupported (it has no memory).
Result<MemoryTable*> Domain::table_with(const registry::EntryCopy& entry, bool writable) try {
  if (memory_.contains(entry.handle)) return &memory_;
  MemoryTable& table = writable ? foreign_memory_ : readable_memory_;
  if (table.contains(entry.handle)) return &table;
  const Rights rights = writable ? Rights::Read | Rights::Write : Rights::Read;
  auto file = authority_->open_file(entry.handle, rights);
  if (!file) {
    if (!view_.is_live(entry.handle)) return fail(ErrorCode::StaleHandle);
    return std::unexpected(std::move(file.error()));
  }
  // Owners elsewhere unregister without a word to this process: now and then it looks itself.
  constexpr std::uint32_t kFetchesBetweenLooks = 64;
  if (fetches_.fetch_add(1, std::memory_order_relaxed) % kFetchesBetweenLooks == 0) {
    const auto is_live = [&](Handle handle) { return view_.is_live(handle); };
    foreign_memory_.remove_unless(is_live);
    readable_memory_.remove_unless(is_live);
  }
  table.add(entry.handle, {std::move(*file), entry.size_bytes}, {});
  return &table;
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "memory of a resource");
}

// A driver of the owner's name in another process is not the owner.
bool Domain::is_owner(std::uint32_t driver, const registry::EntryCopy& entry) const noexcept {
  return entry.owner_client == client_ && (driver == 0 || driver == entry.owner_driver);
}

// What `driver` may do, and the entry it was read from.
Result<Rights> Domain::check_access(Handle handle, std::uint32_t driver,
                                    registry::EntryCopy& entry) const {
  auto read = view_.read(handle);
  if (!read) return std::unexpected(std::move(read.error()));
  entry = *read;
  if (is_owner(driver, entry)) return Rights::All;
  if (driver == 0 || driver == entry.owner_driver) return Rights::None;
  return read_settled([&](const auto& view) { return view.rights(handle, driver); });
}

Result<std::span<std::byte>> Domain::map(Handle handle, std::uint32_t driver) {
  if (closed()) return fail(ErrorCode::Disconnected);
  registry::EntryCopy entry;
  const auto rights = check_access(handle, driver, entry);
  if (!rights) return std::unexpected(rights.error());
  if (!has(*rights, Rights::Read) && !has(*rights, Rights::Write)) {
    return fail(ErrorCode::NotPermitted, "map needs read or write rights");
  }
  const bool owner = is_owner(driver, entry);
  const bool writable =
      has(*rights, Rights::Write) && (owner || entry.access_pattern != AccessPattern::ReadMostly);
  const auto table = table_with(entry, writable);
  if (!table) return std::unexpected(table.error());
  auto mapped = (*table)->map(entry.handle, {.pattern = entry.access_pattern,
                                             .flags = entry.flags,
                                             .alignment = entry.alignment,
                                             .numa_node = entry.numa_node,
                                             .writable = writable});
  if (mapped && entry.state == Lifecycle::Allocated) note_memory(entry.handle);
  return mapped;
}

Result<UniqueFd> Domain::duplicate_fd(Handle handle, std::uint32_t driver) {
  if (closed()) return fail(ErrorCode::Disconnected);
  registry::EntryCopy entry;
  const auto rights = check_access(handle, driver, entry);
  if (!rights) return std::unexpected(rights.error());
  // A descriptor can be mapped for writing, so reading rights alone are not enough.
  if (!has(*rights, Rights::Write)) {
    return fail(ErrorCode::NotPermitted, "a descriptor needs write rights");
  }
  const auto table = table_with(entry, true);
  if (!table) return std::unexpected(table.error());
  auto copy = (*table)->duplicate(entry.handle);
  if (copy && entry.state == Lifecycle::Allocated) note_memory(entry.handle);
  return copy;
}

}  // namespace resmgr::client
