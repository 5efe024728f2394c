// SPDX-License-Identifier: Apache-2.0
//
// Processes that allocate and free blocks of one pool at random, are killed, and come again, beside
// an oracle: no block is had twice, none is lost, and all are accounted for.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <hal/pool_manager.hpp>

#include "tests/base/seed.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

constexpr std::uint32_t kBlocks = 100;
constexpr std::size_t kProcesses = 3;
constexpr char kNone = 127;

/// The one that there is, or will be in a moment.
void kill_worker(const Daemon& daemon) {
  ASSERT_TRUE(eventually([&] { return daemon.worker() != 0; }));
  daemon.kill_worker();
}

class ServedPoolModel : public ::testing::Test {
 protected:
  void SetUp() override {
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
    const DriverId maker = manager->register_driver("maker").value();
    const DriverId user = manager->register_driver("user").value();
    auto made =
        Pool::create(*manager, "p", {.block_bytes = 64, .max_blocks = kBlocks, .driver = maker});
    ASSERT_TRUE(made) << made.error().message();
    pool = std::move(*made);
    ASSERT_TRUE(manager->share_resource(pool.handle(), maker, user, Rights::Read | Rights::Write));
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> manager;
  Pool pool;
};

// ---- one call after the other -------------------------------------------------------------------

/// Does what it is told: a letter, and the number of a block plus 1 where one is meant.
int obey(const Daemon& daemon, Child::Talk& talk) {
  auto manager = daemon.connect();
  if (!manager) return 1;
  auto pool = Pool::attach(*manager, "p", {.driver = manager->register_driver("user").value()});
  if (!pool) return 2;
  talk.say('r');
  for (;;) {
    const char what = talk.hear();
    if (what == 'a') {
      void* const block = pool->try_allocate();
      talk.say(block ? static_cast<char>(pool->number_of(block).value() + 1) : kNone);
    } else if (what == 'f' || what == 'o') {
      void* const block = pool->block(static_cast<std::uint32_t>(talk.hear() - 1)).value();
      talk.say((what == 'f' ? pool->free(block) : pool->adopt(block)) ? 'y' : 'n');
    } else if (what == 'l') {
      pool->flush();
      talk.say('y');
    } else {
      return 0;
    }
  }
}

class Oracle {
 public:
  Oracle(Daemon& daemon, Pool& pool, std::uint64_t seed)
      : daemon_(daemon), pool_(pool), random_(seed) {
    for (std::size_t i = 0; i < kProcesses; ++i) start(i);
  }

  void step() {
    switch (below(40)) {
      case 0:
        return die(below(kProcesses));
      case 1:
        return flush(below(kProcesses));
      case 2:
        return adopt();
      case 3:
        return free_what_is_free();
      default:
        return below(2) == 0 ? allocate() : free_one();
    }
  }
  void finish() {
    while (!had_.empty() && !testing::Test::HasFailure()) free_one();
    for (std::size_t i = 0; i < kProcesses; ++i) flush(i);
    const PoolStats stats = pool_.stats();
    EXPECT_EQ(stats.free, stats.limit);
    EXPECT_EQ(stats.refused, 0u);
    for (const auto& child : children_) child->say('e');
    for (const auto& child : children_) EXPECT_EQ(child->wait(), 0);
  }

 private:
  std::size_t below(std::size_t end) { return random_() % end; }
  void start(std::size_t index) {
    children_.at(index) =
        std::make_unique<Child>([this](Child::Talk& talk) { return obey(daemon_, talk); });
    ASSERT_EQ(children_[index]->hear(), 'r');
  }
  [[nodiscard]] char ask(std::size_t index, char what, std::uint32_t number) {
    children_[index]->say(what);
    children_[index]->say(static_cast<char>(number + 1));
    return children_[index]->hear();
  }
  [[nodiscard]] std::map<std::uint32_t, std::size_t>::iterator any() {
    const auto each = had_.lower_bound(static_cast<std::uint32_t>(below(kBlocks)));
    return each == had_.end() ? had_.begin() : each;
  }

  void allocate() {
    const std::size_t index = below(kProcesses);
    children_[index]->say('a');
    const char answer = children_[index]->hear();
    ASSERT_NE(answer, 0);
    if (answer == kNone) {
      // What others have at hand is theirs.
      const PoolStats stats = pool_.stats();
      ASSERT_EQ(stats.free, 0u);
      ASSERT_EQ(stats.limit, kBlocks);
      return;
    }
    const auto number = static_cast<std::uint32_t>(answer - 1);
    ASSERT_TRUE(had_.emplace(number, index).second) << number << " was given twice";
  }
  // By whomever.
  void free_one() {
    if (had_.empty()) return;
    const auto each = any();
    ASSERT_EQ(ask(below(kProcesses), 'f', each->first), 'y') << each->first;
    had_.erase(each);
  }
  void free_what_is_free() {
    const auto number = static_cast<std::uint32_t>(below(kBlocks));
    if (had_.contains(number)) return;
    ASSERT_EQ(ask(below(kProcesses), 'f', number), 'n') << number;
  }
  void adopt() {
    if (had_.empty()) return;
    const auto each = any();
    const std::size_t index = below(kProcesses);
    ASSERT_EQ(ask(index, 'o', each->first), 'y') << each->first;
    each->second = index;
  }
  void flush(std::size_t index) {
    children_[index]->say('l');
    ASSERT_EQ(children_[index]->hear(), 'y');
  }
  void die(std::size_t index) {
    // Seldom: a keeper whose workers die one after the other makes a pause of a second.
    if (below(12) == 0) kill_worker(daemon_);
    children_[index]->signal(SIGKILL);
    ASSERT_EQ(children_[index]->wait(), -SIGKILL);
    std::erase_if(had_, [&](const auto& entry) { return entry.second == index; });
    for (std::size_t other = 0; other < kProcesses; ++other) {
      if (other != index) flush(other);
    }
    // Blocks that are out of the depot are those that somebody living has.
    ASSERT_TRUE(eventually([&] {
      const PoolStats stats = pool_.stats();
      return stats.used == had_.size() && stats.cached == 0 &&
             stats.free + stats.used == stats.limit;
    })) << pool_.stats().used
        << " are allocated, not " << had_.size();
    start(index);
  }

  Daemon& daemon_;
  Pool& pool_;
  std::mt19937_64 random_;
  std::array<std::unique_ptr<Child>, kProcesses> children_;
  std::map<std::uint32_t, std::size_t> had_;
};

TEST_F(ServedPoolModel, NobodyHasWhatAnotherHas) {
  Oracle oracle(daemon, pool, resmgr::test::seed());
  for (int i = 0; i < 2000; ++i) {
    oracle.step();
    ASSERT_FALSE(HasFailure()) << "step " << i;
  }
  oracle.finish();
}

// ---- all at the same time -----------------------------------------------------------------------

constexpr std::uint32_t kLives = 64;  ///< processes one after the other, from 1

/// What the processes tell each other, beside the pool.
struct Board {
  std::array<std::atomic<std::uint32_t>, kBlocks> owner{};  ///< the process that has it, 0: nobody
  std::array<std::atomic<bool>, kLives> dead{};             ///< or about to be
  std::array<std::atomic<std::uint64_t>, kLives> calls{};
  std::atomic<std::uint32_t> wrong{0};
  std::atomic<bool> stop{false};
};

// Whoever gets a block writes his number on it, and finds it there when he frees it.
int live(const Daemon& daemon, Board& board, std::uint32_t self, std::uint64_t seed) {
  auto manager = daemon.connect();
  if (!manager) return 1;
  auto pool = Pool::attach(*manager, "p", {.driver = manager->register_driver("user").value()});
  if (!pool) return 2;
  std::mt19937_64 random(seed);
  std::vector<void*> had;
  const auto free_last = [&] {
    void* const block = had.back();
    had.pop_back();
    std::uint32_t mine = self;
    const std::uint32_t number = pool->number_of(block).value();
    if (*static_cast<std::uint32_t*>(block) != self ||
        !board.owner.at(number).compare_exchange_strong(mine, 0) || !pool->free(block)) {
      ++board.wrong;
    }
  };
  while (!board.stop) {
    ++board.calls.at(self);
    if (had.size() < 30 && random() % 2 == 0) {
      void* const block = pool->try_allocate();
      if (!block) continue;
      const std::uint32_t before = board.owner.at(pool->number_of(block).value()).exchange(self);
      if (before != 0 && !board.dead.at(before)) ++board.wrong;
      *static_cast<std::uint32_t*>(block) = self;
      had.push_back(block);
    } else if (!had.empty()) {
      std::swap(had.back(), had[random() % had.size()]);
      free_last();
    }
    if (random() % 64 == 0) pool->flush();
  }
  while (!had.empty()) free_last();
  return 0;
}

TEST_F(ServedPoolModel, NobodyHasWhatAnotherHasAtTheSameTime) {
  void* const shared =
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  Board& board = *new (shared) Board();
  std::mt19937_64 random(resmgr::test::seed());
  std::array<std::pair<std::uint32_t, std::unique_ptr<Child>>, kProcesses> children;
  std::uint32_t next = 1;
  const auto start = [&](auto& place) {
    const std::uint32_t self = next++;
    const std::uint64_t seed = random();
    place = {self, std::make_unique<Child>([&board, self, seed, this](Child::Talk&) {
               return live(daemon, board, self, seed);
             })};
  };
  for (auto& place : children) start(place);
  while (next < kLives && !HasFailure()) {
    auto& place = children.at(random() % kProcesses);
    const std::uint32_t victim = place.first;
    const std::uint64_t until = random() % 5000;
    ASSERT_TRUE(eventually([&] { return board.calls.at(victim) > until; }));
    if (random() % 8 == 0) kill_worker(daemon);
    board.dead.at(victim) = true;
    place.second->signal(SIGKILL);
    EXPECT_EQ(place.second->wait(), -SIGKILL);
    start(place);
    EXPECT_EQ(board.wrong, 0u);
  }
  board.stop = true;
  for (auto& [self, child] : children) EXPECT_EQ(child->wait(), 0);
  EXPECT_EQ(board.wrong, 0u);
  EXPECT_TRUE(eventually([&] { return pool.stats().free == pool.stats().limit; }))
      << pool.stats().used << " are allocated, " << pool.stats().cached << " at hand";
  ::munmap(shared, sizeof(Board));
}

}  // namespace
}  // namespace hal::test
