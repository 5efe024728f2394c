// SPDX-License-Identifier: Apache-2.0
//
// A resmgrd that runs, and another one that takes its domain over.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "resmgr/abi/layout.h"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/daemon/handover.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using resmgr::PacketMode;
using resmgr::PacketSocket;

/// What the next keeper says first.
struct Ask {
  std::uint64_t magic = 0x31304f444e41484d;
  std::uint32_t kind = 0;
  std::uint32_t talk_version = 1;
  std::uint32_t layout_major = RM_LAYOUT_MAJOR;
  std::uint32_t layout_minor = RM_LAYOUT_MINOR;
  std::uint64_t handle = 0;
};
constexpr std::uint32_t kRefused = 1;
constexpr std::uint32_t kLastPart = 8;

class ServedHandoverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto connected = ResourceManager::connect(
        {.socket = daemon.socket(), .on_connection = [this](ConnectionState state) {
           if (state == ConnectionState::Restored) ++restored;
           if (state == ConnectionState::Ended) ended = true;
         }});
    ASSERT_TRUE(connected);
    client = std::move(*connected);
    handle = client->register_resource("r", {}).value();
  }

  // What the keeper answers last to one who asks so.
  [[nodiscard]] std::uint32_t answer_to(const Ask& ask, PacketSocket& socket) const {
    auto connected =
        PacketSocket::connect(resmgr::daemon::door_path(daemon.socket()), PacketMode::Blocking);
    if (!connected) return ~0u;
    socket = std::move(*connected);
    EXPECT_TRUE(socket.send(std::as_bytes(std::span(&ask, 1))));
    Ask answer;
    do {
      if (!socket.receive(std::as_writable_bytes(std::span(&answer, 1)))) return ~0u;
    } while (answer.kind != kRefused && answer.kind != kLastPart);
    return answer.kind;
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> client;
  std::atomic<int> restored{0};
  std::atomic<bool> ended{false};
  Handle handle;
};

TEST_F(ServedHandoverTest, TheDomainGoesOnWithTheNextDaemon) {
  UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  ASSERT_EQ(::pwrite(file.get(), "hello", 6, 0), 6);
  const DriverId mine = client->register_driver("producer").value();
  const DriverId theirs = client->register_driver("consumer").value();
  const Handle frame =
      client
          ->register_resource("frame", {.size_bytes = 4096, .flags = ResourceFlags::Shareable},
                              {.driver = mine, .fd = std::move(file)})
          .value();
  ASSERT_TRUE(client->share_resource(frame, mine, theirs, Rights::Read));
  auto hold = client->try_acquire(handle);
  ASSERT_TRUE(hold);
  for (int i = 1; i <= 3; ++i) {
    const pid_t before = daemon.keeper();
    EXPECT_EQ(daemon.hand_over(), 0);
    EXPECT_NE(daemon.keeper(), before);
    EXPECT_TRUE(eventually([&] { return restored == i; }));
    EXPECT_TRUE(client->register_resource("n" + std::to_string(i), {}));
    Child other([&](Child::Talk&) {
      auto manager = daemon.connect();
      const DriverId driver = manager->register_driver("consumer").value();
      const auto seen = manager->map(manager->find("frame").value(), driver);
      if (!seen || std::memcmp(seen->data(), "hello", 6) != 0) return 1;
      return manager->try_acquire(handle).error() == ErrorCode::WouldBlock ? 0 : 2;
    });
    EXPECT_EQ(other.wait(), 0);
  }
  hold = {};
  EXPECT_TRUE(client->unregister_resource(handle));
  EXPECT_FALSE(ended);
}

TEST_F(ServedHandoverTest, AnotherVersionIsRefusedAndNothingHappens) {
  const pid_t worker = daemon.worker();
  PacketSocket socket;
  EXPECT_EQ(answer_to({.layout_major = RM_LAYOUT_MAJOR + 1}, socket), kRefused);
  EXPECT_EQ(answer_to({.talk_version = 2}, socket), kRefused);
  EXPECT_EQ(daemon.worker(), worker);
  EXPECT_TRUE(client->register_resource("after", {}));
  EXPECT_EQ(restored, 0);
}

TEST_F(ServedHandoverTest, WhoAsksAndIsGoneChangesNothing) {
  for (int i = 0; i < 3; ++i) {
    PacketSocket socket;
    EXPECT_EQ(answer_to({}, socket), kLastPart);
    socket = {};
    EXPECT_TRUE(client->register_resource("after" + std::to_string(i), {}));
  }
  EXPECT_EQ(client->find("r").value(), handle);
  EXPECT_FALSE(ended);
  EXPECT_EQ(daemon.hand_over(), 0);
  EXPECT_TRUE(client->register_resource("in the end/not", {}).error() == ErrorCode::InvalidName);
  EXPECT_TRUE(client->register_resource("at_last", {}));
}

TEST_F(ServedHandoverTest, NobodyElseGetsIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user";
  Child child([&](Child::Talk&) {
    if (!become_nobody()) return 1;
    const auto socket =
        PacketSocket::connect(resmgr::daemon::door_path(daemon.socket()), PacketMode::Blocking);
    return !socket && socket.error() == ErrorCode::NotPermitted ? 0 : 2;
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace hal::test
