// SPDX-License-Identifier: Apache-2.0
//
// Real want of memory: processes of a control group stand still for it, the kernel says so, and a
// domain of that group whose own amounts are far from any limit tells its drivers. Who makes them
// stand still is one process that reads a file over and over of which his group may keep a third.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <hal/resource_manager.hpp>
#include <string>
#include <vector>

#include "tests/base/shared_block.hpp"
#include "tests/base/wait_until.hpp"
#include "tests/hal/child.hpp"
#include "tests/hal/control_group.hpp"

namespace hal {
namespace {

using resmgr::test::wait_until;
using test::GroupFolder;
using test::kMiB;
using test::MemoryGroup;

constexpr std::uint64_t kLimit = 16 * kMiB;
constexpr std::uint64_t kFile = 3 * kLimit;

/// What the two processes tell each other.
struct Script {
  std::atomic<bool> read{false};
  std::atomic<bool> stop{false};
};

/// Steps of the processes; the one that failed is the exit status.
enum Step : int { Done, Enter, Write, Map, Create, Watch, Early };

/// A file on a disk, without a name: what is read of it can be dropped, and has to be read again.
class DiskFile {
 public:
  DiskFile() {
    std::string path = "/var/tmp/resmgr-test-XXXXXX";
    fd_ = ::mkstemp(path.data());
    if (fd_ >= 0) ::unlink(path.c_str());
  }
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;
  ~DiskFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool is_on_a_disk() const {
    struct statfs status{};
    return fd_ >= 0 && ::fstatfs(fd_, &status) == 0 && status.f_type != TMPFS_MAGIC;
  }

 private:
  int fd_ = -1;
};

int read_over_and_over(const MemoryGroup& little, const GroupFolder& watched, const DiskFile& file,
                       Script& script) {
  if (!little.enter() || !watched.enter()) return Enter;
  const std::vector<char> piece(kMiB, 'x');
  for (std::uint64_t at = 0; at < kFile; at += piece.size()) {
    const auto written = ::pwrite(file.fd(), piece.data(), piece.size(), static_cast<off_t>(at));
    if (written != static_cast<ssize_t>(piece.size())) return Write;
  }
  if (::fsync(file.fd()) != 0) return Write;
  const void* const memory = ::mmap(nullptr, kFile, PROT_READ, MAP_SHARED, file.fd(), 0);
  if (memory == MAP_FAILED) return Map;
  const auto* const bytes = static_cast<const volatile char*>(memory);
  wait_until([&] { return script.read.load(); });
  constexpr std::uint64_t kPage = 4096;
  for (std::uint64_t at = 0; !script.stop.load(); at = (at + kPage) % kFile) {
    static_cast<void>(bytes[at]);
  }
  return Done;
}

int feel_it(const GroupFolder& watched, Script& script) {
  if (!watched.enter()) return Enter;
  auto manager = ResourceManager::create({.name = "felt"});
  if (!manager) return Create;
  std::atomic<ResourcePressure> level{ResourcePressure::Low};
  const auto callback = (*manager)->register_pressure_callback([&](const PressureChange& change) {
    if (change.type == ResourceType::Memory) level.store(change.level);
  });
  if (!callback) return Watch;
  if (level.load() != ResourcePressure::Low) return Early;
  script.read.store(true);
  wait_until([&] { return level.load() == ResourcePressure::High; });
  script.stop.store(true);
  wait_until([&] { return level.load() == ResourcePressure::Low; });
  return Done;
}

TEST(MemoryStall, IsPressureUntilItIsOver) {
  const auto little = MemoryGroup::make(kLimit);
  const auto watched = test::make_pressure_group();
  if (!little || !watched) GTEST_SKIP() << "no control groups can be made here";
  if (!little->is_of_version_1()) {
    GTEST_SKIP() << "control groups of version 2 limit the memory of whom they watch";
  }
  const DiskFile file;
  if (!file.is_on_a_disk()) GTEST_SKIP() << "/var/tmp is in memory";
  const resmgr::test::SharedBlock<Script> script;
  std::array<pid_t, 2> children{};
  children[0] = ::fork();
  if (children[0] == 0) ::_exit(read_over_and_over(*little, *watched, file, *script));
  children[1] = ::fork();
  if (children[1] == 0) ::_exit(feel_it(*watched, *script));
  ASSERT_GE(std::min(children[0], children[1]), 0);
  test::expect_done(children[1]);
  script->stop.store(true);
  script->read.store(true);
  test::expect_done(children[0]);
}

}  // namespace
}  // namespace hal
