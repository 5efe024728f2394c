// SPDX-License-Identifier: Apache-2.0
//
// Files behind resources that their owner makes smaller while others use them.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

constexpr std::size_t kBytes = std::size_t{4} * 4096;
const ResourceMetadata kShareable{.size_bytes = kBytes, .flags = ResourceFlags::Shareable};
constexpr const char* kForeign = "of-its-owner";

/// Which can shrink, as nobody sealed it.
UniqueFd foreign_memory() {
  UniqueFd fd(::memfd_create(kForeign, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), kBytes), 0);
  return fd;
}

bool maps_foreign_memory(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/maps");
  const std::string maps{std::istreambuf_iterator<char>(file), {}};
  return maps.find(kForeign) != std::string::npos;
}

class ServedMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
    owner = manager->register_driver("owner").value();
  }
  /// A resource that the other process's driver may use.
  Handle share(RegisterOptions options) {
    options.driver = owner;
    const Handle handle = manager->register_resource("r", kShareable, std::move(options)).value();
    const DriverId other = manager->register_driver("other").value();
    EXPECT_TRUE(manager->share_resource(handle, owner, other, Rights::All));
    return handle;
  }
  /// The other process: maps it, says so, and touches all of it when it is told to. It ends with 0,
  /// or of SIGBUS; 2: it can't be mapped.
  [[nodiscard]] std::unique_ptr<Child> another(Handle handle) const {
    return std::make_unique<Child>([this, handle](Child::Talk& talk) {
      const auto theirs = daemon.connect();
      if (!theirs) return 1;
      const auto seen = theirs->map(handle, theirs->register_driver("other").value());
      if (!seen) return seen.error() == ErrorCode::Unsupported ? 2 : 3;
      talk.say('m');
      if (talk.hear() != 'g') return 4;
      const bool all =
          std::ranges::all_of(*seen, [](std::byte each) { return each == std::byte{}; });
      return all ? 0 : 5;
    });
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> manager;
  DriverId owner;
};

TEST_F(ServedMemoryTest, WhatTheLibraryMadeCanNotBeCutOff) {
  const Handle handle = share({.backing = Backing::memfd()});
  const auto other = another(handle);
  ASSERT_EQ(other->hear(), 'm');
  const auto file = manager->fd(handle, owner);
  ASSERT_TRUE(file);
  EXPECT_EQ(::ftruncate(file->get(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  other->say('g');
  EXPECT_EQ(other->wait(), 0);
}

// Which the manual says.
TEST_F(ServedMemoryTest, WhatItsOwnerDidNotSealIsAtHisMercy) {
  UniqueFd file = foreign_memory();
  const UniqueFd mine = file.duplicate().value();
  const Handle handle = share({.fd = std::move(file)});
  const auto other = another(handle);
  ASSERT_EQ(other->hear(), 'm');
  ASSERT_EQ(::ftruncate(mine.get(), kBytes / 2), 0);
  other->say('g');
  EXPECT_EQ(other->wait(), -SIGBUS);
  const auto late = another(handle);
  const char said = late->hear();
  EXPECT_EQ(said, '\0') << "who comes now is told";
  if (said == 'm') late->say('g');
  EXPECT_EQ(late->wait(), 2);
}

TEST_F(ServedMemoryTest, TheDaemonNeverMapsIt) {
  UniqueFd file = foreign_memory();
  const UniqueFd mine = file.duplicate().value();
  const Handle handle = share({.fd = std::move(file)});
  ASSERT_TRUE(manager->map(handle, owner));
  const auto other = another(handle);
  ASSERT_EQ(other->hear(), 'm');
  EXPECT_TRUE(maps_foreign_memory(::getpid()));
  EXPECT_TRUE(maps_foreign_memory(other->pid()));
  EXPECT_FALSE(maps_foreign_memory(daemon.keeper()));
  EXPECT_FALSE(maps_foreign_memory(daemon.worker()));
  const pid_t worker = daemon.worker();
  ASSERT_EQ(::ftruncate(mine.get(), 0), 0);
  EXPECT_TRUE(manager->unregister_resource(handle));
  EXPECT_EQ(daemon.worker(), worker);
}

}  // namespace
}  // namespace hal::test
