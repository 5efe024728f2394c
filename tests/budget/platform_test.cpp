// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/platform.hpp"

#include <gtest/gtest.h>

#include "tests/budget/fake_kernel.hpp"

namespace resmgr::budget {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kGiB = 1 << 30;

class PlatformTest : public ::testing::Test {
 protected:
  [[nodiscard]] Platform found() const { return detect_platform(kernel_.root()); }
  // The process is in a group of version 2 whose folder is /cgroup/app.
  void unify() const {
    kernel_.say("/proc/self/cgroup", "0::/app\n");
    kernel_.say("/proc/self/mountinfo", "1 2 0:3 / /cgroup rw - cgroup2 cgroup2 rw\n");
  }
  void split() const {
    kernel_.say("/proc/self/cgroup", "2:cpu,cpuacct:/app\n1:memory:/app\n");
    kernel_.say("/proc/self/mountinfo",
                "1 2 0:3 / /cgroup/memory rw - cgroup cgroup rw,memory\n"
                "1 2 0:3 / /cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
  }

  test::FakeKernel kernel_;
};

TEST_F(PlatformTest, WhatIsNotToldIsNotThere) {
  const Platform platform = found();
  EXPECT_EQ(platform, Platform{.processors = platform.processors});
  EXPECT_EQ(platform.memory_bytes(), 0u);
}

TEST_F(PlatformTest, MemoryIsThatOfTheMachine) {
  kernel_.say("/proc/meminfo",
              "MemTotal:        8388608 kB\nMemFree:     1024 kB\nMemAvailable:    4194304 kB\n");
  EXPECT_EQ(found().physical_bytes, 8 * kGiB);
  EXPECT_EQ(found().available_bytes, 4 * kGiB);
  EXPECT_EQ(found().memory_bytes(), 8 * kGiB);
  EXPECT_FALSE(found().cgroup);
}

TEST_F(PlatformTest, OrWhatTheControlGroupLeavesOfIt) {
  kernel_.say("/proc/meminfo", "MemTotal: 8388608 kB\n");
  unify();
  EXPECT_EQ(found().cgroup, CgroupVersion::Two);
  EXPECT_EQ(found().memory_bytes(), 8 * kGiB) << "no limit";
  kernel_.say("/cgroup/app/memory.max", "67108864\n");
  EXPECT_EQ(found().cgroup_bytes, 64 * kMiB);
  EXPECT_EQ(found().memory_bytes(), 64 * kMiB);
  kernel_.say("/cgroup/app/memory.max", "1099511627776\n");
  EXPECT_EQ(found().memory_bytes(), 8 * kGiB) << "more than there is";
  split();
  EXPECT_EQ(found().cgroup, CgroupVersion::One);
}

TEST_F(PlatformTest, ProcessorsAreThoseThatItMayUse) {
  EXPECT_GE(found().processors, 1u);
  EXPECT_EQ(found().usable_processors(), found().processors);
}

TEST_F(PlatformTest, ProcessorsAreBoughtInParts) {
  Platform platform{.processors = 8};
  EXPECT_EQ(platform.usable_processors(), 8u);
  platform.processor_quota = 2500;
  EXPECT_EQ(platform.usable_processors(), 3u);
  platform.processor_quota = 1;
  EXPECT_EQ(platform.usable_processors(), 1u);
  platform.processor_quota = 64'000;
  EXPECT_EQ(platform.usable_processors(), 8u);
  EXPECT_EQ(Platform{}.usable_processors(), 1u);
}

TEST_F(PlatformTest, QuotasOfVersionTwo) {
  unify();
  EXPECT_EQ(found().processor_quota, 0u);
  kernel_.say("/cgroup/app/cpu.max", "max 100000\n");
  EXPECT_EQ(found().processor_quota, 0u);
  kernel_.say("/cgroup/app/cpu.max", "250000 100000\n");
  EXPECT_EQ(found().processor_quota, 2500u);
  kernel_.say("/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(found().processor_quota, 500u) << "the tightest on the way";
  kernel_.say("/cgroup/cpu.max", "50000 0\n");
  EXPECT_EQ(found().processor_quota, 2500u) << "no sense";
  kernel_.say("/cgroup/app/cpu.max", "1000 1000000\n");
  EXPECT_EQ(found().processor_quota, 1u);
}

TEST_F(PlatformTest, QuotasOfVersionOne) {
  split();
  kernel_.say("/cgroup/cpu/app/cpu.cfs_quota_us", "-1\n");
  kernel_.say("/cgroup/cpu/app/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(found().processor_quota, 0u);
  kernel_.say("/cgroup/cpu/app/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(found().processor_quota, 1500u);
}

TEST_F(PlatformTest, NodesThatHaveMemory) {
  const std::string nodes = "/sys/devices/system/node";
  kernel_.say(nodes + "/node1/meminfo",
              "\nNode 1 MemTotal:       2048 kB\nNode 1 MemFree:         1024 kB\n");
  kernel_.say(nodes + "/node0/meminfo",
              "Node 0 MemTotal:       4096 kB\nNode 0 MemFree:         2048 kB\n");
  kernel_.say(nodes + "/node2/meminfo", "Node 2 MemTotal: 0 kB\n");
  kernel_.say(nodes + "/node10/meminfo", "Node 10 MemTotal: 4 kB\n");
  kernel_.make(nodes + "/node3");
  kernel_.make(nodes + "/node4x");
  kernel_.say(nodes + "/online", "0-3\n");
  EXPECT_EQ(found().nodes, (std::vector<NumaNode>{
                               {0, 4 * kMiB, 2 * kMiB}, {1, 2 * kMiB, 1 * kMiB}, {10, 4096, 0}}));
}

TEST_F(PlatformTest, HugePagesOfEachSize) {
  const std::string sizes = "/sys/kernel/mm/hugepages";
  kernel_.say(sizes + "/hugepages-1048576kB/nr_hugepages", "1\n");
  kernel_.say(sizes + "/hugepages-2048kB/nr_hugepages", "16\n");
  kernel_.say(sizes + "/hugepages-2048kB/free_hugepages", "7\n");
  kernel_.make(sizes + "/hugepages-kB");
  kernel_.make(sizes + "/kB");
  EXPECT_EQ(found().huge_pages, (std::vector<HugePages>{{2 * kMiB, 16, 7}, {kGiB, 1, 0}}));
}

TEST_F(PlatformTest, PagesThatAreJoinedByThemselves) {
  const std::string file = "/sys/kernel/mm/transparent_hugepage/enabled";
  EXPECT_EQ(found().transparent, TransparentHugePages::Absent);
  kernel_.say(file, "always madvise [never]\n");
  EXPECT_EQ(found().transparent, TransparentHugePages::Never);
  kernel_.say(file, "always [madvise] never\n");
  EXPECT_EQ(found().transparent, TransparentHugePages::Advised);
  kernel_.say(file, "[always] madvise never\n");
  EXPECT_EQ(found().transparent, TransparentHugePages::Always);
}

TEST_F(PlatformTest, Stalls) {
  EXPECT_FALSE(found().tells_stalls);
  kernel_.say("/proc/pressure/memory", "");
  EXPECT_TRUE(found().tells_stalls);
}

// Of the machine that the test runs on, what every machine has.
TEST(PlatformHere, HasMemoryAndProcessors) {
  const Platform platform = detect_platform();
  EXPECT_GT(platform.physical_bytes, kMiB);
  EXPECT_LE(platform.available_bytes, platform.physical_bytes);
  EXPECT_GT(platform.memory_bytes(), 0u);
  EXPECT_GE(platform.usable_processors(), 1u);
  std::uint64_t of_nodes = 0;
  for (const NumaNode& node : platform.nodes) {
    EXPECT_LE(node.free_bytes, node.bytes);
    of_nodes += node.bytes;
  }
  // Not that they add up to all memory: it may be plugged in, or shown, at different times.
  EXPECT_EQ(of_nodes == 0, platform.nodes.empty());
}

}  // namespace
}  // namespace resmgr::budget
