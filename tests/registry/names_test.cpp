// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include "resmgr/abi/names.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

Capacities many_slots() {
  Capacities capacities = small_capacities();
  capacities.slots = 256;
  return capacities;
}

TEST(Names, RegisteringAnInvalidOneIsRefused) {
  World world;
  for (const std::string& name :
       {std::string(), std::string(96, 'a'), std::string("a b"), std::string("a\0b", 3),
        std::string("gr\xc3\xbc\xc3\x9f"), std::string("line\n")}) {
    EXPECT_TRUE(failed_with(world.try_add(name), ErrorCode::InvalidName)) << name;
    EXPECT_TRUE(failed_with(world.view.find(name), ErrorCode::InvalidName)) << name;
  }
  EXPECT_EQ(world.view.size(), 0u);
}

TEST(Names, EveryLengthIsFoundAndToldFromItsNeighbours) {
  World world(many_slots());
  const std::string longest =
      "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
      "./-_abcdefghijklmnopqrstuvwxy0123";
  ASSERT_GE(longest.size(), kMaxNameBytes);
  std::vector<Handle> handles;
  for (std::size_t bytes = 1; bytes <= kMaxNameBytes; ++bytes) {
    handles.push_back(world.add(longest.substr(0, bytes)));
  }
  for (std::size_t bytes = 1; bytes <= kMaxNameBytes; ++bytes) {
    const std::string name = longest.substr(0, bytes);
    const auto found = world.view.find(name);
    ASSERT_TRUE(succeeded(found)) << bytes;
    EXPECT_EQ(*found, handles[bytes - 1]) << bytes;
    EXPECT_EQ(world.view.read(*found).value().name_text(), name);
    for (const std::size_t at : {std::size_t{0}, bytes / 2, bytes - 1}) {
      std::string other = name;
      other[at] = '_';
      if (other == name) continue;
      EXPECT_TRUE(failed_with(world.view.find(other), ErrorCode::NotFound)) << other;
    }
  }
}

// A name may end where memory ends: nothing behind it is read.
TEST(Names, NoByteBehindANameIsRead) {
  World world(many_slots());
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  auto memory = Mapping::map_anonymous(2 * page).value();
  char* const end = reinterpret_cast<char*>(memory.data()) + page;
  ASSERT_EQ(::mprotect(end, page, PROT_NONE), 0);
  for (std::size_t bytes = 1; bytes <= kMaxNameBytes; ++bytes) {
    char* const begin = end - bytes;
    std::memset(begin, 'n', bytes);
    const std::string_view name(begin, bytes);
    EXPECT_TRUE(failed_with(world.view.find(name), ErrorCode::NotFound));
    const Handle handle = world.add(name);
    EXPECT_EQ(world.view.find(name).value(), handle);
    EXPECT_TRUE(failed_with(world.try_add(name), ErrorCode::AlreadyExists));
  }
}

TEST(Names, ATakenNameIsRefusedUntilItIsFree) {
  World world;
  const Handle first = world.add("gpu0/frame/3");
  EXPECT_TRUE(failed_with(world.try_add("gpu0/frame/3"), ErrorCode::AlreadyExists));
  EXPECT_EQ(world.view.size(), 1u);
  world.remove(first);
  EXPECT_TRUE(failed_with(world.view.find("gpu0/frame/3"), ErrorCode::NotFound));
  const Handle second = world.add("gpu0/frame/3");
  EXPECT_NE(first, second);
  EXPECT_EQ(world.view.find("gpu0/frame/3").value(), second);
}

}  // namespace
}  // namespace resmgr::registry::test
