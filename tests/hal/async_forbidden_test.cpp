// SPDX-License-Identifier: Apache-2.0
//
// A process that may have no io_uring, as in many a container.
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <utility>

#include <hal/ring.hpp>

#include "tests/hal/forbid.hpp"

namespace hal::test {
namespace {

/// Says what was not so. Returns whether all was.
class Verdict {
 public:
  void expect(bool so, const char* what) {
    if (so) return;
    std::cerr << "not so: " << what << '\n';
    all_ = false;
  }
  [[nodiscard]] int status() const { return all_ ? 0 : 1; }

 private:
  bool all_ = true;
};

constexpr AcquisitionMode kBlocking = AcquisitionMode::Blocking;

int live_without_io_uring(int error) {
  Verdict verdict;
  verdict.expect(forbid(SYS_io_uring_setup, error), "the filter is there");
  verdict.expect(Ring::create({.async_path = AsyncPath::Futex}).error() == ErrorCode::Unsupported,
                 "a ring that must have io_uring is refused");
  for (const AsyncPath path : {AsyncPath::Auto, AsyncPath::Futex}) {
    const auto manager = ResourceManager::create({.async_path = path}).value();
    const Handle handle = manager->register_resource("dma0/channel/0", {}).value();
    Context other = manager->create_context().value();
    auto held = manager->try_acquire(handle).value();
    // On a ring of the library's.
    const auto ring = Ring::create();
    verdict.expect(ring.has_value(), "a ring finds another way");
    bool granted = false;
    (void)(*ring)->acquire(*manager, handle, {.mode = kBlocking, .context = &other},
                           [&](auto had) { granted = had.has_value(); });
    verdict.expect((*ring)->poll().value() == 0, "it waits");
    held = {};
    verdict.expect((*ring)->run().has_value() && granted, "it is granted");
    // On one of the author's, from wherever that came.
    held = manager->try_acquire(handle).value();
    AsyncAcquire wait(*manager, handle, {.mode = kBlocking, .context = &other});
    io_uring_sqe entry{};
    std::array<io_uring_sqe*, 1> entries{&entry};
    const auto prepared = wait.prepare(entries, 1);
    verdict.expect(prepared.has_value() == (path == AsyncPath::Auto), "what can't be is refused");
    if (!prepared) {
      verdict.expect(prepared.error() == ErrorCode::Unsupported, "as unsupported");
      verdict.expect(wait.submissions() == 1, "and nothing is in flight");
    } else {
      verdict.expect(entry.opcode == IORING_OP_POLL_ADD, "it is told by a descriptor");
    }
    held = {};
    verdict.expect(wait.check() && wait.take().has_value(), "its outcome is there all the same");
  }
  return verdict.status();
}

// In processes that begin anew: whether there is an io_uring is asked once.
TEST(AsyncForbiddenTest, WaitsFindAnotherWayWithoutIoUring) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const int error : {EPERM, ENOSYS}) {
    EXPECT_EXIT(std::exit(live_without_io_uring(error)), ::testing::ExitedWithCode(0), "");
  }
}

}  // namespace
}  // namespace hal::test
