// SPDX-License-Identifier: Apache-2.0
//
// Many takeovers in a row leave nothing behind: no descriptor and no mapping in either process of
// the daemon, in a client, or with the service manager.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "tests/integration/fake_manager.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

constexpr int kTakeovers = 20;

/// What a process has of the kernel.
struct Footprint {
  std::size_t descriptors = 0;
  std::size_t regions = 0;  ///< mappings of shared files

  friend bool operator==(const Footprint&, const Footprint&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Footprint& has) {
    return out << has.descriptors << " descriptors, " << has.regions << " mappings";
  }
};

Footprint footprint(pid_t process) {
  const std::filesystem::path folder = "/proc/" + std::to_string(process);
  Footprint has;
  std::error_code gone;
  for (auto each = std::filesystem::directory_iterator(folder / "fd", gone);
       each != std::filesystem::directory_iterator(); each.increment(gone)) {
    ++has.descriptors;
  }
  std::ifstream maps(folder / "maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.contains("/memfd:")) ++has.regions;
  }
  return has;
}

/// Sooner or later: what a daemon does about those who come and go it does in turns.
void expect_footprint(pid_t process, const Footprint& expected, const char* whose) {
  Footprint has;
  EXPECT_TRUE(eventually([&] {
    has = footprint(process);
    return has == expected;
  })) << whose
      << " has " << has << ", and had " << expected;
}

struct Watched {
  std::unique_ptr<ResourceManager> client;
  std::atomic<int> restored{0};

  ConnectOptions options() {
    return {.on_connection = [this](ConnectionState state) {
      if (state == ConnectionState::Restored) ++restored;
    }};
  }
  void register_something() {
    UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
    ASSERT_TRUE(client->register_resource("r", {.size_bytes = 4096}, {.fd = std::move(file)}));
  }
};

TEST(ServedLeak, HandingOverLeavesNothingBehind) {
  Daemon daemon;
  Watched mine;
  ConnectOptions options = mine.options();
  options.socket = daemon.socket();
  mine.client = ResourceManager::connect(std::move(options)).value();
  mine.register_something();
  Footprint keeper;
  Footprint worker;
  Footprint client;
  for (int i = 1; i <= kTakeovers; ++i) {
    ASSERT_EQ(daemon.hand_over(), 0);
    ASSERT_TRUE(eventually([&] { return mine.restored == i; }));
    ASSERT_TRUE(mine.client->register_resource("n" + std::to_string(i), {}));
    if (i != 2) continue;
    client = footprint(::getpid());
    keeper = footprint(daemon.keeper());
    worker = footprint(daemon.worker());
    EXPECT_NE(client.regions, 0u);
  }
  expect_footprint(::getpid(), client, "a client");
  expect_footprint(daemon.keeper(), keeper, "the keeper");
  expect_footprint(daemon.worker(), worker, "the worker");
}

// The worker comes and goes with it, and once more in each.
TEST(ServedLeak, RestartingLeavesNothingBehind) {
  FakeManager manager;
  manager.start();
  Watched mine;
  mine.client = manager.connect(mine.options());
  ASSERT_NE(mine.client, nullptr);
  mine.register_something();
  const auto names = [&] {
    std::vector<std::string> all;
    // Of the registry the epoch is left out.
    for (const FakeManager::Stored& each : manager.store()) {
      all.push_back(each.name.starts_with("registry.") ? "registry" : each.name);
    }
    std::ranges::sort(all);
    return all;
  };
  Footprint keeper;
  Footprint worker;
  Footprint client;
  std::vector<std::string> stored;
  for (int i = 1; i <= kTakeovers; ++i) {
    if (i % 2 == 0) {
      manager.crash();
    } else {
      ASSERT_EQ(manager.stop(), 0);
    }
    if (i == 2) stored = names();
    if (i > 2) {
      EXPECT_EQ(names(), stored);
    }
    manager.start();
    ASSERT_TRUE(manager.is_serving());
    ASSERT_TRUE(eventually([&] { return mine.restored >= 2 * i - 1; }));
    manager.kill_worker();
    ASSERT_TRUE(eventually([&] { return mine.restored == 2 * i; }));
    ASSERT_TRUE(mine.client->register_resource("n" + std::to_string(i), {}));
    if (i != 2) continue;
    client = footprint(::getpid());
    keeper = footprint(manager.keeper());
    worker = footprint(manager.worker());
  }
  EXPECT_EQ(stored.size(), 4u) << "registry, locks, ledger, and one file";
  expect_footprint(::getpid(), client, "a client");
  expect_footprint(manager.keeper(), keeper, "the keeper");
  expect_footprint(manager.worker(), worker, "the worker");
}

}  // namespace
}  // namespace hal::test
