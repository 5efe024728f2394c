// SPDX-License-Identifier: Apache-2.0
#include "tests/registry/damage.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

#include "resmgr/abi/region_header.hpp"
#include "tests/fuzz/region_damage.hpp"

namespace resmgr::registry::test {
namespace {

using resmgr::test::Fences;
using resmgr::test::Script;

template <std::size_t N>
bool is_terminated(const std::array<char, N>& text) {
  return std::ranges::find(text, '\0') != text.end();
}

void read_entry_well_formed(const EntryCopy& entry) {
  ASSERT_TRUE(is_valid_name(entry.name_text()));
  ASSERT_LT(static_cast<unsigned>(entry.type), kResourceTypes);
  ASSERT_LE(entry.priority, ResourcePriority::Critical);
  ASSERT_LE(entry.access_pattern, AccessPattern::Streaming);
  ASSERT_EQ(static_cast<std::uint32_t>(entry.flags) & ~kKnownResourceFlags, 0u);
  ASSERT_NE(to_string(entry.state), "unknown");
  ASSERT_TRUE(entry.alignment == 0 || std::has_single_bit(entry.alignment));
}

// The bytes of a populated registry, with gaps between its tables.
struct Image {
  Image() {
    const RegistryRegion& region = known.world.region;
    header = resmgr::test::with_gaps(region.header());
    bytes.resize(header.region_bytes);
    const auto copy = [&](std::uint64_t to, std::uint64_t from, std::uint64_t count) {
      std::ranges::copy(region.bytes().subspan(from, count), std::span(bytes).subspan(to).begin());
    };
    copy(0, 0, sizeof(rm_registry_region));
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      copy(header.offset[i], region.header().offset[i], shapes[i].count * shapes[i].element_bytes);
    }
    put_header(bytes, header);
    for (std::size_t i = sizeof header; i < bytes.size(); i += 4) {
      if (bytes[i] != std::byte{0}) used.push_back(i);
    }
  }

  static void put_header(std::span<std::byte> to, const rm_region_header& header) {
    std::ranges::copy(std::as_bytes(std::span(&header, 1)), to.begin());
  }
  // Numbers where there are some already, bytes anywhere.
  void damage(std::span<std::byte> copy, Script& script) const {
    const std::size_t choice = script.next();
    const std::size_t table = choice % (2 * (shapes.size() + 1));
    if (table > shapes.size()) {
      script.plant(copy, used[script.next_below(used.size())], small_capacities());
    } else if (table == shapes.size()) {
      script.scribble(copy.subspan(sizeof header, sizeof(rm_registry_region) - sizeof header));
    } else {
      script.scribble(
          copy.subspan(header.offset[table], shapes[table].count * shapes[table].element_bytes));
    }
  }

  Populated known;
  std::array<TableShape, kRegistryTables> shapes = registry_shapes(small_capacities());
  rm_region_header header{};
  std::vector<std::byte> bytes;
  std::vector<std::size_t> used;
};

std::vector<std::span<std::byte>> tables_of(const RegistryRegion& region) {
  std::vector<std::span<std::byte>> tables{region.bytes().first(sizeof(rm_registry_region))};
  const auto shapes = registry_shapes(capacities_of(region.header()));
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    tables.push_back(region.bytes().subspan(region.header().offset[i],
                                            shapes[i].count * shapes[i].element_bytes));
  }
  return tables;
}

}  // namespace

Populated::Populated() : world(small_capacities(), RM_DOMAIN_COMPACT_HANDLES) {
  const std::uint32_t owner = world.driver("owner");
  const std::uint32_t other = world.driver("other");
  const std::array<PairText, 2> pairs{{{"k1", "v1"}, {"k2", "v2"}}};
  for (int i = 0; i < 9; ++i) {
    // 4 to 84 bytes: read from a cell of the index alone, and from the entry too.
    names.push_back("r/" + std::string(static_cast<std::size_t>(2 + i * 10), 'x'));
    handles.push_back(world.add(names.back(), {.class_name = "class-" + std::to_string(i % 3),
                                               .flags = ResourceFlags::Shareable,
                                               .pairs = pairs,
                                               .owner_driver = owner}));
    EXPECT_TRUE(succeeded(world.writer.shares().share(handles.back(), owner, other, Rights::All)));
    if (i > 0) {
      EXPECT_TRUE(succeeded(world.writer.dependencies().add(
          handles[static_cast<std::size_t>(i)], handles[static_cast<std::size_t>(i) / 2])));
    }
  }
  world.remove(handles.back());
  EXPECT_TRUE(succeeded(world.writer.begin_unregister(handles[7])));
}

void read_everything(const RegistryRegion& region, const Populated& known) {
  const RegistryView view(region);
  const Tables& tables = region.tables();
  for (const std::string& name : known.names) {
    if (const auto found = view.find(name)) {
      ASSERT_LT(found->slot(), tables.entries.count());
    }
  }
  (void)view.find("not/there");
  view.for_each([&](const EntryCopy& entry) {
    read_entry_well_formed(entry);
    return true;
  });
  std::vector<Handle> handles = known.handles;
  for (std::uint32_t slot = 0; slot < tables.entries.count() + 2; ++slot) {
    handles.emplace_back(slot, view.generation(slot));
  }
  for (const Handle handle : handles) {
    (void)view.is_live(handle);
    if (const auto entry = view.read(handle)) read_entry_well_formed(*entry);
    if (const auto pairs = view.pairs(handle)) {
      ASSERT_LE(pairs->size(), RM_MAX_PAIRS);
      for (const PairCopy& pair : *pairs) {
        ASSERT_TRUE(is_terminated(pair.key));
        ASSERT_TRUE(is_terminated(pair.value));
      }
    }
    if (const auto shares = view.shares(handle)) {
      ASSERT_LE(shares->size(), tables.shares.count());
    }
    (void)view.rights(handle, 1);
    (void)view.rights(handle, 2);
    if (const auto needs = view.needs(handle)) {
      ASSERT_LE(needs->size(), tables.dependencies.count());
    }
    if (const auto needed = view.needed_by(handle)) {
      ASSERT_LE(needed->size(), tables.dependencies.count());
    }
    if (const auto order = view.teardown_order(handle)) {
      ASSERT_LE(order->size(), tables.entries.count());
    }
    if (const auto small = view.compact(handle)) {
      ASSERT_EQ(view.expand(*small).value_or(Handle()), handle);
    }
  }
  for (std::uint32_t id = 0; id < 12; ++id) {
    if (const auto name = view.classes().name(id)) {
      ASSERT_TRUE(is_terminated(*name));
    }
    if (const auto name = view.drivers().name(id)) {
      ASSERT_TRUE(is_terminated(*name));
    }
  }
  (void)view.classes().find("class-1");
  (void)view.drivers().find("other");
}

void write_everything(World& world) {
  const Recovery recovery = world.writer.recover();
  ASSERT_LE(recovery.live, world.region.tables().entries.count());
  for (const Handle handle : recovery.pending) {
    ASSERT_TRUE(succeeded(world.writer.finish_unregister(handle)));
  }
  ASSERT_TRUE(is_sound(world));
  std::vector<Handle> handles;
  world.view.for_each([&](const EntryCopy& entry) {
    handles.push_back(entry.handle);
    return true;
  });
  for (int i = 0; i < 12; ++i) {
    if (const auto handle = world.try_add("new/" + std::to_string(i))) handles.push_back(*handle);
  }
  for (const Handle a : handles) {
    (void)world.writer.shares().share(a, 1, 2, Rights::Read);
    for (const Handle b : handles) (void)world.writer.dependencies().add(a, b);
  }
  ASSERT_TRUE(is_sound(world));
  // Damaged edges may form a cycle, so they go first.
  for (const Handle a : handles) {
    for (const Handle b : handles) (void)world.writer.dependencies().remove(a, b);
  }
  // So may uses.
  for (const Handle handle : handles) {
    for (std::uint32_t driver = 1; driver < small_capacities().drivers; ++driver) {
      while (world.writer.shares().unshare(handle, driver, driver)) {
      }
    }
  }
  for (const Handle handle : handles) {
    ASSERT_TRUE(succeeded(world.writer.begin_unregister(handle)));
    ASSERT_TRUE(succeeded(world.writer.finish_unregister(handle)));
  }
  ASSERT_EQ(world.view.size(), 0u);
  ASSERT_TRUE(is_sound(world));
}

bool play_damage(std::span<const std::uint8_t> bytes) {
  static const Image good;
  Script script(bytes);
  const std::uint8_t choice = script.next();
  std::vector<std::byte> image = good.bytes;
  if (choice % 4 == 0) Image::put_header(image, resmgr::test::damaged(good.header, script));
  while (!script.over()) good.damage(image, script);

  {
    const auto region = RegistryRegion::attach(file_of(image), Mapping::Access::Read);
    if (!region) return false;
    const Fences fences(region->bytes(), tables_of(*region));
    read_everything(*region, good.known);
  }
  // Slower by far, and of less interest: nobody but an authority writes what another one finds.
  if (choice / 4 % 4 != 0) return true;
  World world(copy_of(image));
  const Fences fences(world.region.bytes(), tables_of(world.region));
  write_everything(world);
  read_everything(world.region, good.known);
  return true;
}

}  // namespace resmgr::registry::test
