// SPDX-License-Identifier: Apache-2.0
//
// The thread that waits where io_uring can't: one for all managers of a process, and a child of
// fork() has another.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include <hal/async_acquire.hpp>

#include "tests/base/sanitizers.hpp"
#include "tests/hal/async_support.hpp"
#include "tests/hal/forbid.hpp"

namespace hal::test {
namespace {

/// A manager, and one wait of it, which only the doorbell's thread tells of.
class Waiting {
 public:
  Waiting()
      : manager_(ResourceManager::create({.async_path = AsyncPath::Doorbell}).value()),
        handle_(manager_->register_resource("dma0/channel/0", {}).value()),
        other_(manager_->create_context().value()),
        held_(manager_->try_acquire(handle_).value()) {}

  [[nodiscard]] bool arm() {
    wait_.emplace(*manager_, handle_,
                  AcquireOptions{.mode = AcquisitionMode::Blocking, .context = &other_});
    io_uring_sqe entry{};
    std::array<io_uring_sqe*, 1> entries{&entry};
    const auto prepared = wait_->prepare(entries, 1);
    bell_ = entry.fd;
    return prepared && entry.opcode == IORING_OP_POLL_ADD;
  }
  void release() { held_.release().value(); }
  /// Waits until its descriptor tells of it.
  [[nodiscard]] bool is_told() {
    pollfd readable{.fd = bell_, .events = POLLIN, .revents = 0};
    while (::poll(&readable, 1, -1) < 0 && errno == EINTR) {
    }
    return wait_->check() && wait_->take().has_value();
  }

 private:
  std::unique_ptr<ResourceManager> manager_;
  Handle handle_;
  Context other_;
  ScopedResource held_;
  std::optional<AsyncAcquire> wait_;
  int bell_ = -1;  ///< the descriptor that a ring would poll
};

std::size_t threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

TEST(AsyncDoorbellTest, AllManagersOfAProcessShareAThread) {
  if (::syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, 0) < 0 && errno == ENOSYS) {
    GTEST_SKIP() << "no futex_waitv here";
  }
  std::deque<Waiting> waiting(4);
  const std::size_t before = threads();
  for (Waiting& each : waiting) ASSERT_TRUE(each.arm());
  EXPECT_EQ(threads(), before + 1);
  for (Waiting& each : waiting) {
    each.release();
    EXPECT_TRUE(each.is_told());
  }
}

// Each of them is told of, by threads of its own if need be.
int live_without_futex_waitv(int error) {
  if (!forbid(SYS_futex_waitv, error)) return 1;
  std::deque<Waiting> waiting(3);
  for (Waiting& each : waiting) {
    if (!each.arm()) return 2;
  }
  for (Waiting& each : waiting) {
    each.release();
    if (!each.is_told()) return 3;
  }
  return 0;
}

TEST(AsyncDoorbellTest, WaitsAreToldWithoutFutexWaitv) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const int error : {EPERM, ENOSYS}) {
    EXPECT_EXIT(std::exit(live_without_futex_waitv(error)), ::testing::ExitedWithCode(0), "");
  }
}

int wait_in_a_child() {
  Waiting own;
  if (!own.arm()) return 2;
  own.release();
  return own.is_told() ? 0 : 3;
}

TEST(AsyncDoorbellTest, AChildOfForkHasAThreadOfItsOwn) {
  if (resmgr::test::kThreadSanitizer) {
    GTEST_SKIP() << "ThreadSanitizer ends children of fork() that start threads";
  }
  Waiting waiting;
  ASSERT_TRUE(waiting.arm());
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(wait_in_a_child());
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  waiting.release();
  EXPECT_TRUE(waiting.is_told()) << "the parent's goes on";
}

}  // namespace
}  // namespace hal::test
