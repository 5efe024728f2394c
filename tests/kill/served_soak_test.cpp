// SPDX-License-Identifier: Apache-2.0
//
// Many processes on a real resmgrd that do everything clients do, and die of SIGKILL wherever they
// are, or stop and go on, as do the daemon's worker, and worker and keeper together, after which
// another daemon begins with what the service manager kept (I1, I3 to I6). Each writes down what it
// asks for, has and lets go, and an oracle judges all of it afterwards, across all daemons; what
// needs the daemon must succeed though it dies; in the end everything is free and nobody is stuck.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
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

namespace hal::test {
namespace {

using namespace std::chrono_literals;
using resmgr::test::SoakEntry;
using resmgr::test::SoakEvent;
using resmgr::test::SoakLog;
using resmgr::test::SoakOracle;
using resmgr::test::SoakRing;

constexpr std::uint32_t kProcesses = 16;
constexpr std::uint32_t kResources = 6;
/// Nothing takes longer unless it hangs, whoever is killed: the alarm ends it.
constexpr unsigned kPatienceSeconds = 30;
constexpr auto kWorkerLives = 200ms;
constexpr auto kKeeperLives = 1s;
constexpr std::uint32_t kLongestHoldUs = 500;
/// What a machine that has too much to do may make an outcome late by.
constexpr std::uint64_t kGraceNs = 10'000'000'000;

std::chrono::seconds duration() {
  const char* const given = std::getenv("RESMGR_SECONDS");
  return std::chrono::seconds(given ? std::strtol(given, nullptr, 10) : 10);
}

/// What the processes tell each other, and whoever comes after them.
struct Marks {
  struct Resource {
    std::atomic<std::uint64_t> guarded{0};   ///< changed by exclusive holders, in two steps
    std::atomic<std::uint64_t> mirrored{0};  ///< the second one
  };
  std::array<Resource, kResources> resources;
  std::array<SoakRing, kProcesses> rings;
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> deadlocks{0};
  std::atomic<int> violation{0};  ///< the line of the first
  std::atomic<int> error{-1};     ///< and the error behind it, if any

  void blame(int line, int code = -1) {
    int none = 0;
    if (violation.compare_exchange_strong(none, line)) error.store(code);
  }
};

/// One process: does what clients do until it is told to end, or killed.
class Worker {
 public:
  Worker(const FakeManager& daemon, Marks& marks, std::uint32_t number, std::uint64_t seed)
      : daemon_(daemon),
        marks_(marks),
        log_(marks.rings.at(number)),
        number_(number),
        random_(seed) {}

  int run() {
    ::alarm(kPatienceSeconds);
    // The worker that is asked may die before it answers; a first connection is made once.
    while (!manager_) manager_ = daemon_.connect();
    for (std::uint32_t i = 0; i < kResources; ++i) {
      handles_.at(i) = manager_->find("r/" + std::to_string(i)).value();
    }
    driver_ = manager_->register_driver("soak-" + std::to_string(number_)).value();
    while (!marks_.over.load()) {
      ::alarm(kPatienceSeconds);
      if (pick(8) == 0) {
        own_something();
      } else {
        const std::uint32_t first = pick(kResources);
        // Sometimes a second one, in no order: cycles are among what is killed in.
        hold(first, [&] {
          // Long enough to be met by who kills.
          if (pick(4) == 0) ::usleep(pick(kLongestHoldUs));
          if (pick(3) == 0) hold((first + 1 + pick(kResources - 1)) % kResources, [] {});
        });
      }
    }
    ::alarm(kPatienceSeconds);
    manager_.reset();
    return 0;
  }

 private:
  [[nodiscard]] std::uint32_t pick(std::uint32_t below) {
    return static_cast<std::uint32_t>(random_() % below);
  }

  [[nodiscard]] AcquireOptions any_options() {
    constexpr std::uint32_t kLongestUs = 5'000;
    AcquireOptions options{.kind = pick(3) == 0 ? HoldKind::Shared : HoldKind::Exclusive};
    switch (pick(4)) {
      case 0:
        break;
      case 1:
        options.mode = AcquisitionMode::Timeout;
        options.timeout = std::chrono::microseconds(pick(kLongestUs));
        break;
      default:
        options.mode = AcquisitionMode::Blocking;
    }
    return options;
  }

  /// When the outcome is due.
  [[nodiscard]] static std::uint64_t deadline_of(const AcquireOptions& options) {
    constexpr std::uint64_t kSecond = 1'000'000'000;
    const std::uint64_t now = resmgr::monotonic_ns();
    if (options.mode == AcquisitionMode::NonBlocking) return now;
    if (options.mode == AcquisitionMode::Blocking) return now + kPatienceSeconds * kSecond;
    return now + static_cast<std::uint64_t>(options.timeout.count());
  }

  template <typename Meanwhile>
  void hold(std::uint32_t number, Meanwhile&& meanwhile) {
    const AcquireOptions options = any_options();
    SoakEntry entry{.resource = static_cast<std::uint8_t>(number),
                    .exclusive = options.kind == HoldKind::Exclusive};
    const auto write = [&](SoakEvent what) {
      entry.what = what;
      log_.write(entry);
    };
    entry.deadline_ns = deadline_of(options);
    write(SoakEvent::Asked);
    auto grant = manager_->acquire_scoped_resource(handles_.at(number), options);
    entry.inconsistent = grant && grant->inconsistent();
    write(grant ? SoakEvent::Granted : SoakEvent::Refused);
    if (!grant) return check_refusal(grant.error());
    Marks::Resource& mark = marks_.resources.at(number);
    if (entry.exclusive && entry.inconsistent) {
      mark.mirrored.store(mark.guarded.load());
      if (!grant->consistent()) marks_.blame(__LINE__);
      write(SoakEvent::Repaired);
    }
    const bool is_whole = entry.exclusive || !entry.inconsistent;
    if (is_whole && mark.guarded.load() != mark.mirrored.load()) marks_.blame(__LINE__);
    if (entry.exclusive) mark.guarded.fetch_add(1);
    meanwhile();
    if (entry.exclusive) mark.mirrored.fetch_add(1);
    write(SoakEvent::Releasing);
    if (auto released = grant->release(); !released) {
      marks_.blame(__LINE__, static_cast<int>(code_of(released.error())));
    }
    write(SoakEvent::Released);
  }

  void check_refusal(const Error& error) {
    if (error == ErrorCode::Deadlock) marks_.deadlocks.fetch_add(1);
    if (error == ErrorCode::Deadlock || error == ErrorCode::WouldBlock ||
        error == ErrorCode::TimedOut) {
      return;
    }
    marks_.blame(__LINE__, static_cast<int>(code_of(error)));
  }

  // All of it is asked of the daemon, and done once, however often its worker dies meanwhile.
  void own_something() {
    const std::string name = "own/" + std::to_string(::getpid());
    UniqueFd file(::memfd_create("soak", MFD_CLOEXEC));
    constexpr std::uint64_t kBytes = 4096;
    if (::ftruncate(file.get(), kBytes) != 0) return;
    const auto made =
        manager_->register_resource(name, {.size_bytes = kBytes, .flags = ResourceFlags::Shareable},
                                    {.driver = driver_, .fd = std::move(file)});
    if (!made) return marks_.blame(__LINE__, static_cast<int>(code_of(made.error())));
    const auto expect = [&](const auto& result, int line) {
      if (!result) marks_.blame(line, static_cast<int>(code_of(result.error())));
    };
    expect(manager_->map(*made, driver_), __LINE__);
    const DriverId other = manager_->register_driver("soak-other").value();
    expect(manager_->share_resource(*made, driver_, other, Rights::Read), __LINE__);
    expect(manager_->add_dependency(*made, handles_.at(pick(kResources))), __LINE__);
    if (manager_->find(name).value_or(Handle()) != *made) marks_.blame(__LINE__);
    expect(manager_->try_acquire(*made), __LINE__);
    expect(manager_->unregister_resource(*made), __LINE__);
  }

  [[nodiscard]] static ErrorCode code_of(const Error& error) { return error.code(); }

  const FakeManager& daemon_;
  Marks& marks_;
  SoakRing& log_;
  std::uint32_t number_;
  std::mt19937_64 random_;
  std::unique_ptr<ResourceManager> manager_;
  std::array<Handle, kResources> handles_;
  DriverId driver_;
};

class ServedSoakTest : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_.start();
    manager_ = daemon_.connect();
    ASSERT_NE(manager_, nullptr);
    auto attached = resmgr::client::ServedAuthority::attach({.socket_path = daemon_.socket()});
    ASSERT_TRUE(attached) << attached.error().message();
    attached_.emplace(std::move(*attached));
    for (std::uint32_t i = 0; i < kResources; ++i) {
      ASSERT_TRUE(manager_->register_resource("r/" + std::to_string(i), {}));
    }
    for (std::uint32_t number = 0; number < kProcesses; ++number) begin(number);
  }

  void begin(std::uint32_t number) {
    marks().rings.at(number).clear();
    const std::uint64_t seed = random_();
    auto& child = children_.at(number);
    child = std::make_unique<Child>([&, number, seed](Child::Talk& talk) {
      if (talk.hear() != 'g') return 1;
      return Worker(daemon_, marks(), number, seed).run();
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
    ++kills_;
  }
  void note(std::uint32_t number, SoakEvent what) {
    logs_.at(number).fate.push_back({.what = what, .at_ns = resmgr::monotonic_ns()});
  }
  void read_logs() {
    for (std::uint32_t number = 0; number < kProcesses; ++number) read_log(number);
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
    ++workers_;
  }
  /// Both processes, or the service is restarted; then there is another one.
  void end_daemon() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_keeper_) return;
    // Logs are read meanwhile, for their writers go on.
    std::atomic<bool> begun = false;
    std::thread beginning([&] {
      if (keepers_ % 4 == 3) {
        EXPECT_EQ(daemon_.stop(), 0);
      } else {
        daemon_.crash();
      }
      daemon_.start();
      begun = true;
    });
    while (!begun) {
      read_logs();
      ::usleep(1000);
    }
    beginning.join();
    ++keepers_;
    next_keeper_ = std::chrono::steady_clock::now() + kKeeperLives;
    next_worker_ = std::chrono::steady_clock::now() + kWorkerLives;
  }
  [[nodiscard]] Marks& marks() const { return *shared_; }

  std::mt19937_64 random_{resmgr::test::seed()};
  // Short, so that what the dead own is both kept and destroyed.
  const TemporaryFile config_{"[grace]\nowner = \"100ms\"\n"};
  FakeManager daemon_{{"--config", config_.path()}};
  const resmgr::test::SharedBlock<Marks> shared_;
  std::unique_ptr<ResourceManager> manager_;
  std::array<std::unique_ptr<Child>, kProcesses> children_;
  std::chrono::steady_clock::time_point next_worker_;
  std::chrono::steady_clock::time_point next_keeper_;
  struct Dying {
    std::uint32_t pid;
    SoakLog log;
  };
  std::optional<resmgr::client::ServedAuthority::Attached> attached_;  ///< to look
  std::array<SoakLog, kProcesses> logs_;
  std::vector<Dying> dying_;
  std::optional<SoakEntry> a_grant_;  ///< any exclusive one
  SoakOracle oracle_{kGraceNs};
  std::uint64_t kills_ = 0;
  std::uint64_t workers_ = 0;
  std::uint64_t keepers_ = 0;
};

TEST_F(ServedSoakTest, WhoeverDiesTheOthersGoOn) {
  const auto end = std::chrono::steady_clock::now() + duration();
  while (std::chrono::steady_clock::now() < end && marks().violation.load() == 0 && !HasFailure()) {
    // The moment is the test's input, not an order it relies on.
    ::usleep(static_cast<useconds_t>(random_() % 5000));
    const auto number = static_cast<std::uint32_t>(random_() % kProcesses);
    const auto other = (number + 1) % kProcesses;
    switch (random_() % 4) {
      case 0:
        note(other, SoakEvent::Stopped);
        children_.at(other)->signal(SIGSTOP);
        kill(number);
        if (random_() % 2 == 0) kill_worker();
        if (random_() % 2 == 0) end_daemon();
        children_.at(other)->signal(SIGCONT);
        note(other, SoakEvent::Continued);
        begin(number);
        break;
      case 1:
        kill_worker();
        end_daemon();
        break;
      default:
        kill(number);
        begin(number);
    }
    read_logs();
    (void)close_logs_of_the_buried();
  }
  marks().over.store(true);
  for (std::uint32_t number = 0; number < kProcesses; ++number) {
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
  EXPECT_GT(workers_, 0u);
  EXPECT_GT(keepers_, 0u);
  for (std::uint32_t i = 0; i < kResources; ++i) {
    const Handle handle = manager_->find("r/" + std::to_string(i)).value();
    EXPECT_TRUE(manager_->acquire_scoped_resource(
        handle, {.mode = AcquisitionMode::Timeout, .timeout = 10s}))
        << "r/" << i;
  }
  EXPECT_TRUE(eventually([&] { return manager_->holds().value().empty(); }));
  EXPECT_TRUE(eventually([&] { return manager_->size() == kResources; })) << "orphans stay";
  std::cout << kills_ << " kills, " << workers_ << " of workers, " << keepers_ << " daemons ended, "
            << counts.grants << " grants, " << counts.refusals << " refusals, "
            << marks().deadlocks.load() << " deadlocks, " << counts.died_holding
            << " died holding, " << counts.told << " were told, latest by "
            << counts.latest_ns / 1000 << " us\n";
  EXPECT_EQ(daemon_.stop(), 0);
}

}  // namespace
}  // namespace hal::test
