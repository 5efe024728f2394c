// SPDX-License-Identifier: Apache-2.0
//
// Hardware is quiet before it changes hands: a driver with a hook, a holder that is killed, and who
// waits for what he held. What comes before what is told by marks in memory that all share.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;

/// What all processes of a test see.
struct Marks {
  std::atomic<int> calls;       ///< of the hook
  std::atomic<int> returned;    ///< from it
  std::atomic<int> at_grant;    ///< `returned`, when the waiter was granted
  std::atomic<bool> may_go_on;  ///< a hook that waits for it goes on
};

class SharedMarks {
 public:
  SharedMarks()
      : at_(static_cast<Marks*>(::mmap(nullptr, sizeof(Marks), PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~SharedMarks() { ::munmap(at_, sizeof(Marks)); }
  SharedMarks(const SharedMarks&) = delete;
  SharedMarks& operator=(const SharedMarks&) = delete;
  Marks* operator->() const noexcept { return at_; }

 private:
  Marks* at_;
};

class ServedQuiesce : public ::testing::Test {
 protected:
  using Hook = std::function<Result<void>(int call)>;

  /// A process whose driver "dma" owns "dma/0", and makes it quiet by `hook`.
  std::unique_ptr<Child> driver(Hook hook = {}) {
    auto child = std::make_unique<Child>([this, hook](Child::Talk& talk) {
      auto theirs = daemon->connect();
      const DriverId self = theirs->register_driver("dma").value();
      RegisterOptions options{.driver = self};
      options.hooks.on_quiesce = [&](Handle) {
        const int call = ++marks->calls;
        const Result<void> done = hook ? hook(call) : Result<void>();
        ++marks->returned;
        return done;
      };
      const auto made = theirs->register_resource("dma/0", {}, std::move(options));
      talk.say(made ? 'r' : 'x');
      return static_cast<int>(talk.hear());
    });
    EXPECT_EQ(child->hear(), 'r');
    return child;
  }
  /// A process that holds it until it is killed.
  std::unique_ptr<Child> holder(HoldKind kind = HoldKind::Exclusive) {
    auto child = std::make_unique<Child>([this, kind](Child::Talk& talk) {
      auto theirs = daemon->connect();
      const auto hold =
          theirs->acquire_scoped_resource(theirs->find("dma/0").value(), {.kind = kind});
      talk.say(hold ? 'h' : 'x');
      return static_cast<int>(talk.hear());
    });
    EXPECT_EQ(child->hear(), 'h');
    return child;
  }
  /// A process that waits for it, and is queued by now. Its exit status: 0 granted, INCONSISTENT; 1
  /// granted otherwise; 2 Quarantined; 3 another error.
  std::unique_ptr<Child> waiter() {
    auto child = std::make_unique<Child>([this](Child::Talk&) {
      auto theirs = daemon->connect();
      const auto hold = theirs->acquire_scoped_resource(theirs->find("dma/0").value());
      marks->at_grant = marks->returned.load();
      if (hold) return hold->inconsistent() ? 0 : 1;
      return hold.error() == ErrorCode::Quarantined ? 2 : 3;
    });
    EXPECT_TRUE(eventually([&] { return stats().waiting == 1; }));
    return child;
  }
  void serve(const char* config = "[grace]\nquiesce_backoff = \"1ms\"\n") {
    file = std::make_unique<TemporaryFile>(config);
    daemon = std::make_unique<Daemon>(std::vector<std::string>{"--config", file->path()});
    manager = daemon->connect();
    ASSERT_NE(manager, nullptr);
  }
  [[nodiscard]] ResourceStats stats() const {
    return manager->get_resource_stats(manager->find("dma/0").value()).value();
  }
  [[nodiscard]] Lifecycle state() const {
    return manager->info(manager->find("dma/0").value()).value().state;
  }
  static void kill(Child& child) {
    child.signal(SIGKILL);
    EXPECT_EQ(child.wait(), -SIGKILL);
  }
  /// In a hook: until the test says so.
  void wait_here() const {
    (void)eventually([&] { return marks->may_go_on.load(); });
  }

  SharedMarks marks;
  std::unique_ptr<TemporaryFile> file;
  std::unique_ptr<Daemon> daemon;
  std::unique_ptr<ResourceManager> manager;
};

TEST_F(ServedQuiesce, TheNextHolderComesAfterTheHook) {
  serve();
  const auto owner = driver([&](int) {
    wait_here();
    return Result<void>();
  });
  const auto dead = holder();
  const auto next = waiter();
  kill(*dead);
  ASSERT_TRUE(eventually([&] { return marks->calls == 1; }));
  EXPECT_EQ(state(), Lifecycle::Quarantined);
  EXPECT_EQ(manager->try_acquire(manager->find("dma/0").value()).error(), ErrorCode::Quarantined);
  EXPECT_EQ(stats().waiting, 1u);
  marks->may_go_on = true;
  EXPECT_EQ(next->wait(), 0);
  EXPECT_EQ(marks->at_grant, 1);
  EXPECT_EQ(marks->calls, 1);
}

TEST_F(ServedQuiesce, AHookThatFailsIsCalledAgain) {
  serve();
  const auto owner = driver([](int call) -> Result<void> {
    if (call < 3) return std::unexpected(Error(ErrorCode::TimedOut));
    return {};
  });
  const auto dead = holder();
  const auto next = waiter();
  kill(*dead);
  EXPECT_EQ(next->wait(), 0);
  EXPECT_EQ(marks->at_grant, 3);
}

TEST_F(ServedQuiesce, AHookThatAlwaysFailsPoisons) {
  serve("[grace]\nquiesce_attempts = 2\nquiesce_backoff = \"1ms\"\n");
  const auto owner = driver(
      [](int) -> Result<void> { return std::unexpected(Error(ErrorCode::System, "stuck")); });
  const auto dead = holder();
  const auto next = waiter();
  kill(*dead);
  EXPECT_EQ(next->wait(), 2);
  EXPECT_EQ(marks->calls, 2);
  EXPECT_EQ(state(), Lifecycle::Quarantined);
  EXPECT_EQ(manager->acquire_scoped_resource(manager->find("dma/0").value()).error(),
            ErrorCode::Quarantined)
      << "nobody waits for what will not come";
}

// A hook that throws has not made anything quiet, and one that never returns has not either.
TEST_F(ServedQuiesce, AHookWithoutAnAnswerPoisons) {
  serve("[grace]\nquiesce = \"50ms\"\nquiesce_attempts = 2\nquiesce_backoff = \"1ms\"\n");
  const auto owner = driver([](int) -> Result<void> {
    for (;;) ::pause();
  });
  const auto dead = holder();
  const auto next = waiter();
  kill(*dead);
  EXPECT_EQ(next->wait(), 2);
  EXPECT_EQ(marks->returned, 0);
}

TEST_F(ServedQuiesce, AnOwnerWhoDiesInTheMiddleLeavesQuietHardware) {
  serve();
  const auto owner = driver([&](int) {
    wait_here();
    return Result<void>();
  });
  const auto dead = holder();
  const auto next = waiter();
  kill(*dead);
  ASSERT_TRUE(eventually([&] { return marks->calls == 1; }));
  EXPECT_EQ(stats().waiting, 1u);
  kill(*owner);
  EXPECT_EQ(next->wait(), 0) << "the kernel closed its devices";
  EXPECT_EQ(marks->returned, 0);
  EXPECT_EQ(state(), Lifecycle::Orphaned);
  // And whoever it is restarted as is asked from the next death on.
  const auto again = driver();
  const auto second = holder();
  kill(*second);
  EXPECT_TRUE(eventually([&] { return marks->returned == 1; }));
}

TEST_F(ServedQuiesce, AWorkerThatDiesInTheMiddleIsReplacedByOneThatAsksAgain) {
  serve();
  const auto owner = driver([&](int call) {
    if (call == 1) wait_here();
    return Result<void>();
  });
  const auto dead = holder();
  const auto next = waiter();
  kill(*dead);
  ASSERT_TRUE(eventually([&] { return marks->calls == 1; }));
  daemon->kill_worker();
  EXPECT_EQ(stats().waiting, 1u);
  marks->may_go_on = true;
  EXPECT_EQ(next->wait(), 0);
  EXPECT_GE(marks->at_grant, 2) << "the answer to the first worker is none to the second";
}

TEST_F(ServedQuiesce, AReadersDeathWaitsForTheOtherReaders) {
  serve();
  const auto owner = driver();
  const auto dead = holder(HoldKind::Shared);
  auto mine = manager->try_acquire_shared(manager->find("dma/0").value());
  ASSERT_TRUE(mine);
  kill(*dead);
  ASSERT_TRUE(eventually([&] { return state() == Lifecycle::Quarantined; }));
  EXPECT_EQ(marks->calls, 0);
  mine = {};
  EXPECT_TRUE(manager->acquire_scoped_resource(manager->find("dma/0").value()));
  EXPECT_EQ(marks->returned, 1);
}

// Between questions of its own, each of which may meet an event.
TEST_F(ServedQuiesce, ABusyOwnerIsAskedToo) {
  // What gets lost is not asked again.
  serve("[grace]\nquiesce = \"10s\"\nquiesce_attempts = 1\n");
  Child owner([&](Child::Talk& talk) {
    auto theirs = daemon->connect();
    RegisterOptions options;
    options.hooks.on_quiesce = [&](Handle) -> Result<void> {
      ++marks->returned;
      // It may call any function.
      return theirs->register_resource("from-the-hook/" + std::to_string(marks->returned), {})
                 ? Result<void>()
                 : std::unexpected(Error(ErrorCode::System));
    };
    if (!theirs->register_resource("dma/0", {}, std::move(options))) return 1;
    talk.say('r');
    while (!marks->may_go_on) {
      const auto made = theirs->register_resource("busy", {});
      if (!made || !theirs->unregister_resource(*made)) return 2;
    }
    return 0;
  });
  ASSERT_EQ(owner.hear(), 'r');
  for (int round = 1; round <= 20; ++round) {
    const auto dead = holder();
    kill(*dead);
    auto hold = manager->acquire_scoped_resource(manager->find("dma/0").value());
    ASSERT_TRUE(hold) << hold.error().message();
    EXPECT_EQ(marks->returned, round);
  }
  marks->may_go_on = true;
  EXPECT_EQ(owner.wait(), 0);
}

TEST(EmbeddedQuiesce, AHookIsTakenAndNeverCalled) {
  auto manager = ResourceManager::create().value();
  RegisterOptions options;
  options.hooks.on_quiesce = [](Handle) -> Result<void> {
    ADD_FAILURE();
    return {};
  };
  const Handle handle = manager->register_resource("dma/0", {}, std::move(options)).value();
  std::thread([&] { (void)manager->try_acquire(handle).value(); }).join();
  EXPECT_TRUE(manager->try_acquire(handle));
}

}  // namespace
}  // namespace hal::test
