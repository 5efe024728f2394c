// SPDX-License-Identifier: Apache-2.0
#include "tests/registry/support.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "resmgr/abi/region_file.hpp"
#include "resmgr/registry/name_key.hpp"

namespace resmgr::registry::test {
namespace {

std::string text_of(const RegistryView& view, Handle handle) {
  const auto entry = view.read(handle);
  return entry ? std::string(entry->name_text()) : "?";
}

std::string names_of(const RegistryView& view, const Result<std::vector<Handle>>& handles) {
  if (!handles) return handles.error().message();
  std::vector<std::string> names;
  for (const Handle handle : *handles) names.push_back(text_of(view, handle));
  std::ranges::sort(names);
  std::string text;
  for (const std::string& name : names) text += name + ",";
  return text;
}

void describe_entry(std::ostream& out, const RegistryView& view, const EntryCopy& entry) {
  out << entry.name_text() << " #" << entry.handle.bits() << ' ' << to_string(entry.state)
      << " type " << to_string(entry.type) << " class "
      << view.classes().name(entry.class_id).value_or(Tag{'?'}).data() << " size "
      << entry.size_bytes << " cookie " << entry.cookie << " pairs";
  if (const auto pairs = view.pairs(entry.handle)) {
    for (const PairCopy& pair : *pairs) out << ' ' << pair.key.data() << '=' << pair.value.data();
  }
  out << " shares";
  if (const auto shares = view.shares(entry.handle)) {
    std::set<std::pair<std::uint32_t, std::uint32_t>> sorted;
    for (const ShareCopy& share : *shares) {
      sorted.emplace(share.driver, static_cast<std::uint32_t>(share.rights));
    }
    for (const auto& [driver, rights] : sorted) out << ' ' << driver << ':' << rights;
  }
  out << " needs " << names_of(view, view.needs(entry.handle)) << " needed by "
      << names_of(view, view.needed_by(entry.handle)) << '\n';
}

// Records that can still be taken: those on the free list and those never used.
template <typename T>
std::uint32_t free_records(const Records<T>& records, std::uint32_t link, std::uint32_t high_water,
                           std::size_t next_offset) {
  std::set<std::uint32_t> seen;
  while (link != 0 && seen.insert(link).second) {
    const Word* const record = records.find(link);
    if (record == nullptr || link > high_water) return ~0u;
    link = load_field<std::uint32_t>(record, next_offset);
  }
  return static_cast<std::uint32_t>(seen.size()) + records.count() - high_water;
}

template <typename T>
void check_pool(std::ostream& wrong, const char* what, const Records<T>& records,
                const rm_record_pool& pool, std::size_t reachable) {
  const std::uint32_t free = free_records(records, pool.free_link, pool.high_water, 0);
  if (free + reachable != records.count() || pool.used != reachable) {
    wrong << what << ": " << records.count() << " in all, " << reachable << " reachable, "
          << pool.used << " counted, " << free << " free\n";
  }
}

}  // namespace

Capacities small_capacities() {
  return {.slots = 12,
          .contexts = 2,
          .clients = 2,
          .nodes = 2,
          .cells = 2,
          .classes = 10,
          .drivers = 8,
          .pairs = 20,
          .dependencies = 24,
          .shares = 16};
}

UniqueFd file_of(std::span<const std::byte> bytes) {
  auto fd = create_region_file("registry-test", bytes.size()).value();
  const auto mapping =
      Mapping::map_file(fd.get(), bytes.size(), Mapping::Access::ReadWrite).value();
  std::memcpy(mapping.data(), bytes.data(), bytes.size());
  return fd;
}

RegistryRegion copy_of(std::span<const std::byte> bytes) {
  return RegistryRegion::attach(file_of(bytes), Mapping::Access::ReadWrite).value();
}

World::World(const Capacities& capacities, std::uint32_t flags)
    : World(RegistryRegion::create(capacities, {.domain_id = 0x5eed, .epoch = 1, .flags = flags})
                .value()) {}

World::World(RegistryRegion from)
    : region(std::move(from)), writer(RegistryWriter::open(region).value()), view(region) {}

Result<Handle> World::try_add(std::string_view name, const Description& description) {
  auto prepared = writer.prepare(name, description);
  if (!prepared) return std::unexpected(std::move(prepared.error()));
  return writer.publish(*prepared);
}

Handle World::add(std::string_view name, const Description& description) {
  auto handle = try_add(name, description);
  EXPECT_TRUE(succeeded(handle)) << name;
  return handle.value_or(Handle());
}

void World::remove(Handle handle) {
  EXPECT_TRUE(succeeded(writer.begin_unregister(handle)));
  EXPECT_TRUE(succeeded(writer.finish_unregister(handle)));
}

std::uint32_t World::driver(std::string_view name) {
  auto id = writer.drivers().intern(name);
  EXPECT_TRUE(succeeded(id)) << name;
  return id.value_or(0);
}

IndexState index_state(const World& world) {
  const Tables& tables = world.region.tables();
  return IndexState::decode(tables.root->index_state, tables.index.count()).value();
}

std::vector<std::string> colliding_names(const World& world, std::uint32_t cells,
                                         std::uint32_t home, int count) {
  std::vector<std::string> names;
  const IndexState state{
      .first = 0, .shift = 64 - static_cast<std::uint32_t>(std::countr_zero(cells)), .rebuilds = 0};
  for (int i = 0; static_cast<int>(names.size()) < count; ++i) {
    std::string name = "x" + std::to_string(i);
    if (state.home(name_key(name, world.region.tables().secrets).hash) == home) {
      names.push_back(std::move(name));
    }
  }
  return names;
}

std::string describe(const RegistryView& view) {
  std::map<std::string, std::string> by_name;
  view.for_each([&](const EntryCopy& entry) {
    std::ostringstream line;
    describe_entry(line, view, entry);
    by_name[std::string(entry.name_text())] += line.str();
    return true;
  });
  std::string all;
  for (const auto& [name, line] : by_name) all += line;
  return all;
}

testing::AssertionResult is_sound(const World& world) {
  const RegistryView& view = world.view;
  const Tables& tables = world.region.tables();
  const rm_registry_region& root = *tables.root;
  std::ostringstream wrong;
  std::uint32_t entries = 0;
  std::size_t pairs = 0;
  std::size_t shares = 0;
  std::multiset<std::pair<std::uint32_t, std::uint32_t>> needs;
  std::multiset<std::pair<std::uint32_t, std::uint32_t>> needed;
  std::map<std::uint32_t, std::uint32_t> owned;
  std::map<std::pair<std::uint32_t, ResourceType>, std::uint64_t> tallies;
  view.for_each([&](const EntryCopy& entry) {
    ++entries;
    ++owned[entry.owner_driver];
    ++tallies[{0, entry.type}];
    if (entry.owner_driver != 0) ++tallies[{entry.owner_driver, entry.type}];
    const auto found = view.find(entry.name_text());
    if (!found || *found != entry.handle) wrong << entry.name_text() << " is not found\n";
    const auto its_pairs = view.pairs(entry.handle);
    const auto its_shares = view.shares(entry.handle);
    const auto its_needs = view.needs(entry.handle);
    const auto its_users = view.needed_by(entry.handle);
    if (!its_pairs || !its_shares || !its_needs || !its_users) {
      wrong << entry.name_text() << " has chains that can't be read\n";
      return true;
    }
    pairs += its_pairs->size();
    shares += its_shares->size();
    for (const Handle to : *its_needs) needs.emplace(entry.handle.slot(), to.slot());
    for (const Handle from : *its_users) needed.emplace(from.slot(), entry.handle.slot());
    return true;
  });
  if (entries != view.size()) wrong << view.size() << " counted, " << entries << " there\n";
  if (root.index_names != entries) wrong << root.index_names << " names in the index\n";
  for (std::uint32_t driver = 1; driver < root.driver_count; ++driver) {
    const std::uint32_t counted = view.drivers().resources(driver);
    if (counted != owned[driver]) wrong << "driver " << driver << " has " << counted << '\n';
  }
  for (std::uint32_t driver = 0; driver < root.driver_count; ++driver) {
    for (unsigned column = 0; column < kResourceTypes; ++column) {
      const auto type = static_cast<ResourceType>(column);
      const std::uint64_t counted = view.tally(driver, type).current();
      const auto live = tallies.find({driver, type});
      if (counted != (live == tallies.end() ? 0 : live->second)) {
        wrong << "the tally of driver " << driver << ", " << to_string(type) << " is " << counted
              << '\n';
      }
    }
  }
  if (needs != needed) wrong << "edges differ seen from their two ends\n";

  const std::uint32_t free = free_records(tables.entries, root.free_slots_link,
                                          root.slot_high_water, offsetof(rm_entry, pairs_link));
  if (free + entries + root.retired_slots != tables.entries.count()) {
    wrong << "slots: " << entries << " live, " << root.retired_slots << " retired, " << free
          << " free\n";
  }
  check_pool(wrong, "pairs", tables.pairs, root.pairs, pairs);
  check_pool(wrong, "shares", tables.shares, root.shares, shares);
  check_pool(wrong, "dependencies", tables.dependencies, root.dependencies, needs.size());

  const std::string text = wrong.str();
  return text.empty() ? testing::AssertionSuccess() : testing::AssertionFailure() << text;
}

}  // namespace resmgr::registry::test
