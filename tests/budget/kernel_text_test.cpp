// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/kernel_text.hpp"

#include <gtest/gtest.h>

#include "tests/budget/fake_kernel.hpp"

namespace resmgr::budget {
namespace {

TEST(KernelText, ReadsAWholeFile) {
  const test::FakeKernel kernel;
  const std::string long_text(10'000, 'x');
  kernel.say("/long", long_text);
  EXPECT_EQ(read_text(kernel.root() + "/long"), long_text);
  EXPECT_EQ(read_text(kernel.root() + "/missing"), "");
  EXPECT_EQ(read_text(kernel.root()), "") << "a folder";
}

TEST(KernelText, FindsNumbers) {
  EXPECT_EQ(leading_number("12\n"), 12u);
  EXPECT_EQ(leading_number("\t 12 kB"), 12u);
  EXPECT_EQ(leading_number("18446744073709551615"), 18446744073709551615u);
  for (const char* none : {"", " ", "max", "-1", "18446744073709551616"}) {
    EXPECT_FALSE(leading_number(none)) << none;
  }
}

TEST(KernelText, FindsNumbersByTheirKeys) {
  constexpr std::string_view kText = "total_file 1\nfile 2\nNode 0 MemTotal:   3 kB\nlast\n";
  EXPECT_EQ(number_of(kText, "file"), 2u);
  EXPECT_EQ(number_of(kText, "MemTotal:"), 3u);
  EXPECT_FALSE(number_of(kText, "MemFree:"));
  EXPECT_FALSE(number_of(kText, "last"));
  EXPECT_FALSE(number_of("", "file"));
}

TEST(KernelText, TakesParts) {
  std::string_view text = "a::b";
  EXPECT_EQ(take_part(text, ':'), "a");
  EXPECT_EQ(take_part(text, ':'), "");
  EXPECT_EQ(take_part(text, ':'), "b");
  EXPECT_EQ(take_part(text, ':'), "");
  EXPECT_TRUE(has_part("rw,memory", ',', "memory"));
  EXPECT_FALSE(has_part("rw,memory", ',', "mem"));
  EXPECT_FALSE(has_part("", ',', ""));
}

}  // namespace
}  // namespace resmgr::budget
