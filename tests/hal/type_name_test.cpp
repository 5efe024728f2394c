// SPDX-License-Identifier: Apache-2.0
//
// Constants, so that each compiler that builds this proves that it agrees with the others.
#include <hal/type_name.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <gtest/gtest.h>

#include <hal/resource_manager.hpp>

#include "tests/hal/support.hpp"

namespace acme {

struct Frame {
  struct Plane {
    int stride = 0;
  };
  int width = 640;
};
class Sensor {};
union Word {
  int number;
};
enum class Mode { Off };
enum Plain { kOne };
using Picture = Frame;
template <std::size_t kSlots>
struct Ring {
  std::array<int, kSlots> slots{};
};

}  // namespace acme

template <>
// NOLINTNEXTLINE(readability-identifier-naming): the trait that it is one of
inline constexpr std::string_view hal::type_name<acme::Ring<64>> = "acme.ring64/2";

namespace hal {
namespace {

static_assert(type_name<acme::Frame> == "acme::Frame");
static_assert(type_name<acme::Picture> == "acme::Frame");
static_assert(type_name<acme::Frame::Plane> == "acme::Frame::Plane");
static_assert(type_name<acme::Sensor> == "acme::Sensor");
static_assert(type_name<acme::Word> == "acme::Word");
static_assert(type_name<acme::Mode> == "acme::Mode");
static_assert(type_name<acme::Plain> == "acme::Plain");
static_assert(type_name<acme::Ring<64>> == "acme.ring64/2");
static_assert(type_name<bool> == "bool");
static_assert(type_name<int> == "signed-integer-4");
static_assert(type_name<unsigned long> == "unsigned-integer-8");
static_assert(type_name<unsigned long long> == "unsigned-integer-8");
static_assert(type_name<short> == "signed-integer-2");
static_assert(type_name<unsigned char> == "unsigned-integer-1");
static_assert(type_name<double> == "float-8");
static_assert(type_name<long double> == "float-16");

// FNV-1a of the names; in registries that outlive the program they stay.
static_assert(type_tag<acme::Frame>() == 0x9a13dcf58eb9da14u);
static_assert(type_tag<acme::Ring<64>>() == 0x98a51f8db062f99eu);
static_assert(type_tag<std::uint64_t>() == 0x8a6b38036d993914u);

using TypeNameTest = test::ManagerTest;

TEST_F(TypeNameTest, ResourcesAreOpenedByItsRule) {
  ASSERT_TRUE(manager_->acquire_resource<acme::Frame>("frame"));
  EXPECT_TRUE(manager_->acquire_resource<acme::Picture>("frame"));
  EXPECT_EQ(test::code_of(manager_->acquire_resource<acme::Sensor>("frame")),
            ErrorCode::InvalidArgument);
  ASSERT_TRUE(manager_->acquire_resource<unsigned long>("count"));
  EXPECT_TRUE(manager_->acquire_resource<unsigned long long>("count"));
  EXPECT_EQ(test::code_of(manager_->acquire_resource<long>("count")), ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace hal
