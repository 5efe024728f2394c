// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/presence.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

namespace resmgr {
namespace {

class PresenceTest : public ::testing::Test {
 protected:
  [[nodiscard]] bool is_marked(std::uint32_t number) const {
    return Presence::is_marked(file_.get(), number);
  }

  const UniqueFd file_{::memfd_create("presence-test", MFD_CLOEXEC)};
};

TEST_F(PresenceTest, IsSeenAsLongAsItLasts) {
  EXPECT_FALSE(is_marked(7));
  {
    auto presence = Presence::mark(file_.get(), 7);
    ASSERT_TRUE(presence) << presence.error().message();
    EXPECT_TRUE(is_marked(7));
    EXPECT_FALSE(is_marked(6));
    EXPECT_FALSE(is_marked(8));
    const Presence moved = std::move(*presence);
    EXPECT_TRUE(is_marked(7));
  }
  EXPECT_FALSE(is_marked(7));
}

TEST_F(PresenceTest, TwoOfOneProcessAreApart) {
  auto one = Presence::mark(file_.get(), 1);
  auto two = Presence::mark(file_.get(), 2);
  auto again = Presence::mark(file_.get(), 1);
  ASSERT_TRUE(one && two && again);
  *two = {};
  EXPECT_TRUE(is_marked(1));
  EXPECT_FALSE(is_marked(2));
  one->end();
  EXPECT_TRUE(is_marked(1)) << "the other one's";
  again->end();
  EXPECT_FALSE(is_marked(1));
  again->end();
}

TEST_F(PresenceTest, IsNotTheChilds) {
  auto presence = Presence::mark(file_.get(), 3);
  ASSERT_TRUE(presence);
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    *presence = {};
    ::close(pipe[1]);
    char word = 0;
    ::_exit(::read(pipe[0], &word, 1) == 0 ? 0 : 1);
  }
  EXPECT_TRUE(is_marked(3));
  *presence = {};
  ::close(pipe[1]);
  int status = -1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(is_marked(3));
  ::close(pipe[0]);
}

// Seen by who has the very descriptor that it was made from, in another process.
TEST_F(PresenceTest, EndsWithTheProcess) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto presence = Presence::mark(file_.get(), 4);
    (void)!::write(pipe[1], presence ? "y" : "n", 1);
    for (;;) ::pause();
  }
  char word = 0;
  ASSERT_EQ(::read(pipe[0], &word, 1), 1);
  EXPECT_EQ(word, 'y');
  EXPECT_TRUE(is_marked(4));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  EXPECT_FALSE(is_marked(4));
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(PresenceTest, NeedsAFile) {
  EXPECT_FALSE(Presence::mark(-1, 1));
  EXPECT_FALSE(Presence::is_marked(-1, 1));
}

}  // namespace
}  // namespace resmgr
