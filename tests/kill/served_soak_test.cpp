// SPDX-License-Identifier: Apache-2.0
//
// Many processes on a real resmgrd that do everything clients do, and die of SIGKILL wherever they
// are, or stop and go on. So does the daemon's worker; and worker and keeper together, after which
// another daemon begins with what the service manager kept; and a daemon is taken over from by the
// next one while both run (I1, I3 to I6). Each process writes down what it asks for, has and lets
// go, and an oracle judges all of it afterwards, across all daemons; what needs the daemon must
// succeed whatever happens to that; in the end everything is free and nobody is stuck.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <random>
#include <ranges>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "resmgr/base/clock.hpp"
#include "resmgr/client/served_authority.hpp"
#include "tests/base/seed.hpp"
#include "tests/base/shared_block.hpp"
#include "tests/integration/fake_manager.hpp"
#include "tests/integration/served_support.hpp"
#include "tests/kill/soak_oracle.hpp"
#include "tests/kill/soak_process.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;
using resmgr::test::SoakEntry;
using resmgr::test::SoakEvent;
using resmgr::test::SoakLog;
using resmgr::test::SoakOracle;

constexpr auto kWorkerLives = 200ms;
constexpr auto kDaemonLives = 1s;
/// What a machine that has too much to do may make an outcome late by.
constexpr std::uint64_t kGraceNs = 10'000'000'000;
/// Whatever can happen happens in so long a soak.
constexpr auto kLong = 60s;

std::chrono::seconds duration() {
  const char* const given = std::getenv("RESMGR_SECONDS");
  return std::chrono::seconds(given ? std::strtol(given, nullptr, 10) : 10);
}

/// What is done to whom.
enum class Happening : std::uint8_t {
  ProcessKilled,
  ProcessStopped,
  WorkerKilled,
  DaemonKilled,
  DaemonRestarted,
  TakenOverByKept,
  TakenOverByAlone,
};
constexpr std::array kHappenings{"processes killed",
                                 "processes stopped",
                                 "workers killed",
                                 "daemons killed",
                                 "daemons restarted",
                                 "taken over by a kept one",
                                 "taken over by one that is alone"};

class ServedSoakTest : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_.start();
    manager_ = daemon_.connect();
    ASSERT_NE(manager_, nullptr);
    auto attached = resmgr::client::ServedAuthority::attach({.socket_path = daemon_.socket()});
    ASSERT_TRUE(attached) << attached.error().message();
    attached_.emplace(std::move(*attached));
    for (std::uint32_t i = 0; i < kSoakResources; ++i) {
      ASSERT_TRUE(manager_->register_resource("r/" + std::to_string(i), {}));
    }
    for (std::uint32_t number = 0; number < kSoakProcesses; ++number) begin(number);
  }

  void begin(std::uint32_t number) {
    marks().rings.at(number).clear();
    const std::uint64_t seed = random_();
    auto& child = children_.at(number);
    child = std::make_unique<Child>([&, number, seed](Child::Talk& talk) {
      if (talk.hear() != 'g') return 1;
      return SoakProcess(daemon_, marks(), number, seed).run();
    });
    child->say('g');
  }
  void kill(std::uint32_t number) {
    const auto pid = static_cast<std::uint32_t>(children_.at(number)->pid());
    note(number, SoakEvent::Killed);
    children_.at(number)->signal(SIGKILL);
    EXPECT_EQ(children_.at(number)->wait(), -SIGKILL)
        << "it ended by itself, of " << SIGALRM << ": it hung";
    read_log(number);
    dying_.push_back({pid, std::exchange(logs_.at(number), {})});
    count(Happening::ProcessKilled);
  }
  void stop(std::uint32_t number) {
    note(number, SoakEvent::Stopped);
    children_.at(number)->signal(SIGSTOP);
    count(Happening::ProcessStopped);
  }
  void go_on(std::uint32_t number) {
    children_.at(number)->signal(SIGCONT);
    note(number, SoakEvent::Continued);
  }
  void note(std::uint32_t number, SoakEvent what) {
    logs_.at(number).fate.push_back({.what = what, .at_ns = resmgr::monotonic_ns()});
  }
  void read_logs() {
    for (std::uint32_t number = 0; number < kSoakProcesses; ++number) read_log(number);
  }
  void read_log(std::uint32_t number) {
    std::vector<SoakEntry>& entries = logs_.at(number).entries;
    EXPECT_TRUE(marks().rings.at(number).read_into(entries)) << "a log is too short";
    const auto grant = std::ranges::find_if(entries, [](const SoakEntry& entry) {
      return entry.what == SoakEvent::Granted && entry.exclusive;
    });
    if (grant != entries.end()) a_grant_ = *grant;
  }
  /// What would be there if that was granted to another one at the same moment.
  [[nodiscard]] static SoakLog one_more_holder(SoakEntry grant) {
    SoakLog log;
    grant.deadline_ns = grant.at_ns;
    for (const SoakEvent what : {SoakEvent::Asked, SoakEvent::Granted}) {
      grant.what = what;
      log.entries.push_back(grant);
    }
    ++grant.at_ns;
    for (const SoakEvent what : {SoakEvent::Releasing, SoakEvent::Released}) {
      grant.what = what;
      log.entries.push_back(grant);
    }
    return log;
  }
  [[nodiscard]] bool has_a_place(std::uint32_t pid) const {
    const auto& t = attached_->locks.tables();
    for (std::uint32_t i = 0; i < t.client_count; ++i) {
      const auto state = resmgr::load(t.client(i)->state) & RM_CONTEXT_STATE_MASK;
      if (state != RM_CONTEXT_FREE && resmgr::load(t.client(i)->pid) == pid) return true;
    }
    return false;
  }
  /// Of the dead, those whom the domain has buried; true if that are all.
  bool close_logs_of_the_buried() {
    std::erase_if(dying_, [&](Dying& dying) {
      if (has_a_place(dying.pid)) return false;
      dying.log.fate.push_back({.what = SoakEvent::Buried, .at_ns = resmgr::monotonic_ns()});
      oracle_.add(std::move(dying.log));
      return true;
    });
    return dying_.empty();
  }
  void kill_worker() {
    const auto now = std::chrono::steady_clock::now();
    // One that lived shortly is not replaced at once.
    if (now < next_worker_ || daemon_.worker() == 0) return;
    daemon_.kill_worker();
    next_worker_ = now + kWorkerLives;
    count(Happening::WorkerKilled);
  }
  /// Then there is another one. One that is alone leaves nothing but to who takes over from it.
  void change_daemon() {
    if (std::chrono::steady_clock::now() < next_daemon_) return;
    const bool is_kept = random_() % 2 == 0;
    const bool is_asked = random_() % 2 == 0;
    meanwhile_reading(
        [&] { daemon_.is_alone() ? take_over(is_kept) : restart(is_kept, is_asked); });
    next_daemon_ = std::chrono::steady_clock::now() + kDaemonLives;
    next_worker_ = std::chrono::steady_clock::now() + kWorkerLives;
  }
  void take_over(bool is_kept) {
    const auto next = is_kept ? FakeManager::Next::Kept : FakeManager::Next::Alone;
    EXPECT_EQ(daemon_.take_over(next), 0);
    count(is_kept ? Happening::TakenOverByKept : Happening::TakenOverByAlone);
  }
  void restart(bool is_kept, bool is_asked) {
    if (is_asked) {
      EXPECT_EQ(daemon_.stop(), 0);
    } else {
      daemon_.crash();
    }
    count(is_asked ? Happening::DaemonRestarted : Happening::DaemonKilled);
    is_kept ? daemon_.start() : daemon_.start_alone();
  }
  /// Logs are read, for their writers go on.
  void meanwhile_reading(const std::function<void()>& change) {
    std::atomic<bool> changed = false;
    std::thread changing([&] {
      change();
      changed = true;
    });
    while (!changed) {
      read_logs();
      ::usleep(1000);
    }
    changing.join();
  }
  void count(Happening what) { ++counts_.at(static_cast<std::size_t>(what)); }
  [[nodiscard]] SoakMarks& marks() const { return *shared_; }

  std::mt19937_64 random_{resmgr::test::seed()};
  // Short, so that what the dead own is both kept and destroyed.
  const TemporaryFile config_{"[grace]\nowner = \"100ms\"\n"};
  FakeManager daemon_{{"--config", config_.path()}};
  const resmgr::test::SharedBlock<SoakMarks> shared_;
  std::unique_ptr<ResourceManager> manager_;
  std::array<std::unique_ptr<Child>, kSoakProcesses> children_;
  std::chrono::steady_clock::time_point next_worker_;
  std::chrono::steady_clock::time_point next_daemon_;
  struct Dying {
    std::uint32_t pid;
    SoakLog log;
  };
  std::optional<resmgr::client::ServedAuthority::Attached> attached_;  ///< to look
  std::array<SoakLog, kSoakProcesses> logs_;
  std::vector<Dying> dying_;
  std::optional<SoakEntry> a_grant_;  ///< any exclusive one
  SoakOracle oracle_{kGraceNs};
  std::array<std::uint64_t, kHappenings.size()> counts_{};
};

TEST_F(ServedSoakTest, WhoeverDiesTheOthersGoOn) {
  const auto end = std::chrono::steady_clock::now() + duration();
  while (std::chrono::steady_clock::now() < end && marks().violation.load() == 0 && !HasFailure()) {
    // The moment is the test's input, not an order it relies on.
    ::usleep(static_cast<useconds_t>(random_() % 5000));
    const auto number = static_cast<std::uint32_t>(random_() % kSoakProcesses);
    const auto other = (number + 1) % kSoakProcesses;
    switch (random_() % 4) {
      case 0:
        stop(other);
        kill(number);
        if (random_() % 2 == 0) kill_worker();
        if (random_() % 2 == 0) change_daemon();
        go_on(other);
        begin(number);
        break;
      case 1:
        kill_worker();
        change_daemon();
        break;
      default:
        kill(number);
        begin(number);
    }
    read_logs();
    (void)close_logs_of_the_buried();
  }
  marks().over.store(true);
  for (std::uint32_t number = 0; number < kSoakProcesses; ++number) {
    EXPECT_EQ(children_.at(number)->wait(), 0) << -SIGALRM << ": it waits for ever";
    read_log(number);
    oracle_.add(std::move(logs_.at(number)));
  }
  EXPECT_TRUE(eventually([&] { return close_logs_of_the_buried(); }));
  EXPECT_EQ(marks().violation.load(), 0) << "the line; the error: " << marks().error.load();
  constexpr std::size_t kEnough = 10;
  const auto violations = oracle_.judge();
  for (const std::string& violation : violations | std::views::take(kEnough)) {
    ADD_FAILURE() << violation;
  }
  const SoakOracle::Counts counts = oracle_.counts();
  EXPECT_GT(counts.died_holding, 0u) << "no holder was met";
  EXPECT_GT(counts.told, 0u);
  // It would have seen one who has what another one has.
  ASSERT_TRUE(a_grant_);
  oracle_.add(one_more_holder(*a_grant_));
  EXPECT_TRUE(std::ranges::any_of(oracle_.judge(), [](const std::string& violation) {
    return violation.find("I1") != std::string::npos;
  })) << "an overlap is not found";
  EXPECT_GT(counts.look_ups, 0u);
  for (std::size_t i = 0; i < kHappenings.size(); ++i) {
    std::cout << counts_.at(i) << " " << kHappenings.at(i) << '\n';
    if (duration() >= kLong) {
      EXPECT_GT(counts_.at(i), 0u) << kHappenings.at(i);
    }
  }
  for (std::uint32_t i = 0; i < kSoakResources; ++i) {
    const Handle handle = manager_->find("r/" + std::to_string(i)).value();
    EXPECT_TRUE(manager_->acquire_scoped_resource(
        handle, {.mode = AcquisitionMode::Timeout, .timeout = 10s}))
        << "r/" << i;
  }
  EXPECT_TRUE(eventually([&] { return manager_->holds().value().empty(); }));
  EXPECT_TRUE(eventually([&] { return manager_->size() == kSoakResources; })) << "orphans stay";
  std::cout << counts.grants << " grants, " << counts.refusals << " refusals, "
            << marks().deadlocks.load() << " deadlocks, " << counts.died_holding
            << " died holding, " << counts.told << " were told, " << counts.look_ups
            << " looked up, latest by " << counts.latest_ns / 1000 << " us\n";
  EXPECT_EQ(daemon_.stop(), 0);
}

}  // namespace
}  // namespace hal::test
