// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/log_output.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "resmgr/base/unique_fd.hpp"
#include "tests/daemon/fake_surroundings.hpp"

namespace resmgr::daemon {
namespace {

using std::chrono::seconds;
using test::FakeSurroundings;

/// Standard error as a pipe.
class Logs : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    reader_.reset(ends[0]);
    writer_.reset(ends[1]);
    ASSERT_EQ(::fcntl(reader_.get(), F_SETFL, O_NONBLOCK), 0);
    options_ = {.fd = writer_.get(), .burst = 2, .window = seconds(10)};
  }

  /// All that is in the pipe.
  std::string written() {
    std::string text;
    std::array<char, 65536> bytes{};
    ssize_t count = 0;
    while ((count = ::read(reader_.get(), bytes.data(), bytes.size())) > 0) {
      text.append(bytes.data(), static_cast<std::size_t>(count));
    }
    return text;
  }
  /// Until a line has no room; a pipe counts in pages.
  void fill() {
    ASSERT_EQ(::fcntl(writer_.get(), F_SETFL, O_NONBLOCK), 0);
    const std::string page(4096, '.');
    while (::write(writer_.get(), page.data(), page.size()) > 0) {
    }
    ASSERT_EQ(errno, EAGAIN);
    ASSERT_EQ(::fcntl(writer_.get(), F_SETFL, 0), 0);
  }
  [[nodiscard]] std::string stream_of(int fd) const {
    struct stat file{};
    EXPECT_EQ(::fstat(fd, &file), 0);
    return std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino);
  }

  UniqueFd reader_;
  UniqueFd writer_;
  FakeSurroundings surroundings_;
  LogOutput::Options options_;
};

TEST_F(Logs, NameTheProgramAndTheLevel) {
  LogOutput output(surroundings_, options_);
  const LogSink sink = output.sink();
  sink(LogLevel::Info, "serving");
  sink(LogLevel::Warning, "odd");
  sink(LogLevel::Error, "broken");
  EXPECT_EQ(written(), "resmgrd: serving\nresmgrd: warning: odd\nresmgrd: error: broken\n");
}

TEST_F(Logs, GoToTheJournalWithTheirPriority) {
  surroundings_.variables["JOURNAL_STREAM"] = stream_of(writer_.get());
  LogOutput output(surroundings_, options_);
  output.write(LogLevel::Info, "serving");
  output.write(LogLevel::Warning, "odd");
  output.write(LogLevel::Error, "broken");
  EXPECT_EQ(written(), "<6>serving\n<4>odd\n<3>broken\n");
}

// The variable is inherited also by who writes to a file since.
TEST_F(Logs, GoToTheJournalOnlyIfItReadsThem) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd other_reader(ends[0]);
  const UniqueFd other(ends[1]);
  for (const std::string& stream : {stream_of(other.get()), stream_of(writer_.get()) + "0",
                                    std::string(), std::string(":"), std::string("x:y")}) {
    surroundings_.variables["JOURNAL_STREAM"] = stream;
    LogOutput(surroundings_, options_).write(LogLevel::Info, "x");
    EXPECT_EQ(written(), "resmgrd: x\n") << stream;
  }
}

TEST_F(Logs, AreNotForgedByNames) {
  LogOutput output(surroundings_, options_);
  output.write(LogLevel::Info, "no driver x\nresmgrd: error: \x1b[2Jforged");
  EXPECT_EQ(written(), "resmgrd: no driver x\\x0aresmgrd: error: \\x1b[2Jforged\n");
  output.write(LogLevel::Info, std::string(10'000, 'x'));
  const std::string line = written();
  EXPECT_EQ(line.size(), TextBuffer::kMaxBytes);
  EXPECT_TRUE(line.ends_with("x...\n"));
}

TEST_F(Logs, AreLimitedByLevel) {
  LogOutput output(surroundings_, options_);
  for (int i = 0; i < 5; ++i) output.write(LogLevel::Warning, "flood");
  EXPECT_EQ(written(), "resmgrd: warning: flood\nresmgrd: warning: flood\n");
  output.write(LogLevel::Error, "heard");
  EXPECT_EQ(written(), "resmgrd: error: heard\n");
  surroundings_.now += seconds(10) - std::chrono::nanoseconds(1);
  output.report_left_out();
  EXPECT_EQ(written(), "");
  surroundings_.now += std::chrono::nanoseconds(1);
  output.report_left_out();
  output.report_left_out();
  EXPECT_EQ(written(), "resmgrd: warning: 3 similar lines left out\n");
}

TEST_F(Logs, KeepToWhatTheConfigurationSays) {
  LogOutput output(surroundings_, options_);
  output.set_limits(LogLevel::Warning, 3);
  output.write(LogLevel::Info, "quiet");
  for (int i = 0; i < 4; ++i) output.write(LogLevel::Warning, "odd");
  EXPECT_EQ(written(), "resmgrd: warning: odd\nresmgrd: warning: odd\nresmgrd: warning: odd\n");
  output.set_limits(LogLevel::Info, 1);
  for (int i = 0; i < 2; ++i) output.write(LogLevel::Info, "heard");
  EXPECT_EQ(written(), "resmgrd: warning: 1 similar lines left out\nresmgrd: heard\n");
}

TEST_F(Logs, CountBeforeTheNextLine) {
  LogOutput output(surroundings_, options_);
  for (int i = 0; i < 3; ++i) output.write(LogLevel::Info, "flood");
  written();
  surroundings_.now += seconds(10);
  output.write(LogLevel::Error, "next");
  EXPECT_EQ(written(), "resmgrd: 1 similar lines left out\nresmgrd: error: next\n");
}

TEST_F(Logs, CountAtTheEnd) {
  {
    LogOutput output(surroundings_, options_);
    for (int i = 0; i < 4; ++i) output.write(LogLevel::Info, "flood");
  }
  EXPECT_TRUE(written().ends_with("resmgrd: 2 similar lines left out\n"));
}

// That it comes back at all is half of the test: a write would wait for ever.
TEST_F(Logs, DoNotWaitForAReader) {
  LogOutput output(surroundings_, options_);
  fill();
  output.write(LogLevel::Info, "lost");
  for (int i = 0; i < 4; ++i) output.write(LogLevel::Error, "lost too");
  surroundings_.now += seconds(10);
  output.report_left_out();
  EXPECT_EQ(written().find_first_not_of('.'), std::string::npos);
  output.write(LogLevel::Info, "heard");
  output.write(LogLevel::Info, "again");
  // One, and two, and the two that the lost count stood for.
  EXPECT_EQ(written(),
            "resmgrd: warning: 5 lines lost: there was no room for them\n"
            "resmgrd: heard\nresmgrd: again\n");
  EXPECT_EQ(::fcntl(writer_.get(), F_GETFL) & O_NONBLOCK, 0);
}

// SIGPIPE, which would end this process, is not ignored here.
TEST_F(Logs, OutliveTheirReader) {
  LogOutput output(surroundings_, options_);
  reader_.reset();
  output.write(LogLevel::Error, "into a pipe without end");
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd near(ends[0]);
  ::close(ends[1]);
  options_.fd = near.get();
  LogOutput(surroundings_, options_).write(LogLevel::Error, "into a socket without end");
  options_.fd = -1;
  LogOutput(surroundings_, options_).write(LogLevel::Error, "into nothing");
}

TEST_F(Logs, AreWholeAndCountedFromSeveralThreads) {
  constexpr int kThreads = 4;
  constexpr int kLines = 20'000;
  options_.burst = 1000;
  const std::string line = "resmgrd: the whole of it\n";
  {
    LogOutput output(surroundings_, options_);
    const LogSink sink = output.sink();
    std::latch start(kThreads);
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        for (int number = 0; number < kLines; ++number) sink(LogLevel::Info, "the whole of it");
      });
    }
  }
  std::string all;
  for (std::uint32_t i = 0; i < options_.burst; ++i) all += line;
  all += "resmgrd: 79000 similar lines left out\n";
  EXPECT_EQ(written(), all);
}

}  // namespace
}  // namespace resmgr::daemon
