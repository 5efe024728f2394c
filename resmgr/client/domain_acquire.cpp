// SPDX-License-Identifier: Apache-2.0
//
// Several at once, and the memory behind resources.
#include <algorithm>
#include <compare>
#include <utility>

#include "resmgr/client/domain.hpp"

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

Result<std::vector<Acquired>> Domain::acquire_bundle(lock::Context& context,
                                                     std::span<const Handle> handles,
                                                     const lock::Request& request) {
  // Everybody takes them by class and slot, so bundles never wait for each other in a circle; mixed
  // with other holds they may, and then the walk finds it. By class first, or two bundles of the
  // same classes would invert each other's order where nothing can go wrong.
  struct Wanted {
    std::uint16_t class_id = 0;
    Handle handle;
    auto operator<=>(const Wanted&) const = default;
  };
  std::vector<Wanted> sorted;
  sorted.reserve(handles.size());
  for (const Handle handle : handles) {
    const auto entry = view_.read(handle);  // what is stale is refused when its turn comes
    sorted.push_back({entry ? entry->class_id : std::uint16_t{0}, handle});
  }
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted, {}, &Wanted::handle) != sorted.end()) {
    return fail(ErrorCode::InvalidArgument, "a resource twice in one bundle");
  }
  std::vector<Acquired> acquired;
  acquired.reserve(sorted.size());
  for (const Wanted& wanted : sorted) {
    const Handle handle = wanted.handle;
    auto grant = acquire(context, handle, request);
    if (!grant) {
      while (!acquired.empty()) {
        const Acquired& last = acquired.back();
        (void)engine_.release(context, last.handle, last.kind);
        acquired.pop_back();
      }
      return std::unexpected(std::move(grant.error()));
    }
    acquired.push_back({handle.with_tenure(grant->tenure), &context, request.kind});
  }
  return acquired;
}

ErrorCode Domain::check_rights(Handle handle, std::uint32_t driver) const noexcept {
  const auto rights = read_settled([&](const auto& view) { return view.rights(handle, driver); });
  if (!rights) return rights.error().code();
  return has(*rights, Rights::Acquire) ? ErrorCode{} : ErrorCode::NotPermitted;
}

// Whether the resource has memory: if it has none and is there, it was registered without.
Result<void> Domain::check_memory(Handle handle) const {
  if (memory_.contains(handle)) return {};
  if (!view_.is_live(handle)) return fail(ErrorCode::StaleHandle);
  return fail(ErrorCode::Unsupported, "the resource has no memory");
}

// What `driver` may do, and the entry it was read from.
Result<Rights> Domain::check_access(Handle handle, std::uint32_t driver,
                                    registry::EntryCopy& entry) const {
  auto read = view_.read(handle);
  if (!read) return std::unexpected(std::move(read.error()));
  entry = *read;
  if (driver == 0 || driver == entry.owner_driver) return Rights::All;
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
  if (auto there = check_memory(entry.handle); !there) return std::unexpected(there.error());
  const bool owner = driver == 0 || driver == entry.owner_driver;
  const bool writable =
      has(*rights, Rights::Write) && (owner || entry.access_pattern != AccessPattern::ReadMostly);
  auto mapped = memory_.map(entry.handle, {.pattern = entry.access_pattern,
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
  if (auto there = check_memory(entry.handle); !there) return std::unexpected(there.error());
  auto copy = memory_.duplicate(entry.handle);
  if (copy && entry.state == Lifecycle::Allocated) note_memory(entry.handle);
  return copy;
}

}  // namespace resmgr::client
