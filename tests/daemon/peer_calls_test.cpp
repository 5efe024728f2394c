// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/peer_calls.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <string>

#include "tests/base/support.hpp"

namespace resmgr::daemon {
namespace {

using test::code_of;

TEST(StartTime, IsFoundWhateverTheProgramIsCalled) {
  const std::string rest = " R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 99 0\n";
  for (const char* name : {"cat", "", ") R 9 9", "(((", "a b c d\n"}) {
    EXPECT_EQ(start_time_in("7 (" + std::string(name) + ")" + rest), 4242u) << name;
  }
}

TEST(StartTime, IsNotMadeUpFromOtherText) {
  const std::string text = "7 (cat) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 99";
  const std::size_t enough = text.find(" 99") + 1;
  for (std::size_t size = 0; size < enough; ++size) {
    EXPECT_EQ(code_of(start_time_in(text.substr(0, size))), ErrorCode::System) << size;
  }
  EXPECT_EQ(start_time_in(text.substr(0, enough)), 4242u);
  EXPECT_EQ(code_of(start_time_in("7 (cat) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x 1")),
            ErrorCode::System);
}

TEST(State, IsTheLetterAfterTheName) {
  EXPECT_EQ(state_in("7 (cat) S 1 2"), 'S');
  EXPECT_EQ(state_in("7 (a) T (b) t 1"), 't');
  for (const char* text : {"", "7 cat S 1", "7 (cat)", "7 (cat) ", "7 (cat) S", "7 (cat) Sx"}) {
    EXPECT_EQ(code_of(state_in(text)), ErrorCode::System) << text;
  }
  EXPECT_EQ(PeerCalls::kernel().is_stopped(::getpid()), false);
  EXPECT_EQ(code_of(PeerCalls::kernel().is_stopped(1 << 30)), ErrorCode::NotFound);
}

TEST(StartTime, IsOfLivingProcessesOnly) {
  EXPECT_TRUE(PeerCalls::kernel().start_time(::getpid()));
  EXPECT_EQ(code_of(PeerCalls::kernel().start_time(1 << 30)), ErrorCode::NotFound);
}

}  // namespace
}  // namespace resmgr::daemon
