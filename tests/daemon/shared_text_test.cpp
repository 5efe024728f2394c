// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/shared_text.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace resmgr::daemon {
namespace {

/// What a child of fork() takes after `put` was done: its first byte, 0 where there is nothing.
template <typename Put>
int taken_by_child(SharedText& text, Put&& put) {
  int gate[2];
  EXPECT_EQ(::pipe2(gate, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    ::close(gate[1]);
    (void)::read(gate[0], &byte, 1);
    const auto taken = text.take();
    ::_exit(taken && !text.take() ? (*taken)[0] : 0);
  }
  put();
  ::close(gate[0]);
  ::close(gate[1]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WEXITSTATUS(status);
}

TEST(SharedText, IsTakenOnceByWhoForkedBefore) {
  SharedText text = SharedText::create().value();
  EXPECT_EQ(text.take(), std::nullopt);
  EXPECT_EQ(taken_by_child(text, [] {}), 0);
  EXPECT_EQ(taken_by_child(text, [&] { ASSERT_TRUE(text.put("a = 1")); }), 'a');
  EXPECT_EQ(text.take(), std::nullopt) << "he put it himself";
  EXPECT_EQ(taken_by_child(text, [] {}), 0) << "it was there before";
  EXPECT_EQ(taken_by_child(text,
                           [&] {
                             ASSERT_TRUE(text.put("b, a longer one"));
                             ASSERT_TRUE(text.put("c"));
                           }),
            'c');
}

// The writer is between the text and its head.
TEST(SharedText, IsLeftWhileTheNextOneIsPut) {
  // The lowest number that is free is the next one's.
  const int memory = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
  ASSERT_EQ(::close(memory), 0);
  SharedText text = SharedText::create().value();
  EXPECT_EQ(taken_by_child(text,
                           [&] {
                             ASSERT_TRUE(text.put("a = 1"));
                             ASSERT_EQ(::pwrite(memory, "b", 1, 24), 1);
                           }),
            0);
}

}  // namespace
}  // namespace resmgr::daemon
