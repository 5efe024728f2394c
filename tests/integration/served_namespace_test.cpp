// SPDX-License-Identifier: Apache-2.0
//
// Clients in namespaces of their own, as in a container, who see nothing of the daemon but its
// socket.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <thread>

#include "tests/integration/hostile_client.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;

constexpr int kApart = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS;

// Why this machine has no such namespaces for us; empty if it has.
std::string why_not_apart() {
  int status = 0;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(become_nobody() && ::unshare(kApart) == 0 ? 0 : errno);
  if (child < 0 || ::waitpid(child, &status, 0) != child) return "fork";
  return status == 0 ? "" : std::string("unshare: ") + std::strerror(WEXITSTATUS(status));
}

// Runs `client` as process 2 of namespaces of its own, with /proc out of sight. The caller speaks
// for process 1 by `talk`: 'k' kills the client from inside.
int run_apart(Child::Talk& talk, const std::function<int()>& client) {
  if (!become_nobody() || ::unshare(kApart) != 0) return 100;
  const pid_t first = ::fork();
  if (first < 0) return 101;
  if (first > 0) {
    int status = 0;
    (void)::waitpid(first, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 102;
  }
  if (::getpid() != 1) ::_exit(103);
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) ::_exit(104);
  if (::mount("none", "/proc", "tmpfs", 0, nullptr) != 0) ::_exit(105);
  const pid_t second = ::fork();
  if (second == 0) ::_exit(client());
  if (talk.hear() == 'k') ::kill(second, SIGKILL);
  int status = 0;
  (void)::waitpid(second, &status, 0);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 0);
}

class ServedNamespaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user";
    if (const std::string why = why_not_apart(); !why.empty()) GTEST_SKIP() << why;
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
    handle = manager->register_resource("r", {}).value();
  }

  const TemporaryFile config{"[[attach]]\nusers = [\"root\", 65534]\nallow = true\n"};
  Daemon daemon{{"--config", config.path()}};
  std::unique_ptr<ResourceManager> manager;
  Handle handle;
};

TEST_F(ServedNamespaceTest, AHolderKilledInsideIsRecovered) {
  Child child([&](Child::Talk& talk) {
    return run_apart(talk, [&] {
      auto theirs = daemon.connect();
      if (!theirs) return 1;
      auto hold = theirs->try_acquire(theirs->find("r").value());
      talk.say(hold ? 'h' : 'x');
      ::pause();
      return 2;
    });
  });
  ASSERT_EQ(child.hear(), 'h');
  const auto refused = manager->try_acquire(handle);
  ASSERT_FALSE(refused);
  ASSERT_GE(refused.error().blamed(), 1u);
  EXPECT_GT(refused.error().blame().pid, 2u) << "blamed by its number here, not there";
  child.say('k');
  auto hold = manager->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_TRUE(hold->inconsistent());
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(ServedNamespaceTest, AWaiterInsideIsGrantedWhatIsReleasedOutside) {
  auto mine = manager->try_acquire(handle);
  ASSERT_TRUE(mine);
  Child child([&](Child::Talk& talk) {
    return run_apart(talk, [&] {
      auto theirs = daemon.connect();
      if (!theirs) return 1;
      talk.say('w');
      return theirs->acquire_scoped_resource(theirs->find("r").value()) ? 0 : 2;
    });
  });
  ASSERT_EQ(child.hear(), 'w');
  ASSERT_TRUE(eventually([&] { return manager->get_resource_stats(handle).value().waiting == 1; }));
  mine = {};
  child.say('e');
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(ServedNamespaceTest, AWaiterKilledInsideIsForgotten) {
  auto mine = manager->try_acquire(handle);
  Child child([&](Child::Talk& talk) {
    return run_apart(talk, [&] {
      auto theirs = daemon.connect();
      if (!theirs) return 1;
      talk.say('w');
      return theirs->acquire_scoped_resource(theirs->find("r").value()) ? 2 : 3;
    });
  });
  ASSERT_EQ(child.hear(), 'w');
  const auto waiters = [&] { return manager->get_resource_stats(handle).value().waiting; };
  ASSERT_TRUE(eventually([&] { return waiters() == 1; }));
  child.say('k');
  EXPECT_TRUE(eventually([&] { return waiters() == 0; }));
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace hal::test
