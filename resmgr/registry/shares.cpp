// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/shares.hpp"

#include <cstddef>
#include <utility>

#include "resmgr/registry/chains.hpp"
#include "resmgr/registry/entry.hpp"

namespace resmgr::registry {
namespace {

constexpr std::size_t kHeadOffset = offsetof(rm_entry, shares_link);
constexpr std::size_t kNextOffset = offsetof(rm_share, next_link);
constexpr std::size_t kRightsOffset = offsetof(rm_share, rights);
constexpr auto kAllRights = static_cast<std::uint32_t>(Rights::All);

bool is_shareable(const Word* entry) noexcept {
  const auto flags = load_field<std::uint32_t>(entry, offsetof(rm_entry, flags));
  return has(static_cast<ResourceFlags>(flags), ResourceFlags::Shareable);
}

ShareCopy copy_of(const Word* record) noexcept {
  const auto share = load_record<rm_share>(record);
  return {.driver = share.driver, .rights = static_cast<Rights>(share.rights & kAllRights)};
}

// Calls `begin` before each attempt, and `visit` with each share.
template <typename Begin, typename Visit>
Result<void> for_each_share(const Tables& tables, Handle handle, Begin&& begin, Visit&& visit) {
  return read_chains(tables, [&] {
    begin();
    const Word* const entry = live_entry(tables, handle);
    if (entry == nullptr) return Walk::Stale;
    std::uint32_t budget = tables.shares.count();
    const Walk walk = walk_chain(tables.shares, load_field<std::uint32_t>(entry, kHeadOffset),
                                 kNextOffset, budget, [&](const Word* record) {
                                   visit(copy_of(record));
                                   return true;
                                 });
    return live_entry(tables, handle) == nullptr ? Walk::Stale : walk;
  });
}

}  // namespace

Result<std::vector<ShareCopy>> read_shares(const Tables& tables, Handle handle) {
  std::vector<ShareCopy> found;
  auto ok = for_each_share(
      tables, handle, [&] { found.clear(); },
      [&](const ShareCopy& share) { found.push_back(share); });
  if (!ok) return std::unexpected(std::move(ok.error()));
  return found;
}

Result<Rights> read_rights(const Tables& tables, Handle handle, std::uint32_t driver) noexcept {
  const Word* const entry = live_entry(tables, handle);
  if (entry == nullptr) return fail(ErrorCode::StaleHandle);
  const std::uint32_t owner = owner_of(entry);
  if (live_entry(tables, handle) == nullptr) return fail(ErrorCode::StaleHandle);
  if (owner == driver) return Rights::All;

  Rights rights = Rights::None;
  auto ok = for_each_share(
      tables, handle, [&] { rights = Rights::None; },
      [&](const ShareCopy& share) {
        if (share.driver == driver) rights = share.rights;
      });
  if (!ok) return std::unexpected(std::move(ok.error()));
  return rights;
}

ShareWriter::ShareWriter(const Tables& tables) noexcept
    : tables_(tables), pool_(tables.shares, tables.root->shares, tables.root->chains_seq) {}

ShareWriter::Place ShareWriter::locate(const Word* entry, std::uint32_t driver) const noexcept {
  Place place{.record = nullptr,
              .previous = nullptr,
              .link = load_field<std::uint32_t>(entry, kHeadOffset)};
  for (std::uint32_t budget = tables_.shares.count(); budget > 0; --budget) {
    Word* const record = tables_.shares.find(place.link);
    if (record == nullptr) break;
    if (load_record<rm_share>(record).driver == driver) {
      place.record = record;
      break;
    }
    place.previous = record;
    place.link = load_field<std::uint32_t>(record, kNextOffset);
  }
  return place;
}

Result<void> ShareWriter::share(Handle handle, std::uint32_t by, std::uint32_t with,
                                Rights rights) {
  const Word* const live = live_entry(tables_, handle);
  if (live == nullptr) return fail(ErrorCode::StaleHandle);
  if (!is_shareable(live)) return fail(ErrorCode::NotShareable);
  const auto bits = static_cast<std::uint32_t>(rights);
  if (bits == 0 || (bits & ~kAllRights) != 0) {
    return fail(ErrorCode::InvalidArgument, "rights out of range");
  }
  if (with == 0 || with >= load_relaxed(tables_.root->driver_count)) {
    return fail(ErrorCode::InvalidArgument, "no driver of that number");
  }
  if (with == owner_of(live)) {
    return fail(ErrorCode::InvalidArgument, "the owner has all rights already");
  }
  auto own = read_rights(tables_, handle, by);
  if (!own) return std::unexpected(std::move(own.error()));
  if (!has(*own, rights | Rights::Share)) {
    return fail(ErrorCode::NotPermitted, "sharing what one may not use or share");
  }

  if (is_leaving(live)) return fail(ErrorCode::InUse, "it is being unregistered");

  Word* const entry = tables_.entries.at(handle.slot());
  if (const Place place = locate(entry, with); place.record != nullptr) {
    const auto present = load_field<std::uint32_t>(place.record, kRightsOffset);
    store_field<std::uint32_t>(place.record, kRightsOffset, present | bits);
    return {};
  }
  const std::uint32_t link = pool_.take();
  if (link == 0) {
    return table_full("table of shares", 1, 0);
  }
  // Complete before the chain leads to it.
  store_record(tables_.shares.find(link),
               rm_share{.next_link = load_field<std::uint32_t>(entry, kHeadOffset),
                        .driver = with,
                        .rights = bits,
                        .reserved = 0});
  store_field<std::uint32_t>(entry, kHeadOffset, link);
  return {};
}

Result<void> ShareWriter::unshare(Handle handle, std::uint32_t by, std::uint32_t with) noexcept {
  const Word* const live = live_entry(tables_, handle);
  if (live == nullptr) return fail(ErrorCode::StaleHandle);
  if (by != with && by != owner_of(live)) return fail(ErrorCode::NotPermitted, "unshare");
  Word* const entry = tables_.entries.at(handle.slot());
  const Place place = locate(entry, with);
  if (place.record == nullptr) return fail(ErrorCode::NotFound, "no such share");
  const auto next = load_field<std::uint32_t>(place.record, kNextOffset);
  if (place.previous != nullptr) {
    store_field<std::uint32_t>(place.previous, kNextOffset, next);
  } else {
    store_field<std::uint32_t>(entry, kHeadOffset, next);
  }
  pool_.give_back(place.link);
  return {};
}

void ShareWriter::drop_all(Word* entry) noexcept {
  pool_.give_back_chain(entry, kHeadOffset, kNextOffset);
}

void ShareWriter::recover(const std::vector<bool>& live) {
  std::vector<bool> in_use(pool_.high_water());
  for (std::uint32_t slot = 0; slot < live.size(); ++slot) {
    if (live[slot]) pool_.mark_chain(tables_.entries.at(slot), kHeadOffset, kNextOffset, in_use);
  }
  pool_.reset(in_use);
}

}  // namespace resmgr::registry
