// SPDX-License-Identifier: Apache-2.0
//
// What became of a child that a test forked, and that ends by _exit() with the step that failed.
//
//   if (child == 0) ::_exit(live_within(*group, bytes));
//   expect_done(child);
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>
#include <sys/wait.h>

namespace hal::test {

/// Waits for its end, which has to be with status 0.
inline void expect_done(pid_t child) {
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the step that failed";
}

}  // namespace hal::test
