// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/writer.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "resmgr/abi/names.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/hash.hpp"
#include "resmgr/registry/change.hpp"
#include "resmgr/registry/entry.hpp"
#include "resmgr/registry/teardown_order.hpp"

namespace resmgr::registry {
namespace {

constexpr std::size_t kLifecycleOffset = offsetof(rm_entry, lifecycle);
constexpr std::size_t kOwnerClientOffset = offsetof(rm_entry, owner_client);
constexpr std::size_t kGateOffset = offsetof(rm_entry, gate);
constexpr std::size_t kCookieOffset = offsetof(rm_entry, cookie);
constexpr std::size_t kFreeOffset = offsetof(rm_entry, pairs_link);
constexpr std::uint8_t kPrepared = RM_STATE_ALLOCATED | RM_STATE_UNPUBLISHED;

// The first word of an entry where nobody is; the generation stays for the next one.
constexpr Word vacant(std::uint32_t generation) noexcept { return Word{generation} << 32; }

std::uint32_t generation_of(const Word* entry) noexcept {
  return load_field<std::uint32_t>(entry, offsetof(rm_entry, generation));
}

std::string_view class_of(const Description& description) noexcept {
  return description.class_name.empty() ? to_string(description.type) : description.class_name;
}

std::uint8_t lifecycle_of(const Word* entry) noexcept {
  return load_field<std::uint8_t>(entry, kLifecycleOffset);
}

// Of an entry that is being unregistered.
unsigned state_before(const Word* entry) noexcept {
  return lifecycle_of(entry) >> RM_STATE_BEFORE_SHIFT & RM_STATE_MASK;
}

// The first of those in the way, and how many there are besides.
std::string first_of(std::string first, std::size_t count) {
  if (count > 1) first += " and " + std::to_string(count - 1) + " more";
  return first;
}

// The name of an entry where somebody is, copied out.
class NameOfEntry {
 public:
  explicit NameOfEntry(const Word* entry) noexcept
      : bytes_(std::clamp<std::size_t>(load_field<std::uint8_t>(entry, 0), 1, kMaxNameBytes)) {
    for (std::size_t i = 0; i * kWordBytes < bytes_; ++i) words_[i] = load_relaxed(entry[1 + i]);
  }
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(words_.data()), bytes_};
  }

 private:
  std::size_t bytes_;
  std::array<Word, RM_NAME_BYTES / kWordBytes> words_{};
};

constexpr Word two(std::uint32_t low, std::uint32_t high) noexcept {
  return low | Word{high} << 32;
}

// The words of an entry as rm_entry lays them out, written one by one: what is made in between is
// made a second time by the copy.
static_assert(offsetof(rm_entry, size_bytes) == 13 * kWordBytes &&
              offsetof(rm_entry, alignment) == 14 * kWordBytes &&
              offsetof(rm_entry, cookie) == 15 * kWordBytes &&
              offsetof(rm_entry, created_at) == 16 * kWordBytes &&
              offsetof(rm_entry, type_tag) == 17 * kWordBytes &&
              offsetof(rm_entry, flags) == 18 * kWordBytes &&
              offsetof(rm_entry, owner_driver) == 19 * kWordBytes &&
              offsetof(rm_entry, pairs_link) == 20 * kWordBytes &&
              offsetof(rm_entry, needs_link) == 21 * kWordBytes &&
              offsetof(rm_entry, numa_node) == 22 * kWordBytes &&
              offsetof(rm_entry, gate) == 23 * kWordBytes);
void write_entry(Word* entry, std::string_view name, const Description& d,
                 const PreparedSlot& place, std::uint32_t pairs_link) noexcept {
  store_release(entry[0], name.size() | Word{kPrepared} << 8 | Word{place.class_id} << 16 |
                              Word{place.generation} << 32);
  Word* word = entry + 1;
  std::size_t left = name.size();
  for (; left > kWordBytes; left -= kWordBytes) {
    store_release(*word++, load_word(name.data() + name.size() - left));
  }
  store_release(*word++, load_last_word(name.data(), name.size()));
  while (word < entry + 13) store_release(*word++, Word{0});
  store_release(entry[13], d.size_bytes);
  store_release(entry[14], d.alignment);
  store_release(entry[15], d.cookie);
  store_release(entry[16], d.created_at);
  store_release(entry[17], d.type_tag);
  store_release(
      entry[18],
      two(static_cast<std::uint32_t>(d.flags),
          static_cast<std::uint32_t>(d.type) | static_cast<std::uint32_t>(d.priority) << 8 |
              static_cast<std::uint32_t>(d.access_pattern) << 16 | std::uint32_t{d.backing} << 24));
  store_release(entry[19], two(d.owner_driver, d.owner_client));
  store_release(entry[20], Word{pairs_link});
  store_release(entry[21], Word{0});
  store_release(entry[22], two(static_cast<std::uint32_t>(d.numa_node), d.fd_kind));
  store_release(entry[23], Word{0});
}

}  // namespace

Result<RegistryWriter> RegistryWriter::open(const RegistryRegion& region) noexcept {
  if (!region.writable()) {
    return fail(ErrorCode::InvalidArgument, "the registry is mapped for reading");
  }
  return RegistryWriter(region.tables());
}

RegistryWriter::RegistryWriter(const Tables& tables) noexcept
    : tables_(tables),
      generations_(Generations::of(tables)),
      index_(tables),
      pairs_(tables),
      shares_(tables),
      dependencies_(tables),
      classes_(tables.classes, tables.root->class_count),
      drivers_(tables.drivers, tables.root->driver_count) {}

Result<std::uint32_t> RegistryWriter::take_slot() noexcept {
  rm_registry_region& root = *tables_.root;
  const std::uint32_t link = load_relaxed(root.free_slots_link);
  if (const Word* entry = tables_.entries.find(link); entry != nullptr) {
    store_release(root.free_slots_link, load_field<std::uint32_t>(entry, kFreeOffset));
    return link - 1;
  }
  for (;;) {
    const std::uint32_t slot = load_relaxed(root.slot_high_water);
    Word* const entry = tables_.entries.at(slot);
    if (entry == nullptr) {
      return table_full("table of resources", std::uint64_t{slot} + 1, tables_.entries.count());
    }
    reserve_entries(slot);
    store_release(root.slot_high_water, slot + 1);
    const std::uint32_t generation = generation_of(entry);
    if (!generations_.are_used_up(generation)) return slot;
    // Only damage makes an unused slot look used up; a handle must not repeat even then.
    store_release(entry[0], vacant(generation));
    bump(root.retired_slots);
  }
}

void RegistryWriter::reserve_entries(std::uint32_t slot) noexcept {
  if (slot < reserved_slots_) return;
  // A sixteenth of what there is, 128 KiB at most: no domain pays much for what it does not use.
  constexpr std::uint32_t kMost = std::size_t{128} * 1024 / sizeof(rm_entry);
  const std::uint32_t more = std::min({slot / 16 + 1, kMost, tables_.entries.count() - slot});
  reserve(tables_, tables_.entries.at(slot), std::size_t{more} * sizeof(rm_entry));
  reserved_slots_ = slot + more;
}

void RegistryWriter::give_slot_back(std::uint32_t slot, std::uint32_t generation) noexcept {
  rm_registry_region& root = *tables_.root;
  if (generations_.are_used_up(generation)) {
    bump(root.retired_slots);
    return;
  }
  store_field<std::uint32_t>(tables_.entries.at(slot), kFreeOffset,
                             load_relaxed(root.free_slots_link));
  store_release(root.free_slots_link, slot + 1);
}

Result<std::uint32_t> RegistryWriter::check_rest(const Description& description) const noexcept {
  if (auto ok = check_description(description); !ok) return std::unexpected(std::move(ok.error()));
  if (auto ok = pairs_.check(description.pairs); !ok) return std::unexpected(std::move(ok.error()));
  if (description.owner_driver >= load_relaxed(tables_.root->driver_count)) {
    return fail(ErrorCode::InvalidArgument, "no driver of that number");
  }
  const std::string_view name = class_of(description);
  // Resources of a class come in rows.
  if (name == std::string_view(last_class_.name.data(), last_class_.bytes)) return last_class_.id;
  return classes_.number_of(name);
}

void RegistryWriter::use_class(std::uint32_t id, std::string_view name) noexcept {
  if (classes_.is_new(id)) {
    classes_.add(id, name);
    fresh_class_ = id;
  } else if (id == fresh_class_) {
    fresh_class_ = 0;
  }
  if (id == last_class_.id) return;
  last_class_ = {.name = {}, .bytes = name.size(), .id = id};
  copy_text(last_class_.name, name);
}

Result<void> RegistryWriter::check(std::string_view name, const Description& description) noexcept {
  if (!is_valid_name(name)) return fail(ErrorCode::InvalidName);
  if (auto rest = check_rest(description); !rest) return std::unexpected(std::move(rest.error()));
  if (index_.contains(name_key(name, tables_.secrets), name)) {
    return fail(ErrorCode::AlreadyExists);
  }
  if (accountant_ == nullptr) return {};
  return accountant_->check(description.owner_driver, description.type,
                            cost_of(description.type, description.size_bytes), description.urgency);
}

Result<PreparedSlot> RegistryWriter::prepare(std::string_view name,
                                             const Description& description) noexcept {
  if (!is_valid_name(name)) return fail(ErrorCode::InvalidName);
  const NameKey key = name_key(name, tables_.secrets);
  auto class_id = check_rest(description);
  if (!class_id) return std::unexpected(std::move(class_id.error()));
  if (index_.contains(key, name)) return fail(ErrorCode::AlreadyExists);
  const std::uint64_t cost = cost_of(description.type, description.size_bytes);
  if (accountant_ != nullptr) {
    if (auto charged = accountant_->charge(description.owner_driver, description.type, cost,
                                           description.urgency);
        !charged) {
      return std::unexpected(std::move(charged.error()));
    }
  }
  auto slot = take_slot();
  if (!slot) {
    if (accountant_ != nullptr) {
      accountant_->give_back(description.owner_driver, description.type, cost);
    }
    return std::unexpected(std::move(slot.error()));
  }
  // Nothing refuses from here on.
  use_class(*class_id, class_of(description));

  Word* const entry = tables_.entries.at(*slot);
  const std::uint32_t last = generation_of(entry);
  const PreparedSlot prepared{.slot = *slot,
                              .generation = generations_.after(last),
                              .class_id = static_cast<std::uint16_t>(*class_id),
                              .fresh = last == 0,
                              .name_hash = key.hash};
  // Unpublished in whichever order the words get there: readers pass it by, recovery undoes it.
  write_entry(entry, name, description, prepared, pairs_.write(description.pairs));
  index_.insert(key, prepared.handle(), name.size());
  return prepared;
}

bool RegistryWriter::is_prepared(const PreparedSlot& prepared) const noexcept {
  const Word* const entry = tables_.entries.at(prepared.slot);
  return entry != nullptr && load_field<std::uint8_t>(entry, 0) != 0 &&
         lifecycle_of(entry) == kPrepared && generation_of(entry) == prepared.generation;
}

Result<void> RegistryWriter::check_prepared(const PreparedSlot& prepared,
                                            Lifecycle state) const noexcept {
  if (state != Lifecycle::Ready && state != Lifecycle::Allocated) {
    return fail(ErrorCode::InvalidArgument, "not a state to begin in");
  }
  if (!is_prepared(prepared)) return fail(ErrorCode::StaleHandle, "publish");
  return {};
}

void RegistryWriter::store_lifecycle(std::uint32_t slot, unsigned lifecycle) noexcept {
  store_field<std::uint8_t>(tables_.entries.at(slot), kLifecycleOffset,
                            static_cast<std::uint8_t>(lifecycle));
}

void RegistryWriter::announce(const PreparedSlot& prepared) noexcept {
  index_.publish(prepared.name_hash, prepared.handle());
  store_release(tables_.root->live, load_relaxed(tables_.root->live) + 1);
  const Word* const entry = tables_.entries.at(prepared.slot);
  drivers_.add_resource(owner_of(entry));
  tables_.tallies.came(owner_of(entry), type_of(entry));
}

Result<Handle> RegistryWriter::publish(const PreparedSlot& prepared, Lifecycle state) noexcept {
  if (auto ok = check_prepared(prepared, state); !ok) return std::unexpected(std::move(ok.error()));
  const Change change(tables_);
  store_lifecycle(prepared.slot, static_cast<unsigned>(state));
  announce(prepared);
  return prepared.handle();
}

Result<void> RegistryWriter::publish_with_needed(const PreparedSlot& prepared, Lifecycle state,
                                                 const PreparedSlot& needed,
                                                 Lifecycle needed_state) noexcept {
  if (auto ok = check_prepared(prepared, state); !ok) return ok;
  if (auto ok = check_prepared(needed, needed_state); !ok) return ok;
  const Change change(tables_);
  const auto needed_lifecycle = static_cast<unsigned>(needed_state);
  store_lifecycle(needed.slot, needed_lifecycle | RM_STATE_UNPUBLISHED);
  dependencies_.add_first(prepared.handle(), needed.handle());
  // From this store on both are there; recovery makes the rest from it.
  store_lifecycle(prepared.slot, static_cast<unsigned>(state));
  store_lifecycle(needed.slot, needed_lifecycle);
  announce(needed);
  announce(prepared);
  return {};
}

Result<void> RegistryWriter::abandon(const PreparedSlot& prepared) noexcept {
  if (!is_prepared(prepared)) return fail(ErrorCode::StaleHandle, "abandon");
  clear_entry(prepared.slot);
  if (prepared.class_id == fresh_class_) {
    classes_.take_back(fresh_class_);
    fresh_class_ = 0;
    last_class_ = {};
  }
  return {};
}

void RegistryWriter::give_budget_back(const Word* entry) noexcept {
  if (accountant_ == nullptr) return;
  const auto copy = load_record<rm_entry>(entry);
  const auto type = static_cast<ResourceType>(copy.type);
  accountant_->give_back(copy.owner_driver, type, cost_of(type, copy.size_bytes));
}

void RegistryWriter::clear_entry(std::uint32_t slot) noexcept {
  Word* const entry = tables_.entries.at(slot);
  const std::uint32_t generation = generation_of(entry);
  const NameOfEntry name(entry);
  // First, so that no name leads to a handle that is stale already.
  index_.erase(name_key(name.text(), tables_.secrets).hash, Handle(slot, generation));
  store_release(entry[0], vacant(generation));
  give_budget_back(entry);
  pairs_.drop_all(entry);
  shares_.drop_all(entry);
  dependencies_.drop_all(slot);
  give_slot_back(slot, generation);
}

Result<void> RegistryWriter::set_lifecycle(Handle handle, Lifecycle state) noexcept {
  if (state != Lifecycle::Allocated && state != Lifecycle::Ready && state != Lifecycle::Orphaned &&
      state != Lifecycle::Quarantined) {
    return fail(ErrorCode::InvalidArgument, "a lifecycle state that is not stored");
  }
  if (live_entry(tables_, handle) == nullptr) return fail(ErrorCode::StaleHandle);
  Word* const entry = tables_.entries.at(handle.slot());
  if (is_leaving(entry)) return fail(ErrorCode::InUse, "being unregistered");
  store_field<std::uint8_t>(entry, kLifecycleOffset, static_cast<std::uint8_t>(state));
  return {};
}

Result<void> RegistryWriter::set_drained(Handle handle, bool drained) noexcept {
  if (live_entry(tables_, handle) == nullptr) return fail(ErrorCode::StaleHandle);
  store_field<std::uint32_t>(tables_.entries.at(handle.slot()), kGateOffset,
                             drained ? RM_GATE_DRAINED : 0u);
  return {};
}

// The state comes last: killed before it, the orphan is adopted once more.
Result<void> RegistryWriter::adopt(Handle handle, std::uint32_t client, std::uint64_t cookie,
                                   Lifecycle state) noexcept {
  if (state != Lifecycle::Allocated && state != Lifecycle::Ready) {
    return fail(ErrorCode::InvalidArgument, "a lifecycle state that an owner does not bring");
  }
  if (live_entry(tables_, handle) == nullptr) return fail(ErrorCode::StaleHandle);
  Word* const entry = tables_.entries.at(handle.slot());
  if (lifecycle_of(entry) != static_cast<unsigned>(Lifecycle::Orphaned)) {
    return fail(ErrorCode::InvalidArgument, "not an orphan");
  }
  store_field<std::uint32_t>(entry, kOwnerClientOffset, client);
  store_field<std::uint64_t>(entry, kCookieOffset, cookie);
  store_field<std::uint8_t>(entry, kLifecycleOffset, static_cast<std::uint8_t>(state));
  return {};
}

Result<void> RegistryWriter::check_users(Handle handle, const Leaving* leaving) const {
  auto users = read_shares(tables_, handle);
  if (!users) return std::unexpected(std::move(users.error()));
  std::erase_if(*users,
                [&](const ShareCopy& user) { return drivers_.resources(user.driver) == 0; });
  if (users->empty()) return {};
  Leaving needed;
  if (leaving == nullptr) {
    auto order = read_teardown_order(tables_, handle);
    if (!order) return std::unexpected(std::move(order.error()));
    for (const Handle each : *order) ++needed[owner_of(tables_.entries.at(each.slot()))];
    leaving = &needed;
  }
  std::erase_if(*users, [&](const ShareCopy& user) {
    const auto too = leaving->find(user.driver);
    return too != leaving->end() && too->second >= drivers_.resources(user.driver);
  });
  if (users->empty()) return {};
  Error used(ErrorCode::InUse, "unregister");
  const auto first = drivers_.name(users->front().driver);
  const std::string name =
      first ? std::string(first->data()) : std::to_string(users->front().driver);
  // Whether they use each other would take a look at every resource: the advice covers both.
  used.with_detail({.cycle = {},
                    .text = "used by " + first_of(name, users->size()) +
                            ": unshare it, or unregister theirs first; of two that use each "
                            "other one has to unshare"});
  return std::unexpected(std::move(used));
}

Result<void> RegistryWriter::begin_unregister(Handle handle, const Leaving* leaving) {
  if (live_entry(tables_, handle) == nullptr) return fail(ErrorCode::StaleHandle);
  Word* const entry = tables_.entries.at(handle.slot());
  const unsigned state = lifecycle_of(entry) & RM_STATE_MASK;
  if (state == RM_STATE_PENDING_CLEANUP) return fail(ErrorCode::InUse, "being unregistered");
  if (dependencies_.is_needed(handle.slot())) {
    Error needed(ErrorCode::InUse, "unregister");
    if (auto users = read_needed_by(tables_, handle); users && !users->empty()) {
      auto first = read_entry(tables_, users->front());
      const std::string name =
          first ? std::string(first->name_text()) : std::to_string(users->front().slot());
      needed.with_detail({.cycle = {}, .text = "needed by " + first_of(name, users->size())});
    }
    return std::unexpected(std::move(needed));
  }
  if (auto unused = check_users(handle, leaving); !unused) return unused;
  store_field<std::uint8_t>(
      entry, kLifecycleOffset,
      static_cast<std::uint8_t>(RM_STATE_PENDING_CLEANUP | state << RM_STATE_BEFORE_SHIFT));
  return {};
}

Result<Word*> RegistryWriter::pending_entry(Handle handle) const noexcept {
  if (live_entry(tables_, handle) == nullptr) return fail(ErrorCode::StaleHandle);
  Word* const entry = tables_.entries.at(handle.slot());
  if (!is_leaving(entry)) return fail(ErrorCode::InvalidArgument, "not being unregistered");
  return entry;
}

bool RegistryWriter::was_orphaned(Handle handle) const noexcept {
  const auto entry = pending_entry(handle);
  return entry && state_before(*entry) == static_cast<unsigned>(Lifecycle::Orphaned);
}

Result<void> RegistryWriter::cancel_unregister(Handle handle) noexcept {
  auto entry = pending_entry(handle);
  if (!entry) return std::unexpected(std::move(entry.error()));
  const unsigned before = state_before(*entry);
  store_field<std::uint8_t>(*entry, kLifecycleOffset, static_cast<std::uint8_t>(before));
  return {};
}

Result<void> RegistryWriter::finish_unregister(Handle handle) noexcept {
  auto entry = pending_entry(handle);
  if (!entry) return std::unexpected(std::move(entry.error()));
  const Change change(tables_);
  drivers_.drop_resource(owner_of(*entry));
  tables_.tallies.went(owner_of(*entry), type_of(*entry));
  clear_entry(handle.slot());
  store_release(tables_.root->live, load_relaxed(tables_.root->live) - 1);
  return {};
}

}  // namespace resmgr::registry
