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
#include <system_error>
#include <utility>

#include "resmgr/base/packet_socket.hpp"
#include "resmgr/daemon/handover.hpp"
#include "tests/integration/fake_manager.hpp"
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
  /// Takes the door's place, as long as it lives. REQUIRES: nobody asks yet.
  explicit Between(const std::string& socket) : socket_(socket) {
    const std::string door = resmgr::daemon::door_path(socket);
    std::filesystem::rename(door, door + ".real");
    listener_ = PacketListener::listen(door, 0600, PacketMode::Blocking).value();
    real_ = door + ".real";
  }

  ~Between() {
    std::error_code ignored;
    std::filesystem::rename(real_, resmgr::daemon::door_path(socket_), ignored);
  }
  Between(const Between&) = delete;
  Between& operator=(const Between&) = delete;

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
  /// Passes so many packets on, and keeps the next one; false if there are not so many.
  [[nodiscard]] bool stops_after(int packets) {
    for (; packets > 0 && take(); --packets) give();
    return packets == 0 && take();
  }
  [[nodiscard]] bool is_from_next() const noexcept { return from_next_; }
  void hang_up() {
    packet_ = {};
    next_ = {};
    old_ = {};
  }

 private:
  std::string socket_;
  PacketListener listener_;
  std::string real_;
  PacketSocket next_;
  PacketSocket old_;
  std::array<std::byte, 256> bytes_{};
  PacketSocket::Received packet_{};
  bool from_next_ = false;
};

/// A client that holds something, and has a file behind it.
class Guest {
 public:
  explicit Guest(std::string socket) : socket_(std::move(socket)) {
    auto connected = ResourceManager::connect(
        {.socket = socket_, .on_connection = [this](ConnectionState state) {
           if (state == ConnectionState::Ended) ended = true;
         }});
    client = std::move(*connected);
    UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(file.get(), 4096), 0);
    handle = client->register_resource("r", {.size_bytes = 4096}, {.fd = std::move(file)}).value();
    hold = client->try_acquire(handle).value();
  }

  /// Whether one daemon serves the domain, in which the client goes on.
  [[nodiscard]] testing::AssertionResult goes_on() {
    const auto made = client->register_resource("after", {});
    if (!made) return testing::AssertionFailure() << "register: " << made.error().message();
    Child other([&](Child::Talk&) {
      const auto theirs = ResourceManager::connect({.socket = socket_});
      if (!theirs || (*theirs)->find("r").value_or(Handle()) != handle) return 1;
      if ((*theirs)->find("after").value_or(Handle()) != *made) return 2;
      return (*theirs)->try_acquire(handle).error() == ErrorCode::WouldBlock ? 0 : 3;
    });
    if (const int status = other.wait(); status != 0) {
      return testing::AssertionFailure() << "another client fails with " << status;
    }
    if (!hold.release()) return testing::AssertionFailure() << "the hold was lost";
    Child after([&](Child::Talk&) {
      const auto theirs = ResourceManager::connect({.socket = socket_});
      const auto got = (*theirs)->acquire_scoped_resource(handle);
      return got && !got->inconsistent() ? 0 : 1;
    });
    if (after.wait() != 0) return testing::AssertionFailure() << "nobody else gets it";
    if (ended) return testing::AssertionFailure() << "its domain is over";
    return testing::AssertionSuccess();
  }

  std::unique_ptr<ResourceManager> client;
  std::atomic<bool> ended{false};
  Handle handle;
  ScopedResource hold;

 private:
  std::string socket_;
};

/// One that is about to take over, where nobody keeps anything.
struct Scene {
  Scene() { between.meet(); }

  Daemon daemon;
  Guest guest{daemon.socket()};
  Between between{daemon.socket()};
  pid_t old = daemon.keeper();
  pid_t next = daemon.begin_takeover();
};

// Ask; registry, locks, ledger, listener, door, file; end of the parts; taken; farewell.
constexpr int kTheDomain = 6;
constexpr int kTaken = 8;
constexpr int kAll = 10;

TEST(ServedCutoff, TheTalkIsAsLongAsTheseTestsThink) {
  Scene scene;
  int packets = 0;
  while (scene.between.take()) {
    EXPECT_EQ(scene.between.is_from_next(), packets == 0 || packets == kTaken);
    scene.between.give();
    ++packets;
  }
  scene.between.hang_up();
  EXPECT_EQ(packets, kAll);
  EXPECT_EQ(scene.daemon.end_takeover(scene.next), 0);
  EXPECT_TRUE(scene.guest.goes_on());
}

TEST(ServedCutoff, TheOldOneGoesOnWhereTheNextIsKilledBefore) {
  for (int passed = 0; passed <= kTaken; ++passed) {
    SCOPED_TRACE("after " + std::to_string(passed) + " packets");
    Scene scene;
    ASSERT_TRUE(scene.between.stops_after(passed));
    scene.daemon.kill_keeper(scene.next);
    EXPECT_EQ(scene.daemon.end_of(scene.next), -SIGKILL);
    scene.between.hang_up();
    EXPECT_TRUE(scene.guest.goes_on());
    EXPECT_EQ(scene.daemon.keeper(), scene.old);
    EXPECT_EQ(scene.daemon.stop(), 0);
  }
}

TEST(ServedCutoff, TheNextOneServesWhereTheOldIsKilledAfter) {
  // With the farewell in the test's hands the old one has ended.
  for (int passed = kTheDomain; passed <= kTaken; ++passed) {
    SCOPED_TRACE("after " + std::to_string(passed) + " packets");
    Scene scene;
    ASSERT_TRUE(scene.between.stops_after(passed));
    scene.daemon.kill_keeper(scene.old);
    scene.between.hang_up();
    EXPECT_EQ(scene.daemon.end_takeover(scene.next), -SIGKILL);
    EXPECT_TRUE(scene.guest.goes_on());
    EXPECT_EQ(scene.daemon.stop(), 0);
  }
}

// As if nobody had asked: where nothing is kept, a domain ends with its daemon.
TEST(ServedCutoff, TheNextOneGivesUpWhereTheOldIsKilledBefore) {
  for (int passed = 0; passed < kTheDomain; ++passed) {
    SCOPED_TRACE("after " + std::to_string(passed) + " packets");
    Scene scene;
    ASSERT_TRUE(scene.between.stops_after(passed));
    scene.daemon.kill_keeper(scene.old);
    scene.between.hang_up();
    EXPECT_EQ(scene.daemon.end_of(scene.next), 1);
    scene.daemon.start_anew();
    EXPECT_TRUE(eventually([&] { return scene.guest.ended.load(); }));
    EXPECT_EQ(scene.guest.client->try_acquire(scene.guest.handle).error(), ErrorCode::Disconnected);
  }
}

// Whoever waits or asks is told that it is over, and nobody waits for ever.
TEST(ServedCutoff, TheDomainEndsWhereTheNextOneIsKilledThatHasIt) {
  for (const bool has_served : {false, true}) {
    SCOPED_TRACE(has_served ? "after it served" : "before it is told");
    Scene scene;
    Child waiter([&](Child::Talk& talk) {
      const auto theirs = scene.daemon.connect();
      talk.say('w');
      const auto got = theirs->acquire_scoped_resource(scene.guest.handle);
      return !got && got.error() == ErrorCode::Disconnected ? 0 : 1;
    });
    Child asks([&](Child::Talk& talk) {
      auto theirs =
          ResourceManager::connect({.socket = scene.daemon.socket(), .patience = 200ms}).value();
      talk.say('c');
      if (talk.hear() != 'g') return 1;
      const auto made = theirs->register_resource("asked", {});
      return !made && made.error() == ErrorCode::Disconnected ? 0 : 2;
    });
    ASSERT_EQ(waiter.hear(), 'w');
    ASSERT_EQ(asks.hear(), 'c');
    ASSERT_TRUE(eventually([&] {
      return scene.guest.client->get_resource_stats(scene.guest.handle).value().waiting == 1;
    }));
    ASSERT_TRUE(scene.between.stops_after(kTaken + 1));
    if (has_served) {
      scene.between.give();
      ASSERT_TRUE(scene.guest.client->register_resource("served", {}));
    }
    scene.daemon.kill_keeper(scene.next);
    scene.between.hang_up();
    EXPECT_EQ(scene.daemon.lose_takeover(scene.next), 0) << "the old one has given it away";
    // What needs no daemon goes on, as always when there is none.
    EXPECT_TRUE(scene.guest.client->find("r"));
    asks.say('g');
    EXPECT_EQ(asks.wait(), 0);
    scene.daemon.start_anew();
    EXPECT_TRUE(eventually([&] { return scene.guest.ended.load(); }));
    EXPECT_EQ(waiter.wait(), 0);
    EXPECT_EQ(scene.guest.client->register_resource("after", {}).error(), ErrorCode::Disconnected);
    EXPECT_EQ(scene.guest.client->try_acquire(scene.guest.handle).error(), ErrorCode::Disconnected);
    EXPECT_EQ(scene.daemon.stop(), 0);
  }
}

// ---- where a service manager keeps the next one's domain ---------------------------------------

/// One that is about to take over, and stores what it gets.
struct KeptScene {
  KeptScene() {
    manager.start_alone();
    guest.emplace(manager.socket());
  }
  /// The next one asks, with somebody between.
  void begin_takeover() {
    between.emplace(manager.socket());
    old = manager.begin_takeover(FakeManager::Next::Kept);
    between->meet();
  }
  /// Both processes of the next one are killed.
  void kill_next() {
    manager.crash();
    between.reset();
  }

  FakeManager manager;
  std::optional<Guest> guest;
  std::optional<Between> between;
  pid_t old = 0;
};

TEST(ServedCutoff, AThirdOneGoesOnWhereTheNextIsKilledThatHasIt) {
  for (const bool has_served : {false, true}) {
    SCOPED_TRACE(has_served ? "after it served" : "before it is told");
    KeptScene scene;
    scene.begin_takeover();
    ASSERT_TRUE(scene.between->stops_after(kTaken + 1));
    if (has_served) {
      scene.between->give();
      ASSERT_TRUE(scene.guest->client->register_resource("served", {}));
    }
    scene.kill_next();
    EXPECT_EQ(Daemon::end_of(scene.old), 0) << "the old one has given it away";
    scene.manager.start();
    EXPECT_TRUE(scene.guest->goes_on());
    EXPECT_EQ(scene.guest->client->find("served").has_value(), has_served);
    EXPECT_EQ(scene.manager.stop(), 0);
  }
}

// What one stored that never had the domain is not what the next one leaves.
TEST(ServedCutoff, WhatWasStoredInVainIsForgotten) {
  KeptScene scene;
  scene.begin_takeover();
  ASSERT_TRUE(scene.between->stops_after(kTaken));
  const pid_t old = scene.old;
  scene.kill_next();
  // The old one goes on, and much is changed.
  ASSERT_TRUE(scene.guest->client->register_resource("meanwhile", {}));
  scene.manager.go_back_to(old);
  EXPECT_EQ(scene.manager.take_over(FakeManager::Next::Kept), 0);
  scene.manager.crash();
  scene.manager.start();
  EXPECT_TRUE(scene.guest->goes_on());
  EXPECT_TRUE(scene.guest->client->find("meanwhile"));
}

// Nor what anybody begins with, once the one who had it is gone.
TEST(ServedCutoff, WhatWasStoredInVainIsNotTheDomain) {
  KeptScene scene;
  scene.begin_takeover();
  ASSERT_TRUE(scene.between->stops_after(kTaken));
  const pid_t old = scene.old;
  scene.kill_next();
  ASSERT_TRUE(scene.guest->client->register_resource("meanwhile", {}));
  EXPECT_NE(scene.manager.stored("registry."), nullptr) << "nothing was left";
  scene.manager.go_back_to(old);
  scene.manager.crash();
  scene.manager.start();
  EXPECT_TRUE(eventually([&] { return scene.guest->ended.load(); }));
  EXPECT_EQ(scene.guest->client->try_acquire(scene.guest->handle).error(), ErrorCode::Disconnected);
  auto anew = scene.manager.connect();
  ASSERT_NE(anew, nullptr);
  EXPECT_EQ(anew->find("r").error(), ErrorCode::NotFound);
  EXPECT_TRUE(anew->register_resource("r", {}));
  // And what that one stores is kept.
  scene.manager.crash();
  scene.manager.start();
  EXPECT_TRUE(anew->find("r"));
  EXPECT_TRUE(anew->register_resource("after", {}));
}

// As long as he has not gone on, it is all that there is.
TEST(ServedCutoff, WhatWasStoredIsTheDomainWhereBothAreKilled) {
  KeptScene scene;
  scene.begin_takeover();
  ASSERT_TRUE(scene.between->stops_after(kTaken));
  // The old one, whose worker has ended, still waits for the test.
  scene.manager.crash();
  Daemon::kill_keeper(scene.old);
  EXPECT_EQ(Daemon::end_of(scene.old), -SIGKILL);
  scene.between.reset();
  scene.manager.start();
  EXPECT_TRUE(scene.guest->goes_on());
  EXPECT_EQ(scene.manager.stop(), 0);
}

// Or it would be lost with a daemon that is killed before it says that it took over.
TEST(ServedCutoff, NobodyIsServedBeforeTheOldOneKnows) {
  Scene scene;
  ASSERT_TRUE(scene.between.stops_after(kTaken));
  EXPECT_TRUE(scene.between.is_from_next());
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
  scene.between.give();
  ASSERT_TRUE(scene.between.take());
  scene.between.give();
  EXPECT_EQ(hasty.hear(), 's');
  EXPECT_EQ(hasty.wait(), 0);
  scene.between.hang_up();
  EXPECT_EQ(scene.daemon.end_takeover(scene.next), 0);
  EXPECT_TRUE(scene.guest.goes_on());
}

}  // namespace
}  // namespace hal::test
