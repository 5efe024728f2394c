// SPDX-License-Identifier: Apache-2.0
//
// A takeover that is cut short: one of the two daemons is killed at each step of their talk.
//
// How: the test stands between them, at the door, and passes their packets on, one after the other.
// When it has the next one in its hands, both have done all that the ones before made them do, and
// go no further.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "resmgr/base/packet_socket.hpp"
#include "resmgr/daemon/handover.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;
using resmgr::PacketListener;
using resmgr::PacketMode;
using resmgr::PacketSocket;

/// Between the daemon that serves and the one that asks for its domain.
class Between {
 public:
  /// Takes the door's place. REQUIRES: nobody asks yet.
  explicit Between(const std::string& socket) {
    const std::string door = resmgr::daemon::door_path(socket);
    std::filesystem::rename(door, door + ".real");
    listener_ = PacketListener::listen(door, 0600, PacketMode::Blocking).value();
    real_ = door + ".real";
  }

  /// The next one asks.
  void meet() {
    next_ = listener_.accept(PacketMode::Blocking).value();
    old_ = PacketSocket::connect(real_, PacketMode::Blocking).value();
  }
  /// Waits for the next packet, from whichever side. False: one of them hung up instead.
  [[nodiscard]] bool take() {
    std::array<pollfd, 2> waits{pollfd{next_.fd(), POLLIN, 0}, pollfd{old_.fd(), POLLIN, 0}};
    while (::poll(waits.data(), waits.size(), -1) < 0 && errno == EINTR) {
    }
    from_next_ = waits[0].revents != 0;
    auto packet = (from_next_ ? next_ : old_).receive(bytes_, resmgr::kMaxPacketFds);
    if (!packet) return false;
    packet_ = std::move(*packet);
    return true;
  }
  /// Passes it on.
  void give() {
    std::array<int, resmgr::kMaxPacketFds> fds{};
    for (std::size_t i = 0; i < packet_.fd_count; ++i) fds[i] = packet_.fds[i].get();
    EXPECT_TRUE(
        (from_next_ ? old_ : next_)
            .send(std::span(bytes_).first(packet_.bytes), std::span(fds).first(packet_.fd_count)));
    packet_ = {};
  }
  [[nodiscard]] bool is_from_next() const noexcept { return from_next_; }
  void hang_up() {
    packet_ = {};
    next_ = {};
    old_ = {};
  }

 private:
  PacketListener listener_;
  std::string real_;
  PacketSocket next_;
  PacketSocket old_;
  std::array<std::byte, 256> bytes_{};
  PacketSocket::Received packet_{};
  bool from_next_ = false;
};

/// A daemon with a client that holds something, and one that is about to take over.
class Scene {
 public:
  Scene() {
    auto connected = ResourceManager::connect(
        {.socket = daemon.socket(), .on_connection = [this](ConnectionState state) {
           if (state == ConnectionState::Ended) ended = true;
         }});
    client = std::move(*connected);
    UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(file.get(), 4096), 0);
    handle = client->register_resource("r", {.size_bytes = 4096}, {.fd = std::move(file)}).value();
    hold = client->try_acquire(handle).value();
    old = daemon.keeper();
    between.emplace(daemon.socket());
    next = daemon.begin_takeover();
    between->meet();
  }

  /// Passes so many packets on, and keeps the next one; false if there are not so many.
  [[nodiscard]] bool stops_after(int packets) {
    for (; packets > 0 && between->take(); --packets) between->give();
    return packets == 0 && between->take();
  }
  /// Whether one daemon serves the domain, in which the client goes on.
  [[nodiscard]] testing::AssertionResult goes_on() {
    const auto made = client->register_resource("after", {});
    if (!made) return testing::AssertionFailure() << "register: " << made.error().message();
    Child other([&](Child::Talk&) {
      const auto theirs = daemon.connect();
      if (!theirs || theirs->find("r").value_or(Handle()) != handle) return 1;
      if (theirs->find("after").value_or(Handle()) != *made) return 2;
      return theirs->try_acquire(handle).error() == ErrorCode::WouldBlock ? 0 : 3;
    });
    if (const int status = other.wait(); status != 0) {
      return testing::AssertionFailure() << "another client fails with " << status;
    }
    if (!hold.release()) return testing::AssertionFailure() << "the hold was lost";
    Child after([&](Child::Talk&) {
      const auto theirs = daemon.connect();
      const auto got = theirs->acquire_scoped_resource(handle);
      return got && !got->inconsistent() ? 0 : 1;
    });
    if (after.wait() != 0) return testing::AssertionFailure() << "nobody else gets it";
    if (ended) return testing::AssertionFailure() << "its domain is over";
    return testing::AssertionSuccess();
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> client;
  std::atomic<bool> ended{false};
  Handle handle;
  ScopedResource hold;
  pid_t old = 0;
  pid_t next = 0;
  std::optional<Between> between;
};

// Ask; registry, locks, ledger, listener, door, file; end of the parts; taken; farewell.
constexpr int kTheDomain = 6;
constexpr int kTaken = 8;
constexpr int kAll = 10;

TEST(ServedCutoff, TheTalkIsAsLongAsTheseTestsThink) {
  Scene scene;
  int packets = 0;
  while (scene.between->take()) {
    EXPECT_EQ(scene.between->is_from_next(), packets == 0 || packets == kTaken);
    scene.between->give();
    ++packets;
  }
  scene.between->hang_up();
  EXPECT_EQ(packets, kAll);
  EXPECT_EQ(scene.daemon.end_takeover(scene.next), 0);
  EXPECT_TRUE(scene.goes_on());
}

TEST(ServedCutoff, TheOldOneGoesOnWhereTheNextIsKilledBefore) {
  for (int passed = 0; passed <= kTaken; ++passed) {
    SCOPED_TRACE("after " + std::to_string(passed) + " packets");
    Scene scene;
    ASSERT_TRUE(scene.stops_after(passed));
    scene.daemon.kill_keeper(scene.next);
    EXPECT_EQ(scene.daemon.end_of(scene.next), -SIGKILL);
    scene.between->hang_up();
    EXPECT_TRUE(scene.goes_on());
    EXPECT_EQ(scene.daemon.keeper(), scene.old);
    EXPECT_EQ(scene.daemon.stop(), 0);
  }
}

TEST(ServedCutoff, TheNextOneServesWhereTheOldIsKilledAfter) {
  // With the farewell in the test's hands the old one has ended.
  for (int passed = kTheDomain; passed <= kTaken; ++passed) {
    SCOPED_TRACE("after " + std::to_string(passed) + " packets");
    Scene scene;
    ASSERT_TRUE(scene.stops_after(passed));
    scene.daemon.kill_keeper(scene.old);
    scene.between->hang_up();
    EXPECT_EQ(scene.daemon.end_takeover(scene.next), -SIGKILL);
    EXPECT_TRUE(scene.goes_on());
    EXPECT_EQ(scene.daemon.stop(), 0);
  }
}

// As if nobody had asked: where nothing is kept, a domain ends with its daemon.
TEST(ServedCutoff, TheNextOneGivesUpWhereTheOldIsKilledBefore) {
  for (int passed = 0; passed < kTheDomain; ++passed) {
    SCOPED_TRACE("after " + std::to_string(passed) + " packets");
    Scene scene;
    ASSERT_TRUE(scene.stops_after(passed));
    scene.daemon.kill_keeper(scene.old);
    scene.between->hang_up();
    EXPECT_EQ(scene.daemon.end_of(scene.next), 1);
    scene.daemon.start_anew();
    EXPECT_TRUE(eventually([&] { return scene.ended.load(); }));
    EXPECT_EQ(scene.client->try_acquire(scene.handle).error(), ErrorCode::Disconnected);
  }
}

// Or it would be lost with a daemon that is killed before it says that it took over.
TEST(ServedCutoff, NobodyIsServedBeforeTheOldOneKnows) {
  Scene scene;
  ASSERT_TRUE(scene.stops_after(kTaken));
  EXPECT_TRUE(scene.between->is_from_next());
  Child hasty([&](Child::Talk& talk) {
    talk.say('c');
    const auto theirs = scene.daemon.connect();
    talk.say('s');
    return theirs ? 0 : 1;
  });
  ASSERT_EQ(hasty.hear(), 'c');
  // It waits as long as the old one does not know. (The time is for one who would not: who waits is
  // never heard.)
  pollfd said{hasty.in(), POLLIN, 0};
  EXPECT_EQ(::poll(&said, 1, 200), 0);
  scene.between->give();
  ASSERT_TRUE(scene.between->take());
  scene.between->give();
  EXPECT_EQ(hasty.hear(), 's');
  EXPECT_EQ(hasty.wait(), 0);
  scene.between->hang_up();
  EXPECT_EQ(scene.daemon.end_takeover(scene.next), 0);
  EXPECT_TRUE(scene.goes_on());
}

}  // namespace
}  // namespace hal::test
