// SPDX-License-Identifier: Apache-2.0
//
// Many processes on a real resmgrd that do everything clients do, and die of SIGKILL wherever they
// are, or stop and go on, as does the daemon's worker (I1, I3 to I6). Who holds leaves his mark
// beside the resource, so that two at a time would see each other; what needs the daemon must
// succeed though its worker dies; in the end everything is free and nobody is stuck.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <new>
#include <random>
#include <sstream>
#include <string>
#include <thread>

#include "tests/base/seed.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kProcesses = 16;
constexpr std::uint32_t kResources = 6;
/// Nothing takes longer unless it hangs, whoever is killed: the alarm ends it.
constexpr unsigned kPatienceSeconds = 30;
constexpr auto kWorkerLives = 200ms;
constexpr std::uint32_t kLongestHoldUs = 500;

std::chrono::seconds duration() {
  const char* const given = std::getenv("RESMGR_SECONDS");
  return std::chrono::seconds(given ? std::strtol(given, nullptr, 10) : 10);
}

/// What the processes tell each other beside the domain.
struct Marks {
  struct Resource {
    std::atomic<std::int32_t> holder{0};     ///< pid, exclusive
    std::atomic<std::uint32_t> readers{0};   ///< a bit for each process
    std::atomic<std::uint64_t> guarded{0};   ///< changed by exclusive holders, in two steps
    std::atomic<std::uint64_t> mirrored{0};  ///< the second one
  };
  struct Process {
    std::atomic<std::int32_t> pid{0};
    std::atomic<std::uint64_t> acquired{0};
    std::atomic<std::uint64_t> released{0};
    std::atomic<std::uint64_t> calls{0};
  };
  std::array<Resource, kResources> resources;
  std::array<Process, kProcesses> processes;
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> repaired{0};  ///< holds of the dead that a successor was told of
  std::atomic<std::uint64_t> deadlocks{0};
  std::atomic<int> violation{0};  ///< the line of the first
  std::atomic<int> error{-1};     ///< and the error behind it, if any

  void blame(int line, int code = -1) {
    int none = 0;
    if (violation.compare_exchange_strong(none, line)) error.store(code);
  }
};

struct SharedMarks {
  SharedMarks() {
    void* const memory =
        ::mmap(nullptr, sizeof(Marks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    marks = ::new (memory) Marks();
  }
  SharedMarks(const SharedMarks&) = delete;
  SharedMarks& operator=(const SharedMarks&) = delete;
  ~SharedMarks() { ::munmap(marks, sizeof(Marks)); }

  Marks* marks = nullptr;
};

// It does nothing any more: a zombie, or one on the way there, whose connection may be closed
// already.
bool is_dead(std::int32_t pid) {
  constexpr unsigned kExiting = 4;  // PF_EXITING
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return true;
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  char state = 'X';
  std::array<std::string, 5> between;  // parent, group, session, terminal and its group
  unsigned flags = kExiting;
  fields >> state;
  for (std::string& field : between) fields >> field;
  fields >> flags;
  return state == 'Z' || state == 'X' || (flags & kExiting) != 0;
}

/// One process: does what clients do until it is told to end, or killed.
class Worker {
 public:
  Worker(const Daemon& daemon, Marks& marks, std::uint32_t number, std::uint64_t seed)
      : daemon_(daemon), marks_(marks), number_(number), random_(seed) {}

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
      me().calls.fetch_add(1);
    }
    ::alarm(kPatienceSeconds);
    manager_.reset();
    return 0;
  }

 private:
  [[nodiscard]] std::uint32_t pick(std::uint32_t below) {
    return static_cast<std::uint32_t>(random_() % below);
  }
  [[nodiscard]] Marks::Process& me() { return marks_.processes.at(number_); }

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

  template <typename Meanwhile>
  void hold(std::uint32_t number, Meanwhile&& meanwhile) {
    auto grant = manager_->acquire_scoped_resource(handles_.at(number), any_options());
    if (!grant) return check_refusal(grant.error());
    me().acquired.fetch_add(1);
    Marks::Resource& mark = marks_.resources.at(number);
    if (grant->kind() == HoldKind::Exclusive) {
      hold_alone(mark, *grant, meanwhile);
    } else {
      const std::uint32_t bit = 1u << number_;
      mark.readers.fetch_or(bit);
      if (is_alive(mark.holder.load())) marks_.blame(__LINE__);
      meanwhile();
      if (is_alive(mark.holder.load())) marks_.blame(__LINE__);
      mark.readers.fetch_and(~bit);
    }
    if (auto released = grant->release(); !released) {
      marks_.blame(__LINE__, static_cast<int>(code_of(released.error())));
    }
    me().released.fetch_add(1);
  }

  template <typename Meanwhile>
  void hold_alone(Marks::Resource& mark, ScopedResource& grant, Meanwhile&& meanwhile) {
    const std::int32_t mine = ::getpid();
    const std::int32_t before = mark.holder.exchange(mine);
    // One who died with his mark set died holding, and that is told.
    if (before != 0 && !(grant.inconsistent() && is_dead(before))) marks_.blame(__LINE__);
    if (someone_reads(mark)) marks_.blame(__LINE__);
    if (grant.inconsistent()) {
      marks_.repaired.fetch_add(1);
      mark.mirrored.store(mark.guarded.load());
      if (!grant.consistent()) marks_.blame(__LINE__);
    }
    if (mark.guarded.load() != mark.mirrored.load()) marks_.blame(__LINE__);
    mark.guarded.fetch_add(1);
    meanwhile();
    mark.mirrored.fetch_add(1);
    std::int32_t still = mine;
    if (!mark.holder.compare_exchange_strong(still, 0)) marks_.blame(__LINE__);
  }

  [[nodiscard]] static bool is_alive(std::int32_t pid) { return pid != 0 && !is_dead(pid); }

  // The bits of the dead stay until somebody takes their place.
  [[nodiscard]] bool someone_reads(const Marks::Resource& mark) const {
    for (std::uint32_t i = 0; i < kProcesses; ++i) {
      const std::uint32_t bit = 1u << i;
      const std::int32_t pid = marks_.processes.at(i).pid.load();
      if ((mark.readers.load() & bit) == 0 || is_dead(pid)) continue;
      if ((mark.readers.load() & bit) != 0 && marks_.processes.at(i).pid.load() == pid) return true;
    }
    return false;
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

  const Daemon& daemon_;
  Marks& marks_;
  std::uint32_t number_;
  std::mt19937_64 random_;
  std::unique_ptr<ResourceManager> manager_;
  std::array<Handle, kResources> handles_;
  DriverId driver_;
};

class ServedSoakTest : public ::testing::Test {
 protected:
  void SetUp() override {
    manager_ = daemon_.connect();
    ASSERT_NE(manager_, nullptr);
    for (std::uint32_t i = 0; i < kResources; ++i) {
      ASSERT_TRUE(manager_->register_resource("r/" + std::to_string(i), {}));
    }
    for (std::uint32_t number = 0; number < kProcesses; ++number) begin(number);
  }

  void begin(std::uint32_t number) {
    for (Marks::Resource& mark : marks().resources) mark.readers.fetch_and(~(1u << number));
    const std::uint64_t seed = random_();
    auto& child = children_.at(number);
    child = std::make_unique<Child>([&, number, seed](Child::Talk& talk) {
      if (talk.hear() != 'g') return 1;
      return Worker(daemon_, marks(), number, seed).run();
    });
    // Known before it can hold anything.
    marks().processes.at(number).pid.store(child->pid());
    child->say('g');
  }
  void kill(std::uint32_t number) {
    children_.at(number)->signal(SIGKILL);
    EXPECT_EQ(children_.at(number)->wait(), -SIGKILL)
        << "it ended by itself, of " << SIGALRM << ": it hung";
    ++kills_;
  }
  void kill_worker() {
    const auto now = std::chrono::steady_clock::now();
    // One that lived shortly is not replaced at once.
    if (now < next_worker_ || daemon_.worker() == 0) return;
    daemon_.kill_worker();
    next_worker_ = now + kWorkerLives;
    ++workers_;
  }
  [[nodiscard]] Marks& marks() const { return *shared_.marks; }

  std::mt19937_64 random_{resmgr::test::seed()};
  // Short, so that what the dead own is both kept and destroyed.
  const TemporaryFile config_{"[grace]\nowner = \"100ms\"\n"};
  Daemon daemon_{{"--config", config_.path()}};
  SharedMarks shared_;
  std::unique_ptr<ResourceManager> manager_;
  std::array<std::unique_ptr<Child>, kProcesses> children_;
  std::chrono::steady_clock::time_point next_worker_;
  std::uint64_t kills_ = 0;
  std::uint64_t workers_ = 0;
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
        children_.at(other)->signal(SIGSTOP);
        kill(number);
        if (random_() % 2 == 0) kill_worker();
        children_.at(other)->signal(SIGCONT);
        begin(number);
        break;
      case 1:
        kill_worker();
        break;
      default:
        kill(number);
        begin(number);
    }
  }
  marks().over.store(true);
  std::uint64_t acquired = 0;
  std::uint64_t released = 0;
  for (std::uint32_t number = 0; number < kProcesses; ++number) {
    EXPECT_EQ(children_.at(number)->wait(), 0) << -SIGALRM << ": it waits for ever";
    acquired += marks().processes.at(number).acquired.load();
    released += marks().processes.at(number).released.load();
  }
  EXPECT_EQ(marks().violation.load(), 0) << "the line; the error: " << marks().error.load();
  // Each of the dead held two at most.
  EXPECT_GE(acquired, released);
  EXPECT_LE(acquired, released + 2 * kills_);
  EXPECT_GT(marks().repaired.load(), 0u) << "no holder was met";
  EXPECT_GT(workers_, 0u);
  for (std::uint32_t i = 0; i < kResources; ++i) {
    const Handle handle = manager_->find("r/" + std::to_string(i)).value();
    EXPECT_TRUE(manager_->acquire_scoped_resource(
        handle, {.mode = AcquisitionMode::Timeout, .timeout = 10s}))
        << "r/" << i;
  }
  EXPECT_TRUE(eventually([&] { return manager_->holds().value().empty(); }));
  EXPECT_TRUE(eventually([&] { return manager_->size() == kResources; })) << "orphans stay";
  std::cout << kills_ << " kills, " << workers_ << " of workers, " << acquired << " grants, "
            << marks().repaired.load() << " of what a dead one held, " << marks().deadlocks.load()
            << " deadlocks\n";
  EXPECT_EQ(daemon_.stop(), 0);
}

}  // namespace
}  // namespace hal::test
