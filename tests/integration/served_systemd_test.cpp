// SPDX-License-Identifier: Apache-2.0
//
// The units under a real systemd: what they ask of it, it does; and what it does to the daemon for
// that breaks nothing.
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include "tests/integration/real_manager.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

constexpr std::size_t kBytes = 4096;

class ServedSystemd : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = RealManager::impossible()) GTEST_SKIP() << *why;
  }
};

// systemd takes what the daemon says when it comes to it.
bool becomes(const RealManager& machine, const char* property, const char* value) {
  return eventually([&] { return machine.property(property) == value; });
}

UniqueFd hello_file() {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  const bool written = ::ftruncate(fd.get(), kBytes) == 0 && ::pwrite(fd.get(), "hello", 6, 0) == 6;
  return written ? std::move(fd) : UniqueFd();
}

// Whether another client finds what the first one registered, and what is in its file.
int sees_the_frame(const RealManager& machine) {
  Child other([&](Child::Talk&) {
    auto theirs = machine.connect();
    if (!theirs) return 1;
    const auto driver = theirs->register_driver("consumer");
    const auto frame = theirs->find("frame");
    if (!driver || !frame) return 2;
    const auto seen = theirs->map(*frame, *driver);
    if (!seen || std::memcmp(seen->data(), "hello", 6) != 0) return 3;
    return theirs->try_acquire(theirs->find("held").value()).error() == ErrorCode::WouldBlock ? 0
                                                                                              : 4;
  });
  return other.wait();
}

// A client with a share, a file and a hold; it does what it is told by letters: 'r' wait until it
// was restored once more, 'e' wait until its domain is over, 'q' let go of what it holds, and end.
int owner(const RealManager& machine, const Child::Talk& talk) {
  std::atomic<int> restored = 0;
  std::atomic<bool> ended = false;
  auto mine = machine.connect({.on_connection = [&](ConnectionState state) {
    if (state == ConnectionState::Restored) ++restored;
    if (state == ConnectionState::Ended) ended = true;
  }});
  if (!mine) return 1;
  const auto producer = mine->register_driver("producer");
  const auto consumer = mine->register_driver("consumer");
  const auto held = mine->register_resource("held", {});
  if (!producer || !consumer || !held) return 2;
  const auto frame =
      mine->register_resource("frame", {.size_bytes = kBytes, .flags = ResourceFlags::Shareable},
                              {.driver = *producer, .fd = hello_file()});
  if (!frame) return 3;
  if (!mine->share_resource(*frame, *producer, *consumer, Rights::Read)) return 4;
  auto hold = mine->try_acquire(*held);
  if (!hold) return 5;
  talk.say('o');
  for (int awaited = 1;;) {
    switch (talk.hear()) {
      case 'r':
        if (!eventually([&] { return restored == awaited; }) || ended) return 6;
        if (!mine->register_resource("n" + std::to_string(awaited++), {})) return 7;
        break;
      case 'e':
        if (!eventually([&] { return ended.load(); })) return 8;
        break;
      case 'q':
        return hold->release() ? 0 : 9;
      default:
        return 10;
    }
    talk.say('d');
  }
}

TEST_F(ServedSystemd, IsStartedByWhoConnects) {
  const RealManager machine;
  ASSERT_EQ(machine.systemctl({"start", "resmgrd.socket"}), 0);
  EXPECT_EQ(machine.property("ActiveState"), "inactive");
  Child client([&](Child::Talk&) { return machine.connect() ? 0 : 1; });
  EXPECT_EQ(client.wait(), 0);
  EXPECT_TRUE(becomes(machine, "ActiveState", "active")) << "it is not READY";
  EXPECT_EQ(machine.property("StatusText"), "serves domain main at /run/resmgr/main.sock");
  EXPECT_TRUE(becomes(machine, "NFileDescriptorStore", "3")) << "registry, locks, ledger";
}

TEST_F(ServedSystemd, TheDomainOutlivesRestartsAndCrashes) {
  const RealManager machine;
  ASSERT_EQ(machine.systemctl({"start", "resmgrd.socket"}), 0);
  Child client([&](Child::Talk& talk) { return owner(machine, talk); });
  ASSERT_EQ(client.hear(), 'o');
  EXPECT_EQ(sees_the_frame(machine), 0);
  const auto goes_on = [&] {
    client.say('r');
    return client.hear() == 'd' && sees_the_frame(machine) == 0 &&
           becomes(machine, "NFileDescriptorStore", "4");  // and the frame's file
  };
  const pid_t before = machine.main_process();
  ASSERT_EQ(machine.systemctl({"restart", "resmgrd.service"}), 0);
  EXPECT_NE(machine.main_process(), before);
  ASSERT_TRUE(goes_on()) << "after a restart";
  // All of its processes at once.
  ASSERT_EQ(machine.systemctl({"kill", "--signal=KILL", "resmgrd.service"}), 0);
  ASSERT_TRUE(goes_on()) << "after a crash";
  EXPECT_TRUE(becomes(machine, "NRestarts", "1"));
  ASSERT_EQ(machine.systemctl({"reload", "resmgrd.service"}), 0);
  EXPECT_EQ(sees_the_frame(machine), 0) << "after a reload";
  client.say('q');
  EXPECT_EQ(client.wait(), 0);
}

TEST_F(ServedSystemd, AStopEndsTheDomain) {
  const RealManager machine;
  ASSERT_EQ(machine.systemctl({"start", "resmgrd.socket"}), 0);
  Child client([&](Child::Talk& talk) { return owner(machine, talk); });
  ASSERT_EQ(client.hear(), 'o');
  // Its client, who comes back, would start it at once otherwise, which does no harm either.
  ASSERT_EQ(machine.systemctl({"stop", "resmgrd.socket", "resmgrd.service"}), 0);
  EXPECT_TRUE(becomes(machine, "NFileDescriptorStore", "0"));
  ASSERT_EQ(machine.systemctl({"start", "resmgrd.service"}), 0);
  client.say('e');
  EXPECT_EQ(client.hear(), 'd');
  EXPECT_EQ(sees_the_frame(machine), 2) << "it is another domain";
}

// Who hangs is killed, and what it had goes on.
TEST_F(ServedSystemd, TheWatchdogBitesAKeeperThatHangs) {
  const RealManager machine({.settings = "WatchdogSec=1s\n"});
  ASSERT_EQ(machine.systemctl({"start", "resmgrd.socket"}), 0);
  Child client([&](Child::Talk& talk) { return owner(machine, talk); });
  ASSERT_EQ(client.hear(), 'o');
  ASSERT_TRUE(becomes(machine, "ActiveState", "active"));
  machine.signal(machine.main_process(), SIGSTOP);
  EXPECT_TRUE(becomes(machine, "NRestarts", "1"));
  client.say('r');
  ASSERT_EQ(client.hear(), 'd');
  EXPECT_EQ(sees_the_frame(machine), 0);
  client.say('q');
  EXPECT_EQ(client.wait(), 0);
}

bool has_io_uring() {
  io_uring_params parameters{};
  return UniqueFd(static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters))).get() >= 0;
}

bool has_a_ring(const std::string& pid) {
  for (const auto& each : std::filesystem::directory_iterator("/proc/" + pid + "/fd")) {
    if (std::filesystem::read_symlink(each.path()) == "anon_inode:[io_uring]") return true;
  }
  return false;
}

// What /proc says of both processes: what the unit asks for is done, in all of these tests. And
// what the daemon wants is not among what it closes.
TEST_F(ServedSystemd, IsConfinedAsItsUnitSays) {
  const RealManager machine({.configuration = "[log]\naudit = \"/var/log/resmgr/audit.log\"\n"});
  ASSERT_EQ(machine.systemctl({"start", "resmgrd.service"}), 0);
  const pid_t keeper = machine.main_process();
  Child look([&](Child::Talk&) {
    if (!machine.enter()) return 1;
    const std::string task = "/proc/" + std::to_string(keeper);
    std::string worker;
    std::ifstream(task + "/task/" + std::to_string(keeper) + "/children") >> worker;
    if (worker.empty()) return 2;
    for (const std::string& pid : {std::to_string(keeper), worker}) {
      std::map<std::string, std::string> status;
      std::ifstream file("/proc/" + pid + "/status");
      for (std::string name, value; file >> name && std::getline(file, value);) {
        status[name] = value.substr(value.find_first_not_of(" \t"));
      }
      if (status["NoNewPrivs:"] != "1" || status["Seccomp:"] != "2") return 3;
      for (const char* const set : {"CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"}) {
        if (status[set] != "0000000000000000") return 4;
      }
      if (status["Uid:"].starts_with("0\t")) return 5;
      const std::filesystem::path root("/proc/" + pid + "/root");
      // Of its own: read-only, and without what is in others'.
      if (std::filesystem::exists(root / "dev/kmsg") || !std::filesystem::exists(root / "dev/null"))
        return 6;
      if (!std::filesystem::is_empty(root / "home")) return 7;
    }
    if (has_io_uring() && !has_a_ring(worker)) return 8;
    const auto client = ResourceManager::connect();
    if (!client) return 9;
    std::string line;
    std::ifstream log("/var/log/resmgr/audit.log");
    while (std::getline(log, line)) {
      if (line.contains("attached")) return 0;
    }
    return 10;
  });
  EXPECT_EQ(look.wait(), 0);
}

}  // namespace
}  // namespace hal::test
