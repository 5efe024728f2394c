// SPDX-License-Identifier: Apache-2.0
//
// The two ring protocols on memory between guard pages: whatever bytes are in there, calls end, and
// stay inside.
#include "hal/src/queue_ring.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <thread>

#include "resmgr/base/atomic.hpp"
#include "tests/hal/queue_support.hpp"

namespace hal::test {
namespace {

using ring::MpscRing;
using ring::Outcome;
using ring::RingView;
using ring::SpscRing;

constexpr std::size_t kBytes = 56;
constexpr pid_t kSelf = 4711;

/// A ring that ends at a page that can't be touched, and starts right after one but for what is
/// left of its first page.
class GuardedRing {
 public:
  explicit GuardedRing(QueueKind kind, std::uint32_t capacity) {
    view_.geometry =
        ring::make_geometry({.message_bytes = kBytes, .capacity = capacity, .kind = kind}).value();
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t bytes = view_.geometry.memory_bytes;
    const std::size_t pages = (bytes + page - 1) / page * page;
    size_ = pages + 2 * page;
    void* address = ::mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) std::abort();
    base_ = static_cast<std::byte*>(address);
    if (::mprotect(base_ + page, pages, PROT_READ | PROT_WRITE) != 0) std::abort();
    view_.memory = base_ + page + (pages - bytes) / ring::kCacheLine * ring::kCacheLine;
  }
  GuardedRing(const GuardedRing&) = delete;
  GuardedRing& operator=(const GuardedRing&) = delete;
  ~GuardedRing() { ::munmap(base_, size_); }

  const RingView& view() const { return view_; }
  std::uint64_t& word(std::uint64_t position) const {
    return *reinterpret_cast<std::uint64_t*>(view_.slot(position));
  }

 private:
  RingView view_;
  std::byte* base_ = nullptr;
  std::size_t size_ = 0;
};

/// Words as an attacker would choose them: near the truth, near an end, or anything.
std::uint64_t nasty(std::mt19937_64& random, std::uint64_t truth) {
  switch (random() % 6) {
    case 0:
      return truth;
    case 1:
      return truth + random() % 5 - 2;
    case 2:
      return std::uint64_t{1} << random() % 64;
    case 3:
      return ~std::uint64_t{0} - random() % 3;
    case 4:
      return ring::slot_word(random() % 4, static_cast<ring::SlotState>(random() % 4),
                             static_cast<std::uint32_t>(random() % 3));
    default:
      return random();
  }
}

void garble(std::mt19937_64& random, const GuardedRing& memory) {
  ring::Control& control = memory.view().control();
  const std::uint64_t base = nasty(random, random() % 32);
  control.head = nasty(random, base);
  control.tail = nasty(random, base);
  for (std::uint64_t i = 0; i < memory.view().geometry.capacity; ++i) {
    memory.word(i) = nasty(random, ring::slot_word(base / 8, ring::SlotState::Ready));
  }
}

template <typename Ring>
void use(Ring& ring, std::mt19937_64& random) {
  std::array<std::byte, kBytes> bytes{};
  for (int call = 0; call < 6; ++call) {
    if (random() % 2) {
      static_cast<void>(ring.push(bytes));
    } else {
      static_cast<void>(ring.pop(bytes));
    }
    static_cast<void>(ring.has_message());
  }
}

TEST(QueueRing, AnyMemoryKeepsSpscCallsInsideAndShort) {
  std::mt19937_64 random(seed());
  GuardedRing memory(QueueKind::SingleProducer, 8);
  SpscRing kept(memory.view());
  for (int round = 0; round < 200'000; ++round) {
    garble(random, memory);
    SpscRing fresh(memory.view());
    use(fresh, random);
    use(kept, random);
  }
}

TEST(QueueRing, AnyMemoryKeepsMpscCallsInsideAndShort) {
  std::mt19937_64 random(seed());
  GuardedRing memory(QueueKind::MultiProducer, 8);
  MpscRing ring(memory.view(), kSelf);
  for (int round = 0; round < 100'000; ++round) {
    garble(random, memory);
    use(ring, random);
    if (const std::optional<StalledSlot> slot = ring.stalled()) {
      EXPECT_TRUE(ring.skip(*slot, round % 2 ? StalledProducer::Dead : StalledProducer::MayLive));
    }
    const StalledSlot invented{.position = random(),
                               .producer_pid = static_cast<std::uint32_t>(random())};
    static_cast<void>(ring.skip(invented, StalledProducer::Dead));
  }
}

// A peer that goes on writing while we look can't hold us either.
TEST(QueueRing, MemoryThatChangesAllTheTimeHoldsNobody) {
  std::mt19937_64 random(seed());
  for (const QueueKind kind : {QueueKind::SingleProducer, QueueKind::MultiProducer}) {
    GuardedRing memory(kind, 8);
    std::atomic<bool> stop{false};
    std::thread peer([&, other = std::mt19937_64(random())]() mutable {
      ring::Control& control = memory.view().control();
      while (!stop.load(std::memory_order_relaxed)) {
        const std::uint64_t base = other() % 64;
        resmgr::store_relaxed(control.head, base + other() % 9);
        resmgr::store_relaxed(control.tail, base + other() % 9);
        if (kind == QueueKind::MultiProducer) {
          resmgr::store_relaxed(
              memory.word(other() % 8),
              ring::slot_word(base / 8, static_cast<ring::SlotState>(other() % 4)));
        }
      }
    });
    SpscRing single(memory.view());
    MpscRing many(memory.view(), kSelf);
    for (int round = 0; round < 20'000; ++round) {
      if (kind == QueueKind::SingleProducer) {
        use(single, random);
      } else {
        use(many, random);
      }
    }
    stop = true;
    peer.join();
  }
}

TEST(QueueRing, IndicesOutOfReachAreDamage) {
  std::array<std::byte, kBytes> bytes{};
  GuardedRing memory(QueueKind::SingleProducer, 8);
  memory.view().control().tail = 9;
  EXPECT_EQ(SpscRing(memory.view()).pop(bytes), Outcome::Damaged);
  EXPECT_EQ(SpscRing(memory.view()).push(bytes), Outcome::Damaged);
  memory.view().control().head = 10;
  EXPECT_EQ(SpscRing(memory.view()).pop(bytes), Outcome::Damaged);
  EXPECT_EQ(SpscRing(memory.view()).push(bytes), Outcome::Damaged);

  GuardedRing many(QueueKind::MultiProducer, 8);
  MpscRing ring(many.view(), kSelf);
  for (const std::uint64_t lap : {2u, 3u, 1000u}) {
    many.word(0) = ring::slot_word(lap, ring::SlotState::Ready);
    EXPECT_EQ(ring.pop(bytes), Outcome::Damaged) << lap;
    EXPECT_EQ(ring.push(bytes), Outcome::Damaged) << lap;
    EXPECT_TRUE(ring.has_message()) << "a consumer that asks must not go to sleep on it";
    EXPECT_FALSE(ring.stalled());
  }
}

TEST(QueueRing, ConsumedSlotOfAKilledConsumerIsPassed) {
  GuardedRing memory(QueueKind::MultiProducer, 4);
  MpscRing ring(memory.view(), kSelf);
  std::array<std::byte, kBytes> bytes{};
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(ring.push(message<kBytes>(i)), Outcome::Done);
  ASSERT_EQ(ring.pop(bytes), Outcome::Done);
  memory.view().control().head = 0;  // as if he had not come to move it
  ASSERT_EQ(ring.pop(bytes), Outcome::Done);
  EXPECT_EQ(number_of(bytes), 1u);
  ASSERT_EQ(ring.pop(bytes), Outcome::Done);
  EXPECT_EQ(number_of(bytes), 2u);
  EXPECT_EQ(ring.pop(bytes), Outcome::Blocked);
}

TEST(QueueRing, ClaimWithoutATailIsFinishedByTheNextProducer) {
  GuardedRing memory(QueueKind::MultiProducer, 4);
  MpscRing ring(memory.view(), kSelf);
  std::array<std::byte, kBytes> bytes{};
  memory.word(0) = ring::slot_word(0, ring::SlotState::Claimed, 99);
  for (std::uint64_t i = 1; i < 4; ++i) ASSERT_EQ(ring.push(message<kBytes>(i)), Outcome::Done);
  EXPECT_EQ(ring.push(message<kBytes>(4)), Outcome::Blocked);
  EXPECT_EQ(ring.pop(bytes), Outcome::Blocked);
  ASSERT_TRUE(ring.stalled());
  EXPECT_EQ(ring.stalled()->position, 0u);
  EXPECT_EQ(ring.stalled()->producer_pid, 99u);
  ASSERT_TRUE(ring.skip(*ring.stalled(), StalledProducer::Dead));
  for (std::uint64_t i = 1; i < 4; ++i) {
    ASSERT_EQ(ring.pop(bytes), Outcome::Done);
    EXPECT_EQ(number_of(bytes), i);
  }
  EXPECT_EQ(ring.pop(bytes), Outcome::Blocked);
}

TEST(QueueRing, SkippingNeedsTheVeryClaim) {
  GuardedRing memory(QueueKind::MultiProducer, 4);
  MpscRing ring(memory.view(), kSelf);
  EXPECT_FALSE(ring.skip({}, StalledProducer::Dead)) << "nothing is claimed";
  memory.word(0) = ring::slot_word(0, ring::SlotState::Claimed, 99);
  EXPECT_FALSE(ring.skip({.position = 0, .producer_pid = 98}, StalledProducer::Dead));
  EXPECT_FALSE(ring.skip({.position = 1, .producer_pid = 99}, StalledProducer::Dead));
  EXPECT_FALSE(ring.skip({.position = 4, .producer_pid = 99}, StalledProducer::Dead));
  memory.word(0) = ring::slot_word(0, ring::SlotState::Ready);
  EXPECT_FALSE(ring.skip({.position = 0, .producer_pid = 99}, StalledProducer::Dead))
      << "it was published in the meantime";
  std::array<std::byte, kBytes> bytes{};
  EXPECT_EQ(ring.pop(bytes), Outcome::Done);
}

class RetiredSlotsTest : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Masks, RetiredSlotsTest, testing::Range(0u, 16u));

// Every choice of given-up slots out of four leaves an order-keeping ring of the others.
TEST_P(RetiredSlotsTest, ArePassedByBothSides) {
  GuardedRing memory(QueueKind::MultiProducer, 4);
  MpscRing ring(memory.view(), kSelf);
  std::array<std::byte, kBytes> bytes{};
  std::uint32_t left = 4;
  for (std::uint64_t slot = 0; slot < 4; ++slot) {
    if ((GetParam() >> slot & 1u) == 0) {
      ASSERT_EQ(ring.push(message<kBytes>(slot)), Outcome::Done);
      ASSERT_EQ(ring.pop(bytes), Outcome::Done);
      continue;
    }
    memory.word(slot) = ring::slot_word(0, ring::SlotState::Claimed, 99);
    ASSERT_TRUE(ring.skip({.position = slot, .producer_pid = 99}, StalledProducer::MayLive));
    --left;
  }
  std::uint64_t pushed = 100;
  std::uint64_t popped = 100;
  for (std::uint32_t round = 0; round < 50; ++round) {
    for (std::uint32_t i = 0; i < left; ++i) {
      ASSERT_EQ(ring.push(message<kBytes>(pushed)), Outcome::Done);
      ++pushed;
    }
    ASSERT_EQ(ring.push(bytes), Outcome::Blocked);
    ASSERT_EQ(ring.has_message(), left > 0);
    for (std::uint32_t i = 0; i < left; ++i) {
      ASSERT_EQ(ring.pop(bytes), Outcome::Done);
      ASSERT_EQ(number_of(bytes), popped++);
    }
    ASSERT_EQ(ring.pop(bytes), Outcome::Blocked);
  }
}

}  // namespace
}  // namespace hal::test
