// SPDX-License-Identifier: Apache-2.0
//
// What a client of another, unprivileged user can do to others, which is: coordinate badly with
// them. No descriptor, no registry entry, no crash; and nobody hangs past his deadline.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "resmgr/abi/layout.h"
#include "resmgr/abi/replies.hpp"
#include "resmgr/abi/requests.hpp"
#include "tests/base/seed.hpp"
#include "tests/integration/hostile_client.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;
namespace wire = resmgr::wire;

/// Nothing here takes longer unless it hangs.
constexpr unsigned kPatienceSeconds = 20;
constexpr auto kOnslaught = 1s;

UniqueFd memory(std::size_t bytes) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  return fd;
}

constexpr const char* kConfigForEverybody = R"(
[domain]
slots = 64
[[attach]]
users = ["root", 65534]
allow = true
)";

class ServedHostileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user";
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
    worker = daemon.worker();
  }
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(daemon.worker(), worker) << "the worker did not live through it";
    EXPECT_EQ(daemon.stop(), 0);
  }

  const TemporaryFile config{kConfigForEverybody};
  Daemon daemon{{"--config", config.path()}};
  std::unique_ptr<ResourceManager> manager;
  pid_t worker = 0;
};

// ---- files --------------------------------------------------------------------------------------

bool can_map(int fd, int protection) {
  void* const at = ::mmap(nullptr, 4096, protection, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return false;
  ::munmap(at, 4096);
  return true;
}

bool can_become_writable(int fd) {
  void* const at = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return false;
  const bool writable =
      ::mprotect(at, 4096, PROT_READ | PROT_WRITE) == 0 || ::madvise(at, 4096, MADV_REMOVE) == 0;
  ::munmap(at, 4096);
  return writable;
}

bool can_change(int fd) {
  return can_map(fd, PROT_READ | PROT_WRITE) || can_map(fd, PROT_WRITE) ||
         can_become_writable(fd) || ::pwrite(fd, "x", 1, 0) >= 0 ||
         ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
}

bool can_resize(int fd, std::size_t bytes) {
  return ::ftruncate(fd, 0) == 0 || ::ftruncate(fd, static_cast<off_t>(2 * bytes)) == 0;
}

// Its files, its memory, or itself.
bool can_reach_into(pid_t process) {
  const std::string folder = "/proc/" + std::to_string(process);
  if (DIR* const files = ::opendir((folder + "/fd").c_str())) {
    ::closedir(files);
    return true;
  }
  if (UniqueFd(::open((folder + "/mem").c_str(), O_RDWR | O_CLOEXEC))) return true;
  for (int fd = 0; fd < 32; ++fd) {
    const std::string file = folder + "/fd/" + std::to_string(fd);
    if (UniqueFd(::open(file.c_str(), O_RDWR | O_CLOEXEC))) return true;
  }
  return ::ptrace(PTRACE_SEIZE, process, nullptr, nullptr) == 0 || ::kill(process, 0) == 0;
}

TEST_F(ServedHostileTest, TheRegistryCantBeWritten) {
  const Handle handle = manager->register_resource("r", {}).value();
  Child child([&](Child::Talk&) {
    if (!become_nobody()) return 100;
    const auto client = HostileClient::attach(daemon.socket());
    if (!client) return 101;
    if (!can_map(client->registry(), PROT_READ)) return 102;
    if (can_change(client->registry())) return 1;
    if (can_resize(client->registry(), client->registry_bytes())) return 2;
    const std::string path = "/proc/self/fd/" + std::to_string(client->registry());
    for (const int how : {O_RDWR, O_WRONLY, O_RDWR | O_TRUNC}) {
      const UniqueFd again(::open(path.c_str(), how | O_CLOEXEC));
      if (again && can_change(again.get())) return 3;
      if (again && can_resize(again.get(), client->registry_bytes())) return 4;
    }
    if (::fcntl(client->registry(), F_ADD_SEALS, F_SEAL_WRITE) == 0) return 5;
    if ((::fcntl(client->registry(), F_GET_SEALS) & F_SEAL_SEAL) == 0) return 6;
    // Everybody has the lock region mapped: what was cut off would be their SIGBUS.
    if (can_resize(client->locks(), 1)) return 7;
    if (can_reach_into(daemon.keeper())) return 8;
    if (can_reach_into(worker)) return 9;
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(manager->find("r").value(), handle);
}

TEST_F(ServedHostileTest, DescriptorsAreForThoseWithRights) {
  const DriverId owner = manager->register_driver("owner").value();
  const Handle secret =
      manager
          ->register_resource("secret", {.size_bytes = 4096, .flags = ResourceFlags::Shareable},
                              {.driver = owner, .fd = memory(4096)})
          .value();
  Child child([&](Child::Talk&) {
    if (!become_nobody()) return 100;
    auto mine = daemon.connect();
    if (!mine) return 101;
    // By its owner's name too.
    for (const char* name : {"owner", "another"}) {
      const DriverId driver = mine->register_driver(name).value();
      if (mine->fd(secret, driver)) return 1;
      if (mine->map(secret, driver)) return 2;
      if (mine->share_resource(secret, owner, driver, Rights::Read)) return 3;
      if (mine->share_resource(secret, driver, driver, Rights::All)) return 4;
    }
    if (mine->fd(secret) || mine->map(secret)) return 5;
    // Nor by having taken it for itself.
    auto hold = mine->try_acquire(secret);
    if (mine->unregister_resource(secret)) return 6;
    if (mine->fd(secret)) return 7;
    auto client = HostileClient::attach(daemon.socket());
    if (!client) return 102;
    std::array<std::byte, 512> bytes{};
    for (const Rights rights : {Rights::Read, Rights::Write, Rights::Read | Rights::Write}) {
      const auto size =
          wire::encode(wire::OpenFdRequest{.handle = secret, .rights = rights}, 2, bytes).value();
      if (!client->socket().send(std::span(bytes).first(size))) return 103;
      const auto answer = client->socket().receive(bytes);
      if (!answer || answer->fd_count != 0) return 8;
    }
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(manager->fd(secret, owner));
}

// ---- the lock region ----------------------------------------------------------------------------

// Whatever comes of it, it comes in time: who hangs is killed by the alarm.
template <typename Call>
void in_time(Call&& call) {
  ::alarm(kPatienceSeconds);
  call();
  ::alarm(0);
}

// One who does everything that clients do, and lets go of all of it.
int be_honest(const Daemon& daemon, std::uint64_t seed, const std::vector<Handle>& handles,
              Child::Talk& talk) {
  std::mt19937_64 random(seed);
  auto manager = daemon.connect();
  if (!manager) return 101;
  talk.say('h');
  if (talk.hear() != 'g') return 102;
  const std::string own = "own/" + std::to_string(seed);
  const auto end = std::chrono::steady_clock::now() + kOnslaught;
  while (std::chrono::steady_clock::now() < end) {
    const Handle handle = handles[random() % handles.size()];
    const HoldKind kind = random() % 3 == 0 ? HoldKind::Shared : HoldKind::Exclusive;
    const auto timeout = std::chrono::microseconds(random() % 5000);
    in_time([&] {
      switch (random() % 6) {
        case 0: {
          auto made = manager->register_resource(
              own, {.size_bytes = 4096, .flags = ResourceFlags::Shareable}, {.fd = memory(4096)});
          if (made) (void)manager->map(*made);
          break;
        }
        case 1:
          if (const auto found = manager->find(own)) {
            (void)manager->unregister_resource(*found, timeout);
          }
          break;
        case 2:
          if (const auto driver = manager->register_driver("other")) {
            if (const auto found = manager->find(own)) {
              (void)manager->share_resource(*found, {}, *driver, Rights::Read);
            }
          }
          break;
        case 3:
          (void)manager->get_resource_stats(handle);
          (void)manager->holds();
          break;
        case 4: {
          auto bundle =
              manager->acquire_all(handles, {.mode = AcquisitionMode::Timeout, .timeout = timeout});
          break;
        }
        default: {
          auto hold = manager->acquire_scoped_resource(
              handle, {.mode = AcquisitionMode::Timeout, .kind = kind, .timeout = timeout});
          if (hold) (void)hold->release();
        }
      }
    });
  }
  in_time([&] { manager.reset(); });
  return 0;
}

// Several short lives: in a domain that was damaged long enough nothing is done any more.
class ServedGarbageTest : public ServedHostileTest, public ::testing::WithParamInterface<int> {};

INSTANTIATE_TEST_SUITE_P(Domains, ServedGarbageTest, ::testing::Range(0, 4));

TEST_P(ServedGarbageTest, InTheLockRegionCrashesAndStopsNobody) {
  std::mt19937_64 random(resmgr::test::seed());
  std::vector<Handle> handles;
  for (int i = 0; i < 4; ++i) {
    handles.push_back(manager->register_resource("r/" + std::to_string(i), {}).value());
  }
  const auto honest = [&](std::uint64_t seed) {
    return std::make_unique<Child>(
        [&, seed](Child::Talk& talk) { return be_honest(daemon, seed, handles, talk); });
  };
  std::array honest_ones{honest(random()), honest(random())};
  for (const auto& child : honest_ones) ASSERT_EQ(child->hear(), 'h');
  // Somebody to be buried in the damaged domain.
  Child mortal([&](Child::Talk& talk) {
    auto theirs = daemon.connect();
    if (!theirs || !theirs->register_resource("mortal", {})) return 1;
    auto hold = theirs->try_acquire(handles.at(0));
    talk.say('h');
    return static_cast<int>(talk.hear());
  });
  ASSERT_EQ(mortal.hear(), 'h');
  const std::uint64_t seed = random();
  Child hostile([&, seed](Child::Talk& talk) {
    if (!become_nobody()) return 100;
    auto mine = daemon.connect();
    const auto client = HostileClient::attach(daemon.socket());
    if (!mine || !client || !mine->register_resource("hostile", {})) return 101;
    std::mt19937_64 garbage(seed);
    talk.say('h');
    for (;;) client->scribble(garbage);
  });
  ASSERT_EQ(hostile.hear(), 'h');
  for (const auto& child : honest_ones) child->say('g');
  for (const auto& child : honest_ones) EXPECT_EQ(child->wait(), 0) << "-14: it hung";

  const auto is_orphaned = [&](const char* name) {
    const auto info = manager->info(manager->find(name).value());
    return info && info->state == Lifecycle::Orphaned;
  };
  EXPECT_EQ(daemon.worker(), worker);
  mortal.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return is_orphaned("mortal"); }));
  hostile.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return is_orphaned("hostile"); }));
  const auto made = manager->register_resource("after", {});
  EXPECT_TRUE(made) << made.error().message();
}

// ---- the socket ---------------------------------------------------------------------------------

// Frames, good and bad, with and without descriptors. Starts anew when it is thrown out.
void talk_nonsense(const Daemon& daemon, std::mt19937_64& random) {
  auto client = HostileClient::attach(daemon.socket());
  for (int i = 0; client && i < 64; ++i) {
    std::array<UniqueFd, 3> files{memory(1), memory(4096), UniqueFd(::open("/dev/null", O_RDWR))};
    const std::array fds{files[0].get(), files[1].get(), files[2].get(), files[0].get()};
    const std::size_t count = random() % 4 == 0 ? random() % (fds.size() + 1) : 0;
    const std::vector<std::byte> frame = any_frame(random);
    if (!client->socket().send(frame, std::span(fds).first(count))) return;
  }
}

// More descriptors than any packet may have, and a packet of nothing.
void send_too_much(const Daemon& daemon) {
  auto client = HostileClient::attach(daemon.socket());
  if (!client) return;
  std::array<int, 64> fds{};
  fds.fill(client->registry());
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(fds))> control{};
  std::vector<char> bytes(RM_WIRE_MAX_FRAME);
  iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(fds));
  std::memcpy(CMSG_DATA(header), fds.data(), sizeof(fds));
  (void)::sendmsg(client->socket().fd(), &message, MSG_NOSIGNAL);
  auto other = HostileClient::attach(daemon.socket());
  if (other) (void)::send(other->socket().fd(), "", 0, MSG_NOSIGNAL);
}

// Requests whose answers nobody takes, until the daemon takes no more.
[[nodiscard]] std::optional<HostileClient> flood(const Daemon& daemon) {
  auto client = HostileClient::attach(daemon.socket());
  if (!client) return client;
  std::array<std::byte, 64> bytes{};
  const auto size = wire::encode(wire::SignalRequest{}, 1, bytes).value();
  while (::send(client->socket().fd(), bytes.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  return client;
}

TEST_F(ServedHostileTest, NonsenseFloodsAndSilenceStopNobodysRequests) {
  const std::uint64_t seed = resmgr::test::seed();
  Child hostile([&, seed](Child::Talk& talk) {
    if (!become_nobody()) return 100;
    std::mt19937_64 random(seed);
    std::vector<resmgr::PacketSocket> silent;
    std::vector<std::optional<HostileClient>> floods;
    for (int i = 0; i < 8; ++i) floods.push_back(flood(daemon));
    // As many as are let in, and more.
    for (int i = 0; i < 200; ++i) {
      auto socket = resmgr::PacketSocket::connect(daemon.socket(), resmgr::PacketMode::NonBlocking);
      if (socket && silent.size() < 40) silent.push_back(std::move(*socket));
    }
    talk.say('h');
    for (;;) {
      talk_nonsense(daemon, random);
      send_too_much(daemon);
      for (int i = 0; i < 20; ++i) {
        (void)resmgr::PacketSocket::connect(daemon.socket(), resmgr::PacketMode::NonBlocking);
      }
    }
  });
  ASSERT_EQ(hostile.hear(), 'h');
  const auto end = std::chrono::steady_clock::now() + kOnslaught;
  int served = 0;
  while (std::chrono::steady_clock::now() < end) {
    const auto made =
        manager->register_resource("mine", {.size_bytes = 4096}, {.fd = memory(4096)});
    ASSERT_TRUE(made) << made.error().message();
    const auto gone = manager->unregister_resource(*made);
    ASSERT_TRUE(gone) << gone.error().message();
    ++served;
    if (served % 64 == 0) {
      // Newcomers of other users are let in too.
      ASSERT_NE(daemon.connect(), nullptr);
    }
  }
  std::cout << served << " registrations beside it\n";
  hostile.signal(SIGKILL);
}

}  // namespace
}  // namespace hal::test
