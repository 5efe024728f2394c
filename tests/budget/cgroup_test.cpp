// SPDX-License-Identifier: Apache-2.0
//
// Control groups of both versions, as files tell of them.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "resmgr/budget/cgroup_memory.hpp"
#include "tests/base/support.hpp"
#include "tests/budget/fake_kernel.hpp"

namespace resmgr::budget {
namespace {

using resmgr::test::code_of;

constexpr std::uint64_t kMiB = 1 << 20;

std::string number(std::uint64_t value) { return std::to_string(value) + "\n"; }

class Cgroup : public ::testing::Test {
 protected:
  // The process is in `path` of a version 2 that is mounted with `mount_root` as its outermost.
  void unify(const std::string& path, const std::string& mount_root = "/") {
    kernel_.say("/proc/self/cgroup", "0::" + path + "\n");
    kernel_.say(
        "/proc/self/mountinfo",
        "22 1 0:20 / /proc rw - proc proc rw\n"
        "30 23 0:26 " +
            mount_root +
            " /sys/fs/cgroup rw,nosuid shared:4 master:7 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  // The same in version 1.
  void split(const std::string& path, const std::string& mount_root = "/") {
    kernel_.say("/proc/self/cgroup",
                "5:cpu,cpuacct:/\n4:memory:" + path + "\n1:name=systemd:/x\n0::/elsewhere\n");
    kernel_.say("/proc/self/mountinfo",
                "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
                "32 30 0:28 " +
                    mount_root +
                    " /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
                    "33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  }
  void say(const std::string& path, std::string_view text) const {
    kernel_.say("/sys/fs/cgroup" + path, text);
  }
  [[nodiscard]] CgroupMemoryState memory() const {
    const auto memory = CgroupMemory::find(kernel_.root());
    EXPECT_TRUE(memory) << memory.error().message();
    return memory ? memory->read() : CgroupMemoryState{};
  }
  [[nodiscard]] std::vector<std::string> folders(std::string_view controller) const {
    std::vector<std::string> found;
    const auto folder = CgroupFolder::find(controller, kernel_.root());
    EXPECT_TRUE(folder) << folder.error().message();
    if (!folder) return found;
    folder->each([&](const std::string& path) {
      EXPECT_TRUE(path.starts_with(kernel_.root())) << path;
      found.push_back(path.substr(kernel_.root().size()));
    });
    return found;
  }
  [[nodiscard]] ErrorCode code(std::string_view controller) const {
    return code_of(CgroupFolder::find(controller, kernel_.root()));
  }

  test::FakeKernel kernel_;
};

using Paths = std::vector<std::string>;

TEST_F(Cgroup, FoldersGoFromTheGroupOutwards) {
  unify("/a/b");
  EXPECT_EQ(folders("memory"), (Paths{"/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"}));
  unify("/");
  EXPECT_EQ(folders("memory"), (Paths{"/sys/fs/cgroup"}));
}

TEST_F(Cgroup, AControllerOfVersionOneIsFoundThere) {
  split("/a");
  EXPECT_EQ(folders("memory"), (Paths{"/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"}));
  EXPECT_EQ(folders("cpu"), (Paths{"/sys/fs/cgroup/cpu"}));
  EXPECT_EQ(folders(""), (Paths{"/sys/fs/cgroup/unified/elsewhere", "/sys/fs/cgroup/unified"}));
  EXPECT_EQ(folders("io"), folders("")) << "version 2 has what version 1 has not";
}

// A container sees its own group at the mount's point, under its full name or under none.
TEST_F(Cgroup, AMountMayShowAPart) {
  split("/docker/17/app", "/docker/17");
  EXPECT_EQ(folders("memory"), (Paths{"/sys/fs/cgroup/memory/app", "/sys/fs/cgroup/memory"}));
  split("/docker/17", "/docker/17");
  EXPECT_EQ(folders("memory"), (Paths{"/sys/fs/cgroup/memory"}));
  split("/docker/170", "/docker/17");
  EXPECT_EQ(code("memory"), ErrorCode::NotFound);
}

TEST_F(Cgroup, NamespacesHideWhatIsAround) {
  unify("/", "/..");
  EXPECT_EQ(folders("memory"), (Paths{"/sys/fs/cgroup"})) << "some group around this one";
  unify("/a", "/../..");
  EXPECT_EQ(folders("memory"), (Paths{"/sys/fs/cgroup"}));
  unify("/../other");
  EXPECT_EQ(code("memory"), ErrorCode::NotFound) << "this process is outside";
}

TEST_F(Cgroup, NamesAreWrittenWithEscapes) {
  kernel_.say("/proc/self/cgroup", "0::/a\n");
  kernel_.say("/proc/self/mountinfo",
              "30 23 0:26 / /sys/fs/my\\040groups rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(folders("memory"), (Paths{"/sys/fs/my groups/a", "/sys/fs/my groups"}));
}

TEST_F(Cgroup, ThereMayBeNone) {
  EXPECT_EQ(code("memory"), ErrorCode::NotFound) << "no /proc";
  kernel_.say("/proc/self/cgroup", "0::/\n");
  EXPECT_EQ(code("memory"), ErrorCode::NotFound) << "nothing is mounted";
  kernel_.say("/proc/self/cgroup", "2:cpu:/\n");
  EXPECT_EQ(code("memory"), ErrorCode::NotFound) << "version 1 without this controller";
  kernel_.say("/proc/self/cgroup", "\n::\nx");
  kernel_.say("/proc/self/mountinfo", "\n - \n- cgroup2\n1 2 3 / /x\n");
  EXPECT_EQ(code("memory"), ErrorCode::NotFound) << "garbage";
  EXPECT_EQ(code_of(CgroupMemory::find(kernel_.root())), ErrorCode::NotFound);
}

TEST_F(Cgroup, TheTightestLimitOnTheWayCounts) {
  unify("/a/b");
  say("/a/b/memory.max", "max\n");
  say("/a/b/memory.current", number(30 * kMiB));
  say("/a/memory.max", number(100 * kMiB));
  say("/a/memory.current", number(90 * kMiB));
  say("/memory.current", number(500 * kMiB));
  const auto state = memory();
  EXPECT_EQ(state.limit, 100 * kMiB);
  EXPECT_EQ(state.used, 30 * kMiB);
  EXPECT_EQ(state.fullest, (Fill{90 * kMiB, 100 * kMiB}));
}

TEST_F(Cgroup, TheFullestNeedNotBeTheTightest) {
  unify("/a/b");
  say("/a/b/memory.max", number(50 * kMiB));
  say("/a/b/memory.current", number(10 * kMiB));
  say("/a/memory.max", number(100 * kMiB));
  say("/a/memory.current", number(99 * kMiB));
  const auto state = memory();
  EXPECT_EQ(state.limit, 50 * kMiB);
  EXPECT_EQ(state.fullest, (Fill{99 * kMiB, 100 * kMiB}));
}

TEST_F(Cgroup, HighIsALimitToo) {
  unify("/a");
  say("/a/memory.max", number(100 * kMiB));
  say("/a/memory.high", number(80 * kMiB));
  EXPECT_EQ(memory().limit, 80 * kMiB);
  say("/a/memory.high", "max\n");
  EXPECT_EQ(memory().limit, 100 * kMiB);
}

TEST_F(Cgroup, WhatTheKernelWouldDropFirstIsNotUsed) {
  unify("/a");
  say("/a/memory.max", number(100 * kMiB));
  say("/a/memory.current", number(90 * kMiB));
  say("/a/memory.stat", "anon 5\ninactive_file " + number(70 * kMiB) + "active_file 7\n");
  EXPECT_EQ(memory().fullest, (Fill{20 * kMiB, 100 * kMiB}));
  say("/a/memory.stat", "inactive_file " + number(91 * kMiB));
  EXPECT_EQ(memory().used, 0u) << "counted at another moment";
}

TEST_F(Cgroup, WhatCantBeReadIsNoLimit) {
  unify("/a");
  EXPECT_EQ(memory().limit, kUnlimited);
  kernel_.make("/sys/fs/cgroup/a/memory.max");
  say("/a/memory.current", "many\n");
  const auto state = memory();
  EXPECT_EQ(state.limit, kUnlimited);
  EXPECT_EQ(state.used, 0u);
  EXPECT_EQ(state.fullest, Fill{});
}

TEST_F(Cgroup, ALimitOfNothingIsALimit) {
  unify("/a");
  say("/a/memory.max", "0\n");
  say("/a/memory.current", "4096\n");
  EXPECT_EQ(memory().limit, 0u);
  EXPECT_TRUE(memory().fullest.reaches(100));
}

TEST_F(Cgroup, VersionOneHasOtherNames) {
  split("/a");
  say("/memory/a/memory.limit_in_bytes", number(64 * kMiB));
  say("/memory/a/memory.usage_in_bytes", number(40 * kMiB));
  say("/memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file " + number(8 * kMiB) +
                                   "hierarchical_memory_limit " + number(64 * kMiB));
  say("/memory/memory.limit_in_bytes", "9223372036854771712\n");
  say("/memory/memory.usage_in_bytes", number(4000 * kMiB));
  const auto state = memory();
  EXPECT_EQ(state.limit, 64 * kMiB);
  EXPECT_EQ(state.fullest, (Fill{32 * kMiB, 64 * kMiB}));
}

// Around a container there may be tighter ones than it can see.
TEST_F(Cgroup, VersionOneTellsOfLimitsThatAreHidden) {
  split("/docker/17", "/docker/17");
  say("/memory/memory.limit_in_bytes", "9223372036854771712\n");
  say("/memory/memory.usage_in_bytes", number(10 * kMiB));
  say("/memory/memory.stat", "hierarchical_memory_limit " + number(16 * kMiB));
  EXPECT_EQ(memory().limit, 16 * kMiB);
  EXPECT_EQ(memory().fullest, (Fill{10 * kMiB, 16 * kMiB}));
}

TEST(Fill, IsComparedByItsShare) {
  EXPECT_TRUE((Fill{9, 10}.is_fuller_than(Fill{800, 1000})));
  EXPECT_FALSE((Fill{8, 10}.is_fuller_than(Fill{800, 1000})));
  EXPECT_TRUE((Fill{0, 10}.is_fuller_than(Fill{5})));
  EXPECT_FALSE((Fill{5}.is_fuller_than(Fill{0, 10})));
  EXPECT_TRUE((Fill{1, 0}.is_fuller_than(Fill{9, 10})));
  EXPECT_FALSE((Fill{0, 0}.reaches(1)));
  EXPECT_TRUE((Fill{1, 0}.reaches(100)));
  EXPECT_FALSE((Fill{}.is_fuller_than(Fill{})));
}

}  // namespace
}  // namespace resmgr::budget
