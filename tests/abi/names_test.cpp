// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/names.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace resmgr {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-";

TEST(Names, EachByteIsInTheAlphabetOrNot) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string name = {'a', static_cast<char>(byte), 'b'};
    EXPECT_EQ(is_valid_name(name), kAlphabet.find(static_cast<char>(byte)) != kAlphabet.npos)
        << byte;
  }
}

TEST(Names, LengthsAreBounded) {
  EXPECT_FALSE(is_valid_name(""));
  EXPECT_TRUE(is_valid_name(std::string(95, 'a')));
  EXPECT_FALSE(is_valid_name(std::string(96, 'a')));
  EXPECT_FALSE(is_valid_tag(""));
  EXPECT_TRUE(is_valid_tag(std::string(31, 'a')));
  EXPECT_FALSE(is_valid_tag(std::string(32, 'a')));
}

}  // namespace
}  // namespace resmgr
