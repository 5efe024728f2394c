// SPDX-License-Identifier: Apache-2.0
//
// Clients that live and have no connection: only the dead are buried.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

/// How many descriptors this process may have.
bool allow_descriptors(rlim_t count) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  limit.rlim_cur = count;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/// Few, so that all can be used up. What there is stays open.
constexpr rlim_t kFew = 128;
/// Not one is free below it, but poll(2) goes by it too.
constexpr rlim_t kNone = 3;

/// Takes each one that is left, but none that comes free later. They end with the process.
bool use_up_descriptors() {
  if (!allow_descriptors(kFew)) return false;
  while (::open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0) {
  }
  return errno == EMFILE;
}
bool forbid_descriptors() { return allow_descriptors(kNone); }

bool see_proc() { return true; }

// When it is told to go on, a child ends by exec, its connection with it.
int execute(const Child::Talk& talk) {
  if (talk.hear() != 'g') return 1;
  ::execl("/bin/sleep", "sleep", "600", nullptr);
  return 2;
}

// It connects and holds until then.
int hold_and_execute(const Daemon& daemon, Handle handle, const Child::Talk& talk) {
  auto theirs = daemon.connect();
  auto hold = theirs->try_acquire(handle);
  talk.say(hold ? 'h' : 'x');
  return execute(talk);
}

// The next holder is told that the one before him is gone.
void expect_left_behind(ResourceManager& manager, Handle handle) {
  auto hold = manager.acquire_scoped_resource(handle);
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_TRUE(hold->inconsistent());
}

struct Shortage {
  const char* name;
  bool (*begin)();
  bool (*look)() = see_proc;  ///< before it connects
};

class ServedPresenceTest : public ::testing::TestWithParam<Shortage> {
 protected:
  void SetUp() override {
    if (GetParam().look == hide_proc && !can_hide_proc()) GTEST_SKIP() << "/proc can't be hidden";
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
    held = manager->register_resource("held", {}).value();
    clock = manager->register_resource("clock", {}).value();
  }

  /// How often it is written that a process attached, the first time or again.
  [[nodiscard]] int attachments_of(pid_t pid, const std::string& detail) const {
    std::ifstream file(audit.path());
    const std::string who = "\"pid\":" + std::to_string(pid) + ",";
    int count = 0;
    for (std::string line; std::getline(file, line);) {
      count += line.contains("\"attached\"") && line.contains(who) && line.contains(detail) ? 1 : 0;
    }
    return count;
  }

  const TemporaryFile audit{""};
  const TemporaryFile config{
      ("[grace]\nclient_restart = \"50ms\"\n[log]\naudit = \"" + audit.path() + "\"\n").c_str()};
  Daemon daemon{{"--config", config.path()}};
  std::unique_ptr<ResourceManager> manager;
  Handle held;
  Handle clock;
};

// Where the socket of the lost connection makes room for one descriptor, it gets as far as the
// welcome, and is refused by its own kernel what came with it; where there is none at all, nobody
// hears of it.
TEST_P(ServedPresenceTest, WhoCanNotConnectKeepsWhatItHolds) {
  Child client([&](Child::Talk& talk) {
    if (!GetParam().look()) return 20;
    std::atomic<int> restored = 0;
    std::atomic<bool> ended = false;
    std::atomic<int> lines = 0;
    auto theirs = ResourceManager::connect({.socket = daemon.socket(),
                                            .log = [&](LogLevel, std::string_view) { ++lines; },
                                            .on_connection =
                                                [&](ConnectionState state) {
                                                  if (state == ConnectionState::Restored)
                                                    ++restored;
                                                  if (state == ConnectionState::Ended) ended = true;
                                                }});
    if (!theirs) return 1;
    auto hold = (*theirs)->try_acquire(held);
    rlimit before{};
    if (!hold || ::getrlimit(RLIMIT_NOFILE, &before) != 0) return 2;
    if (!GetParam().begin()) return 3;
    talk.say('h');
    if (talk.hear() != 'g') return 4;
    if (restored != 0 || ended) return 5;
    if (hold->inconsistent() || !hold->release()) return 6;
    hold = (*theirs)->try_acquire(held);
    if (!hold) return 7;
    if (!allow_descriptors(before.rlim_cur)) return 8;
    if (!eventually([&] { return restored == 1; })) return 9;
    if (!(*theirs)->register_resource("after", {})) return 10;
    // Lost; why it stays so; and back.
    if (lines != 3) return 11;
    return hold->release() && !ended ? 0 : 12;
  });
  ASSERT_EQ(client.hear(), 'h');
  for (int i = 0; i < 3; ++i) {
    // One that called exec and was not seen doing so: when it is given up, the time is over in
    // which clients may come back.
    Child other([&](Child::Talk& talk) { return hold_and_execute(daemon, clock, talk); });
    ASSERT_EQ(other.hear(), 'h');
    const pid_t worker = daemon.worker();
    ASSERT_EQ(::kill(worker, SIGSTOP), 0);
    other.say('g');
    EXPECT_EQ(other.hear(), '\0');
    ASSERT_EQ(::kill(worker, SIGKILL), 0);
    auto hold = manager->acquire_scoped_resource(clock);
    ASSERT_TRUE(hold) << hold.error().message();
    EXPECT_TRUE(hold->inconsistent());
    EXPECT_TRUE(hold->consistent());
    EXPECT_EQ(manager->try_acquire(held).error(), ErrorCode::WouldBlock);
  }
  const pid_t pid = client.pid();
  client.say('g');
  EXPECT_EQ(client.wait(), 0);
  EXPECT_EQ(attachments_of(pid, ""), 2) << "when it came, and when it could again";
  EXPECT_EQ(attachments_of(pid, "again"), 1);
  auto hold = manager->acquire_scoped_resource(held);
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_FALSE(hold->inconsistent());
}

TEST_P(ServedPresenceTest, WhoDiesInThatStateIsBuried) {
  Child client([&](Child::Talk& talk) {
    if (!GetParam().look()) return 20;
    auto theirs = daemon.connect();
    auto hold = theirs->try_acquire(held);
    talk.say(hold && GetParam().begin() ? 'h' : 'x');
    return static_cast<int>(talk.hear());
  });
  ASSERT_EQ(client.hear(), 'h');
  daemon.kill_worker();
  ASSERT_TRUE(manager->register_resource("after", {}));
  EXPECT_EQ(manager->try_acquire(held).error(), ErrorCode::WouldBlock);
  client.signal(SIGKILL);
  expect_left_behind(*manager, held);
}

INSTANTIATE_TEST_SUITE_P(Shortages, ServedPresenceTest,
                         ::testing::Values(Shortage{"UsedUp", use_up_descriptors},
                                           Shortage{"Forbidden", forbid_descriptors},
                                           Shortage{"UsedUpWithoutProc", use_up_descriptors,
                                                    hide_proc}),
                         [](const auto& test) { return std::string(test.param.name); });

using Look = bool (*)();

class ServedPresence : public ::testing::TestWithParam<Look> {
 protected:
  void SetUp() override {
    if (GetParam() == hide_proc && !can_hide_proc()) GTEST_SKIP() << "/proc can't be hidden";
  }
};

INSTANTIATE_TEST_SUITE_P(Looks, ServedPresence, ::testing::Values(see_proc, hide_proc),
                         [](const auto& test) {
                           return std::string(test.param == hide_proc ? "WithoutProc" : "WithProc");
                         });

// Long before the time is over that clients have to come back.
TEST_P(ServedPresence, WhoCallsExecIsGone) {
  const TemporaryFile config("[grace]\nclient_restart = \"60min\"\n");
  Daemon daemon({"--config", config.path()});
  const auto manager = daemon.connect();
  const Handle handle = manager->register_resource("r", {}).value();
  Child child([&](Child::Talk& talk) {
    return GetParam()() ? hold_and_execute(daemon, handle, talk) : 20;
  });
  ASSERT_EQ(child.hear(), 'h');
  EXPECT_EQ(manager->try_acquire(handle).error(), ErrorCode::WouldBlock);
  child.say('g');
  expect_left_behind(*manager, handle);
}

// What is left of the connection in a child of fork() says nothing of the parent.
TEST_P(ServedPresence, AChildOfForkDoesNotStandForItsParent) {
  const TemporaryFile config("[grace]\nclient_restart = \"60min\"\n");
  Daemon daemon({"--config", config.path()});
  const auto manager = daemon.connect();
  const Handle handle = manager->register_resource("r", {}).value();
  Child child([&](Child::Talk& talk) {
    if (!GetParam()()) return 20;
    auto theirs = daemon.connect();
    auto hold = theirs->try_acquire(handle);
    const pid_t grandchild = ::fork();
    if (grandchild == 0) {
      (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
      // Not before the handlers of fork() have run.
      talk.say(hold ? 'h' : 'x');
      for (;;) ::pause();
    }
    return execute(talk);
  });
  ASSERT_EQ(child.hear(), 'h');
  child.say('g');
  expect_left_behind(*manager, handle);
}

}  // namespace
}  // namespace hal::test
