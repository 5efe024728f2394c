// SPDX-License-Identifier: Apache-2.0
//
// What is asked of the kernel, and what its answers mean. Files stand for the kernel's own.
#include "resmgr/budget/pressure_stall.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "resmgr/budget/kernel_text.hpp"
#include "tests/base/support.hpp"
#include "tests/budget/fake_kernel.hpp"

namespace resmgr::budget {
namespace {

using namespace std::chrono_literals;
using resmgr::test::code_of;

class Stall : public ::testing::Test {
 protected:
  void SetUp() override { kernel_.say("/proc/pressure/memory", ""); }
  [[nodiscard]] std::string file() const { return kernel_.root() + "/proc/pressure/memory"; }

  test::FakeKernel kernel_;
};

TEST_F(Stall, AsksForWhatWasWanted) {
  auto stall = PressureStall::watch(file());
  ASSERT_TRUE(stall) << stall.error().message();
  EXPECT_EQ(read_text(file()), std::string("some 150000 1000000\0", 20));
  EXPECT_EQ(stall->trigger(), StallTrigger{});
  EXPECT_GE(stall->fd(), 0);
  const StallTrigger all{.kind = StallKind::Full, .stall = 1ms, .window = 10s};
  ASSERT_TRUE(PressureStall::watch(file(), all));
  EXPECT_EQ(read_text(file()).substr(0, 18), std::string("full 1000 10000000", 18));
}

TEST_F(Stall, NothingHappenedYet) {
  auto stall = PressureStall::watch(file());
  ASSERT_TRUE(stall);
  const auto happened = stall->has_stalled();
  ASSERT_TRUE(happened) << happened.error().message();
  EXPECT_FALSE(*happened);
}

TEST_F(Stall, TriggersHaveTheirRanges) {
  const auto code = [&](std::chrono::microseconds stall, std::chrono::microseconds window) {
    return code_of(PressureStall::watch(file(), {.stall = stall, .window = window}));
  };
  EXPECT_EQ(code(1us, 500ms), ErrorCode{});
  EXPECT_EQ(code(1us, 499ms), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(1us, 10s + 1us), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(0us, 1s), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(-1us, 1s), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(1s, 1s), ErrorCode{});
  EXPECT_EQ(code(1s + 1us, 1s), ErrorCode::InvalidArgument);
}

TEST_F(Stall, AKernelWithoutIsUnsupported) {
  EXPECT_EQ(code_of(PressureStall::watch(kernel_.root() + "/missing")), ErrorCode::Unsupported);
}

TEST_F(Stall, LeavesNoDescriptorBehind) {
  const auto before = resmgr::test::open_fds();
  for (int i = 0; i < 10; ++i) {
    (void)PressureStall::watch(file());
    (void)PressureStall::watch(kernel_.root() + "/missing");
  }
  EXPECT_EQ(resmgr::test::open_fds(), before);
}

TEST_F(Stall, IsWatchedInTheGroupOrElseOnTheMachine) {
  EXPECT_EQ(stall_file(kernel_.root()), file());
  kernel_.say("/proc/self/cgroup", "4:memory:/x\n0::/app\n");
  kernel_.say("/proc/self/mountinfo", "1 2 0:3 / /cgroup rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(stall_file(kernel_.root()), file()) << "the group tells nothing";
  kernel_.say("/cgroup/app/memory.pressure", "");
  EXPECT_EQ(stall_file(kernel_.root()), kernel_.root() + "/cgroup/app/memory.pressure");
}

}  // namespace
}  // namespace resmgr::budget
