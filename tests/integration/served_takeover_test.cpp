// SPDX-License-Identifier: Apache-2.0
//
// A domain that outlives both of resmgrd's processes, by what the service manager kept of it.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "resmgr/abi/region_header.hpp"
#include "tests/integration/fake_manager.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMemoryBytes = 4096;

UniqueFd memory() {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), kMemoryBytes), 0);
  return fd;
}

/// What the processes of a test see of each other, besides the domain.
struct Marks {
  std::atomic<std::uint32_t> holder{0};  ///< who has the resource; 0: nobody
  std::atomic<bool> granted_twice{false};
  std::atomic<bool> failed{false};
  std::array<std::atomic<std::uint64_t>, 4> rounds{};
};

class SharedMarks {
 public:
  SharedMarks()
      : marks_(new(::mmap(nullptr, sizeof(Marks), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Marks) {}
  ~SharedMarks() { ::munmap(marks_, sizeof(Marks)); }
  SharedMarks(const SharedMarks&) = delete;
  SharedMarks& operator=(const SharedMarks&) = delete;
  Marks* operator->() const noexcept { return marks_; }

 private:
  Marks* marks_;
};

class ServedTakeoverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    manager.start();
    client = manager.connect({.on_connection = [this](ConnectionState state) {
      if (state == ConnectionState::Restored) ++restored;
      if (state == ConnectionState::Ended) ended = true;
    }});
    ASSERT_NE(client, nullptr);
    handle = client->register_resource("r", {}).value();
  }

  [[nodiscard]] FakeManager::Stored& registry() {
    FakeManager::Stored* const stored = manager.stored("registry.");
    EXPECT_NE(stored, nullptr) << "none, or several";
    return stored ? *stored : nothing_;
  }

  const TemporaryFile config{
      "[[attach]]\nusers = [\"root\", 65534]\nallow = true\n"
      "[[driver]]\nname = \"*\"\n"
      "[operators]\nusers = [65534]\n"
      "[domain]\nslots = 1024\n"};
  FakeManager manager{{"--config", config.path()}};
  std::unique_ptr<ResourceManager> client;
  std::atomic<int> restored{0};
  std::atomic<bool> ended{false};
  Handle handle;

 private:
  FakeManager::Stored nothing_;
};

// ---- clients that go on -------------------------------------------------------------------------

// Takes the resource and lets it go until it is told to end, without asking any daemon.
int take_turns(ResourceManager& theirs, Handle handle, Marks& marks, std::uint32_t me,
               const Child::Talk& talk) {
  talk.say('r');
  std::atomic<bool> over = false;
  std::thread listener([&] { over = talk.hear() != 0; });
  while (!over) {
    auto hold = theirs.acquire_scoped_resource(handle);
    if (!hold || hold->inconsistent()) {
      marks.failed = true;
      break;
    }
    std::uint32_t nobody = 0;
    if (!marks.holder.compare_exchange_strong(nobody, me)) marks.granted_twice = true;
    ++marks.rounds[me];
    marks.holder = 0;
  }
  listener.join();
  return marks.failed ? 10 : 0;
}

// What an old client does with its drivers and resources afterwards.
int share_mine(ResourceManager& theirs, const Child::Talk& talk, const std::string& name,
               const std::string& other) {
  const auto driver = theirs.register_driver(name);
  const auto their_driver = theirs.register_driver(other);
  if (!driver || !their_driver) return 20;
  auto mine = theirs.register_resource(
      name, {.size_bytes = kMemoryBytes, .flags = ResourceFlags::Shareable},
      {.driver = *driver, .fd = memory()});
  if (!mine) return 21;
  if (!theirs.share_resource(*mine, *driver, *their_driver, Rights::Read)) return 22;
  const auto before = theirs.budget(ResourceType::Custom, *driver);
  if (!before || before->used != 1) return 29;
  if (!theirs.set_budget(ResourceType::Custom, {.max = 2}, *driver)) return 30;
  if (!theirs.register_resource(name + "/more", {}, {.driver = *driver})) return 31;
  const auto too_much = theirs.register_resource(name + "/most", {}, {.driver = *driver});
  if (too_much || too_much.error() != ErrorCode::BudgetExceeded) return 32;
  talk.say('s');
  if (talk.hear() != 'g') return 23;
  const auto found = theirs.find(other);
  if (!found || !theirs.map(*found, *driver)) return 24;
  if (!theirs.acquire_scoped_resource(*found)) return 25;
  talk.say('a');
  if (talk.hear() != 'e') return 26;
  if (!theirs.unshare_resource(*mine, *driver, *their_driver)) return 27;
  return theirs.unregister_resource(*mine) ? 0 : 28;
}

TEST_F(ServedTakeoverTest, ClientsGoOnWhoeverIsKilled) {
  const SharedMarks marks;
  const auto run = [&](std::uint32_t me, const char* name, const char* other) {
    return std::make_unique<Child>([this, &marks, me, name, other](Child::Talk& talk) {
      if (::geteuid() == 0 && !become_nobody()) return 1;
      auto theirs = manager.connect();
      if (!theirs) return 2;
      if (const int status = take_turns(*theirs, handle, *marks.operator->(), me, talk)) {
        return status;
      }
      return share_mine(*theirs, talk, name, other);
    });
  };
  const auto one = run(1, "one", "two");
  const auto two = run(2, "two", "one");
  ASSERT_EQ(one->hear(), 'r');
  ASSERT_EQ(two->hear(), 'r');
  const auto both_go_on = [&] {
    const std::array<std::uint64_t, 2> before{marks->rounds[1], marks->rounds[2]};
    return eventually([&] {
      return marks->failed ||
             (marks->rounds[1] > before[0] + 100 && marks->rounds[2] > before[1] + 100);
    });
  };
  EXPECT_TRUE(both_go_on());
  manager.kill_worker();
  EXPECT_TRUE(both_go_on());
  manager.crash();
  EXPECT_TRUE(both_go_on()) << "while there is no daemon";
  manager.start();
  EXPECT_TRUE(both_go_on());
  EXPECT_EQ(manager.stop(), 0);
  manager.start();
  EXPECT_TRUE(both_go_on());
  one->say('e');
  two->say('e');
  EXPECT_EQ(one->hear(), 's');
  EXPECT_EQ(two->hear(), 's');
  one->say('g');
  two->say('g');
  EXPECT_EQ(one->hear(), 'a');
  EXPECT_EQ(two->hear(), 'a');
  one->say('e');
  two->say('e');
  EXPECT_EQ(one->wait(), 0);
  EXPECT_EQ(two->wait(), 0);
  EXPECT_FALSE(marks->granted_twice);
  EXPECT_FALSE(marks->failed);
  EXPECT_FALSE(ended);
}

TEST_F(ServedTakeoverTest, WhatWasRegisteredIsThereWithItsFilesAndRights) {
  const DriverId mine = client->register_driver("producer").value();
  const DriverId theirs = client->register_driver("consumer").value();
  const Handle frame =
      client
          ->register_resource("frame",
                              {.size_bytes = kMemoryBytes, .flags = ResourceFlags::Shareable},
                              {.driver = mine, .fd = memory()})
          .value();
  ASSERT_TRUE(client->share_resource(frame, mine, theirs, Rights::Read));
  std::memcpy(client->map(frame).value().data(), "hello", 6);
  manager.crash();
  manager.start();
  // Of an old client, which has it back without asking for it.
  EXPECT_TRUE(eventually([&] { return restored == 1; }));
  EXPECT_EQ(client->find("frame").value(), frame);
  const Handle late = client->register_resource("late", {}).value();
  Child reader([&](Child::Talk&) {
    auto other = manager.connect();
    const DriverId driver = other->register_driver("consumer").value();
    const auto found = other->find("frame");
    if (!found || *found != frame) return 1;
    const auto seen = other->map(frame, driver);
    if (!seen) return 2;
    if (std::memcmp(seen->data(), "hello", 6) != 0) return 3;
    return other->find("late").value() == late ? 0 : 4;
  });
  EXPECT_EQ(reader.wait(), 0);
  ASSERT_TRUE(client->unshare_resource(frame, mine, theirs));
  EXPECT_TRUE(client->unregister_resource(frame));
  EXPECT_TRUE(client->find("frame").error() == ErrorCode::NotFound);
  EXPECT_EQ(manager.stop(), 0);
  EXPECT_EQ(manager.stored("file."), nullptr) << "it is kept although nobody has it";
  EXPECT_EQ(registry().name, "registry.2");
}

TEST_F(ServedTakeoverTest, WhoWaitsIsGrantedByWhomHeWaitsFor) {
  auto mine = client->try_acquire(handle);
  ASSERT_TRUE(mine);
  Child waiter([this](Child::Talk& talk) {
    auto theirs = manager.connect();
    talk.say('w');
    return theirs && theirs->acquire_scoped_resource(handle) ? 0 : 1;
  });
  ASSERT_EQ(waiter.hear(), 'w');
  ASSERT_TRUE(eventually([&] { return client->get_resource_stats(handle).value().waiting == 1; }));
  manager.crash();
  manager.start();
  mine = {};
  EXPECT_EQ(waiter.wait(), 0);
}

TEST_F(ServedTakeoverTest, WhoDiesWhileThereIsNoDaemonIsBuriedByTheNext) {
  Child holder([this](Child::Talk& talk) {
    auto theirs = manager.connect();
    auto hold = theirs->try_acquire(handle);
    talk.say(hold ? 'h' : 'x');
    return static_cast<int>(talk.hear());
  });
  ASSERT_EQ(holder.hear(), 'h');
  manager.crash();
  holder.signal(SIGKILL);
  EXPECT_EQ(holder.wait(), -SIGKILL);
  EXPECT_EQ(client->try_acquire(handle).error(), ErrorCode::WouldBlock);
  manager.start();
  auto hold = client->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_TRUE(hold->inconsistent());
}

// ---- what can go wrong --------------------------------------------------------------------------

TEST_F(ServedTakeoverTest, AKeeperKilledWhileItTakesOverLeavesItToTheNext) {
  manager.crash();
  unsigned messages = 1;
  while (manager.start_and_kill_after(messages)) {
    EXPECT_NE(manager.stored("locks"), nullptr);
    EXPECT_NE(manager.stored("ledger"), nullptr);
    EXPECT_GE(std::ranges::count_if(manager.store(),
                                    [](const FakeManager::Stored& each) {
                                      return each.name.starts_with("registry.");
                                    }),
              1);
    ++messages;
    ASSERT_LT(messages, 100u);
  }
  EXPECT_GE(messages, 2u) << "it stores its new registry, and removes the old one";
  manager.start();
  EXPECT_TRUE(client->register_resource("after", {}));
  EXPECT_EQ(client->find("r").value(), handle);
  EXPECT_FALSE(ended);
}

// Who is never told that it serves kills it.
TEST_F(ServedTakeoverTest, AManagerThatIsBusyIsToldLater) {
  manager.crash();
  // For the new registry, and that the old one goes.
  manager.be_busy(2);
  std::thread starting([this] { manager.start(); });
  // Its file is for the keeper, who hears before it that the worker serves.
  EXPECT_TRUE(client->register_resource("after", {.size_bytes = kMemoryBytes}, {.fd = memory()}));
  manager.be_busy_no_more();
  starting.join();
  EXPECT_TRUE(manager.is_serving());
}

TEST_F(ServedTakeoverTest, AnotherLayoutIsRefusedAndKept) {
  manager.crash();
  rm_region_header header{};
  FakeManager::Stored& stored = registry();
  ASSERT_EQ(::pread(stored.fd.get(), &header, sizeof(header), 0), ssize_t{sizeof(header)});
  ++header.layout_major;
  UniqueFd other(::memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(other.get(), static_cast<off_t>(header.region_bytes)), 0);
  ASSERT_EQ(::pwrite(other.get(), &header, sizeof(header), 0), ssize_t{sizeof(header)});
  ASSERT_EQ(::fcntl(other.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  std::swap(stored.fd, other);
  const std::size_t kept = manager.store().size();
  manager.start();
  EXPECT_EQ(manager.exit_status(), 1);
  EXPECT_EQ(manager.store().size(), kept);
  EXPECT_NE(manager.stored("registry.1"), nullptr);
  // Who made it goes on with it.
  std::swap(registry().fd, other);
  manager.start();
  EXPECT_TRUE(client->register_resource("after", {}));
  EXPECT_EQ(client->find("r").value(), handle);
}

// A memfd like the stored one, with noise from an offset on.
UniqueFd damaged(int fd, std::size_t from, std::uint64_t seed) {
  const auto bytes = static_cast<std::size_t>(::lseek(fd, 0, SEEK_END));
  std::vector<std::uint64_t> words(bytes / sizeof(std::uint64_t));
  EXPECT_EQ(::pread(fd, words.data(), bytes, 0), static_cast<ssize_t>(bytes));
  std::mt19937_64 random(seed);
  // What is not there stays so now and then, or nothing would look like anything.
  for (std::size_t i = from / sizeof(std::uint64_t); i < words.size(); ++i) {
    if (random() % 4 != 0) words[i] = random() >> random() % 64;
  }
  UniqueFd other(::memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::pwrite(other.get(), words.data(), bytes, 0), static_cast<ssize_t>(bytes));
  EXPECT_EQ(::fcntl(other.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  return other;
}

TEST_F(ServedTakeoverTest, ADamagedRegistryEndsTheDomain) {
  manager.crash();
  // With its magic and its version as they were.
  registry().fd = damaged(registry().fd.get(), offsetof(rm_region_header, region_bytes), 1);
  manager.start();
  EXPECT_TRUE(eventually([&] { return ended.load(); }));
  EXPECT_EQ(client->register_resource("x", {}).error(), ErrorCode::Disconnected);
  // Attached anew, it registers again.
  auto anew = manager.connect();
  ASSERT_NE(anew, nullptr);
  EXPECT_EQ(anew->find("r").error(), ErrorCode::NotFound);
  EXPECT_TRUE(anew->register_resource("r", {}));
  // What it stores from here on is the new domain.
  manager.crash();
  manager.start();
  EXPECT_TRUE(anew->register_resource("after", {}));
}

TEST_F(ServedTakeoverTest, NoiseInItsTablesDoesNoHarm) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    manager.crash();
    registry().fd = damaged(registry().fd.get(), sizeof(rm_region_header), seed);
    FakeManager::Stored* const ledger = manager.stored("ledger");
    ASSERT_NE(ledger, nullptr);
    // Behind what says which registry is the domain's.
    ledger->fd = damaged(ledger->fd.get(), 48, seed);
    manager.start();
    ASSERT_TRUE(manager.is_serving());
    auto other = manager.connect();
    ASSERT_NE(other, nullptr) << "seed " << seed;
    const auto made = other->register_resource("x" + std::to_string(seed), {});
    // Noise may have used a table up.
    EXPECT_TRUE(made || made.error() == ErrorCode::CapacityExceeded) << made.error().message();
  }
}

TEST_F(ServedTakeoverTest, WithoutALedgerThereIsNoDomain) {
  manager.crash();
  std::erase_if(manager.store(),
                [](const FakeManager::Stored& each) { return each.name == "ledger"; });
  manager.start();
  EXPECT_TRUE(eventually([&] { return ended.load(); }));
  EXPECT_EQ(manager.stop(), 0);
  EXPECT_NE(manager.stored("registry."), nullptr);
  EXPECT_NE(manager.stored("ledger"), nullptr);
}

}  // namespace
}  // namespace hal::test
