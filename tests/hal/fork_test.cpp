// SPDX-License-Identifier: Apache-2.0
//
// A child of fork() leaves the parent's domain alone.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <thread>

#include "tests/base/sanitizers.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

/// What `child` returned, or -1 if it did not end by itself. `leave` ends the child's process.
int in_child(const std::function<int()>& child, void (*leave)(int) = ::_exit) {
  const pid_t pid = ::fork();
  if (pid == 0) leave(child());
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

/// ThreadSanitizer's child keeps the parent's list of threads, so that one that it starts at the
/// place of one of them ends it ("dup thread with used id").
constexpr bool kMayStartThreads = !resmgr::test::kThreadSanitizer;
constexpr const char* kNoThreads = "ThreadSanitizer ends children of fork() that start threads";

class Fork : public ManagerTest {
 protected:
  void SetUp() override {
    ManagerTest::SetUp();
    a_ = add("a");
    b_ = add("b", {.flags = ResourceFlags::Shareable});
  }

  Handle a_;
  Handle b_;
};

TEST_F(Fork, NothingIsReleasedInTheChild) {
  ScopedResource held = manager_->try_acquire(a_).value();
  ScopedResource shared = manager_->try_acquire_shared(b_).value();
  const int failed = in_child([&] {
    held = {};
    shared = {};
    manager_->close();
    manager_.reset();
    return 0;
  });
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(manager_->holds()->size(), 2u);
  EXPECT_TRUE(held.release());
  EXPECT_TRUE(shared.release());
  EXPECT_TRUE(manager_->holds()->empty());
}

TEST_F(Fork, TheChildIsDisconnectedAndMakesAManagerOfItsOwn) {
  if (!kMayStartThreads) GTEST_SKIP() << kNoThreads;
  ScopedResource held = manager_->try_acquire(a_).value();
  // Looked up, so that its place is known to the child.
  ASSERT_TRUE(manager_->register_resource("a/plain/name", {}));
  ASSERT_TRUE(manager_->find("a/plain/name"));
  const int failed = in_child([&] {
    if (code_of(manager_->try_acquire(b_)) != ErrorCode::Disconnected) return 1;
    if (code_of(manager_->try_acquire_shared(b_)) != ErrorCode::Disconnected) return 2;
    if (code_of(manager_->find("a")) != ErrorCode::Disconnected) return 3;
    if (code_of(manager_->register_resource("c", {})) != ErrorCode::Disconnected) return 4;
    if (code_of(held.release()) != ErrorCode::Disconnected) return 5;
    auto own = ResourceManager::create();
    if (!own) return 6;
    const auto mine = (*own)->register_resource("a", {});
    if (!mine || !(*own)->try_acquire(*mine)) return 7;
    if (code_of(manager_->find("a/plain/name")) != ErrorCode::Disconnected) return 8;
    return 0;
  });
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(code_of(manager_->find("c")), ErrorCode::NotFound);
  EXPECT_TRUE(manager_->try_acquire(b_));
}

// The default instance is destroyed at exit, and its threads are the parent's.
TEST_F(Fork, TheChildMayExit) {
  ResourceManager& manager = ResourceManager::instance();
  const Handle handle =
      manager.register_resource("fork-test", {}, {.hooks = {.on_create = [](Handle) {}}}).value();
  const ScopedResource held = manager.try_acquire(handle).value();
  EXPECT_EQ(in_child([] { return 0; }, std::exit), 0);
  EXPECT_EQ(manager.holds()->size(), 1u);
}

// Forks meet every state of the tables' locks.
TEST_F(Fork, ThreadsThatComeAndGoMeanwhileHoldNoLockInTheChild) {
  if (!kMayStartThreads) GTEST_SKIP() << kNoThreads;
  std::atomic<bool> over = false;
  std::thread busy([&] {
    while (!over) {
      std::thread([&] { EXPECT_TRUE(manager_->acquire_scoped_resource(b_)); }).join();
    }
  });
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(in_child([&] {
                auto own = ResourceManager::create();
                const auto mine =
                    own ? (*own)->register_resource("x", {}) : Result<Handle>(Handle());
                return mine && (*own)->try_acquire(*mine) ? 0 : 1;
              }),
              0);
  }
  over = true;
  busy.join();
}

}  // namespace
}  // namespace hal::test
