// SPDX-License-Identifier: Apache-2.0
//
// Emergencies between processes: a holder is asked in his, the owner makes it quiet in his, and the
// audit log has each step.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kLong = 100s;

/// What all processes of a test see.
struct Marks {
  std::atomic<int> asked;     ///< holders, to let go
  std::atomic<int> quiesced;  ///< calls of the owner's hook
  std::atomic<int> who_asks;  ///< the pid that a holder was told
  std::atomic<int> what;      ///< ErrorCode of a release
};

class ServedEmergency : public ::testing::Test {
 protected:
  ServedEmergency()
      : marks_(static_cast<Marks*>(::mmap(nullptr, sizeof(Marks), PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~ServedEmergency() override { ::munmap(marks_, sizeof(Marks)); }

  void serve(const std::string& more = {}) {
    file_ = std::make_unique<TemporaryFile>(
        ("[log]\naudit = \"" + audit_.path() + "\"\n" + more).c_str());
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file_->path()});
    manager_ = daemon_->connect();
    ASSERT_NE(manager_, nullptr);
    const DriverId self = manager_->register_driver("timer").value();
    ASSERT_TRUE(manager_->set_thread_driver(self));
  }
  /// A process whose driver "dma" owns "dma/0", and answers so when it is to be quiet.
  std::unique_ptr<Child> owner(bool hook = true, Result<void> answer = {}) {
    auto child = std::make_unique<Child>([this, hook, answer](Child::Talk& talk) {
      auto theirs = daemon_->connect();
      RegisterOptions options{.driver = theirs->register_driver("dma").value()};
      if (hook) {
        options.hooks.on_quiesce = [&](Handle) {
          ++marks_->quiesced;
          return answer;
        };
      }
      talk.say(theirs->register_resource("dma/0", {}, std::move(options)) ? 'r' : 'x');
      return static_cast<int>(talk.hear());
    });
    EXPECT_EQ(child->hear(), 'r');
    return child;
  }
  /// A process that holds it, and does this when it is asked; then lets go when it is told, and
  /// says what came of that.
  std::unique_ptr<Child> holder(HoldKind kind, bool lets_go) {
    auto child = std::make_unique<Child>([this, kind, lets_go](Child::Talk& talk) {
      auto theirs = daemon_->connect();
      (void)theirs->set_thread_driver(theirs->register_driver("gpu").value());
      auto hold = theirs->acquire_scoped_resource(
          theirs->find("dma/0").value(), {.mode = AcquisitionMode::Blocking, .kind = kind});
      const auto asked = theirs->on_revoke([&](const RevokeRequest& request) {
        marks_->who_asks = static_cast<int>(request.by.pid);
        if (lets_go) (void)hold->release();
        ++marks_->asked;
      });
      talk.say(hold && asked ? 'h' : 'x');
      (void)talk.hear();
      const auto released = hold->release();
      marks_->what = released ? 0 : static_cast<int>(released.error().code());
      talk.say('d');
      return static_cast<int>(talk.hear());
    });
    EXPECT_EQ(child->hear(), 'h');
    return child;
  }
  [[nodiscard]] ErrorCode released(Child& child) const {
    child.say('l');
    EXPECT_EQ(child.hear(), 'd');
    return static_cast<ErrorCode>(marks_->what.load());
  }
  Result<ScopedResource> urgent(std::chrono::nanoseconds yield,
                                std::chrono::nanoseconds timeout = kLong) {
    return manager_->acquire_scoped_resource(
        manager_->find("dma/0").value(),
        {.mode = AcquisitionMode::Emergency, .timeout = timeout, .yield = yield});
  }
  [[nodiscard]] int count(const std::string& part) const {
    std::ifstream file(audit_.path());
    int found = 0;
    for (std::string line; std::getline(file, line);) {
      found += line.find(part) != std::string::npos ? 1 : 0;
    }
    return found;
  }

  Marks* marks_;
  const TemporaryFile audit_{""};
  std::unique_ptr<TemporaryFile> file_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<ResourceManager> manager_;
};

TEST_F(ServedEmergency, AHolderElsewhereLetsGo) {
  serve();
  const auto dma = owner();
  const auto gpu = holder(HoldKind::Exclusive, true);
  auto hold = urgent(kLong);
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_FALSE(hold->inconsistent());
  EXPECT_TRUE(eventually([&] { return marks_->asked == 1; }));
  EXPECT_EQ(marks_->who_asks, ::getpid());
  EXPECT_EQ(marks_->quiesced, 0);
  EXPECT_EQ(released(*gpu), ErrorCode::NotPermitted) << "it has let go";
  EXPECT_EQ(count("to let go"), 1);
  EXPECT_EQ(count("\"event\":\"revoked\""), 0);
}

TEST_F(ServedEmergency, FromWhoDoesNotItIsTaken) {
  serve();
  const auto dma = owner();
  const auto gpu = holder(HoldKind::Exclusive, false);
  auto hold = urgent(20ms);
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_TRUE(hold->inconsistent());
  EXPECT_EQ(marks_->asked, 1);
  EXPECT_EQ(marks_->quiesced, 1);
  EXPECT_EQ(released(*gpu), ErrorCode::Revoked);
  EXPECT_TRUE(hold->release()) << "and it is ours still";
  for (const char* step : {"asks process", "the time is over", "its owner made it quiet"}) {
    EXPECT_EQ(count(step), 1) << step;
  }
  EXPECT_EQ(count("\"event\":\"revoked\",\"pid\":" + std::to_string(gpu->pid())), 1);
}

TEST_F(ServedEmergency, FromAllReaders) {
  serve();
  const auto dma = owner();
  const auto one = holder(HoldKind::Shared, false);
  const auto two = holder(HoldKind::Shared, false);
  auto hold = urgent(20ms);
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_EQ(marks_->asked, 2);
  EXPECT_EQ(marks_->quiesced, 1);
  EXPECT_EQ(released(*one), ErrorCode::Revoked);
  EXPECT_EQ(released(*two), ErrorCode::Revoked);
  EXPECT_EQ(count("\"event\":\"revoked\""), 2);
}

TEST_F(ServedEmergency, NobodyIsForcedWithoutTheOwner) {
  serve();
  const auto dma = owner(false);
  const auto gpu = holder(HoldKind::Exclusive, false);
  const auto hold = urgent(1ms, 200ms);
  ASSERT_FALSE(hold);
  EXPECT_EQ(hold.error(), ErrorCode::TimedOut);
  EXPECT_EQ(marks_->asked, 1);
  EXPECT_EQ(released(*gpu), ErrorCode{});
  EXPECT_EQ(count("nobody is forced"), 1);
}

TEST_F(ServedEmergency, AHookThatFailsForcesNobody) {
  serve();
  const auto dma = owner(true, std::unexpected(Error(ErrorCode::System, "stuck")));
  const auto gpu = holder(HoldKind::Exclusive, false);
  const auto hold = urgent(1ms, 500ms);
  ASSERT_FALSE(hold);
  EXPECT_EQ(hold.error(), ErrorCode::TimedOut);
  EXPECT_EQ(marks_->quiesced, 1);
  EXPECT_EQ(released(*gpu), ErrorCode{});
  EXPECT_EQ(count("did not make it quiet"), 1);
}

TEST_F(ServedEmergency, NotForADriverThatMayNot) {
  serve("[[driver]]\nname = \"*\"\n");
  const auto dma = owner();
  const auto gpu = holder(HoldKind::Exclusive, false);
  const auto hold = urgent(1ms, 200ms);
  ASSERT_FALSE(hold);
  EXPECT_EQ(hold.error(), ErrorCode::TimedOut) << "it waited like anybody";
  EXPECT_EQ(marks_->asked, 0);
  EXPECT_EQ(marks_->quiesced, 0);
  EXPECT_EQ(released(*gpu), ErrorCode{});
  EXPECT_EQ(count("\"event\":\"refused\""), 1);
}

// A successor of resmgrd's knows of nothing, and is told.
TEST_F(ServedEmergency, GoesOnUnderAnotherWorker) {
  serve();
  const auto dma = owner();
  const auto gpu = holder(HoldKind::Exclusive, false);
  const auto other = std::make_unique<Child>([this](Child::Talk& talk) {
    auto theirs = daemon_->connect();
    (void)theirs->set_thread_driver(theirs->register_driver("timer").value());
    talk.say('w');
    const auto hold = theirs->acquire_scoped_resource(
        theirs->find("dma/0").value(),
        {.mode = AcquisitionMode::Emergency, .timeout = kLong, .yield = 1s});
    return hold ? 0 : 1;
  });
  ASSERT_EQ(other->hear(), 'w');
  ASSERT_TRUE(eventually([&] { return marks_->asked == 1; }));
  daemon_->kill_worker();
  EXPECT_EQ(other->wait(), 0);
  EXPECT_EQ(released(*gpu), ErrorCode::Revoked);
}

}  // namespace
}  // namespace hal::test
