// SPDX-License-Identifier: Apache-2.0
//
// After initialisation nothing on the way of an acquire, release, wait or try asks the heap for
// memory. Only the report of a deadlock or of an inverted order may.
//
// Its own program, for counting_new.cpp replaces operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "tests/lock/counting_new.hpp"
#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

/// Names as they are, without strings made for each call: FakeNames allocates.
class QuietNames final : public Names {
 public:
  void describe(Participant&, std::uint32_t) const noexcept override {}
  [[nodiscard]] std::string class_name(std::uint16_t) const override { return {}; }
  void report_order(std::string_view) const noexcept override {}
  [[nodiscard]] ErrorCode check_rights(Handle, std::uint32_t) const noexcept override { return {}; }
  void accessed(Handle) const noexcept override {}
  void busy() const noexcept override {}
};

class Allocation : public ::testing::Test {
 protected:
  template <typename Calls>
  static std::uint64_t count(Calls&& calls) {
    start_counting_allocations();
    calls();
    return stop_counting_allocations();
  }

  LockRegion region = LockRegion::create(kSmall, {.domain_id = 1}).value();
  QuietNames names;
  LockEngine engine{region.tables(), names};
  ContextTable contexts{region.tables(), engine};
};

TEST_F(Allocation, TheCounterCounts) {
  const auto allocate = [] {
    const std::string text(1000, 'x');
    asm volatile("" ::"r"(text.data()) : "memory");  // or nobody needs it
  };
  EXPECT_EQ(count(allocate), 1u);
}

TEST_F(Allocation, NothingUncontendedAllocates) {
  engine.order().set_policy(OrderPolicy::Warn);
  Context& me = *contexts.open(0, 0, 0, this_thread()).value();
  Context& other = *contexts.open(0, 0, 0, nullptr).value();
  for (std::uint32_t i = 0; i < 4; ++i) engine.arm(i, 1, static_cast<std::uint16_t>(i + 1), 0);
  const Handle a(0, 1);
  const Handle b(1, 1);
  bool all = true;
  const std::uint64_t made = count([&] {
    for (int round = 0; round < 3; ++round) {
      for (const AcquisitionMode mode : {AcquisitionMode::NonBlocking, AcquisitionMode::Blocking,
                                         AcquisitionMode::Timeout, AcquisitionMode::Emergency}) {
        for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
          const Request request{.kind = kind,
                                .mode = mode,
                                .deadline_ns = monotonic_ns() + kLongNs,
                                .place = std::source_location::current()};
          Grant grant;
          all = all && engine.acquire(me, a, request).has_value();
          all = all && engine.acquire(me, b, request).has_value();  // learns an order
          all = all && !engine.acquire(other, a, {.kind = HoldKind::Exclusive}).has_value();
          all = all && !engine.acquire(me, a, request).has_value();  // recursive: refused
          all = all && engine.release(me, b, kind).has_value();
          all = all && engine.release(me, a, kind).has_value();
          all = all && !engine.release(me, a, kind).has_value();
          all = all && engine.acquire(me, a, {}).has_value();
          all = all && engine.downgrade(me, a).has_value();
          all = all && engine.upgrade(me, a, {.kind = HoldKind::Exclusive}).has_value();
          all = all && engine.release(me, a, HoldKind::Exclusive).has_value();
          all = all && engine.try_shared(me, a, true, request.place, grant);
          all = all && engine.release(me, a, HoldKind::Shared).has_value();
          all = all && engine.acquire(me, a, {}).has_value();  // over the empty SHARED
          all = all && engine.release(me, a, HoldKind::Exclusive).has_value();
          all = all && engine.try_exclusive(me, a, true, request.place, grant);
          all = all && engine.release(me, a, HoldKind::Exclusive).has_value();
          make_plain(engine, me);
          all = all && take_fast(engine, me, a, kind) && give_fast(engine, me, a, kind);
        }
      }
    }
    all = all && !engine.acquire(me, Handle(0, 2), {}).has_value();
  });
  EXPECT_TRUE(all);
  EXPECT_EQ(made, 0u);
}

TEST_F(Allocation, WaitsThatEndInATimeoutDoNot) {
  Context& me = *contexts.open(0, 0, 0, this_thread()).value();
  Context& other = *contexts.open(0, 0, 0, nullptr).value();
  engine.arm(0, 1, 1, 0);
  const Handle h(0, 1);
  ASSERT_TRUE(engine.acquire(other, h, {}));
  bool all = true;
  EXPECT_EQ(count([&] {
              for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
                const auto outcome = engine.acquire(me, h,
                                                    {.kind = kind,
                                                     .mode = AcquisitionMode::Timeout,
                                                     .deadline_ns = monotonic_ns() + 200'000});
                all = all && !outcome && outcome.error() == ErrorCode::TimedOut;
              }
            }),
            0u);
  EXPECT_TRUE(all);
}

// Two threads hand one resource to and fro, each waiting for the other.
TEST_F(Allocation, ContendedPairsDoNot) {
  engine.arm(0, 1, 1, 0);
  const Handle h(0, 1);
  std::atomic<int> ready = 0;
  std::atomic<bool> go = false;
  std::atomic<bool> done = false;
  std::atomic<int> failed = 0;
  const auto queued = [&] { return (load(region.tables().slots[0].word) & RM_WORD_WAITERS) != 0; };
  const auto run = [&] {
    Context& me = *contexts.open(0, 0, 0, this_thread()).value();
    const Request request{.mode = AcquisitionMode::Blocking};
    ++ready;
    wait_until([&] { return go.load(); });
    for (int i = 0; i < 2'000; ++i) {
      Request wanted = request;
      wanted.kind = i % 3 == 0 ? HoldKind::Shared : HoldKind::Exclusive;
      if (!engine.acquire(me, h, wanted)) ++failed;
      // Held until the other one queues, whatever the scheduler makes of it.
      if (wanted.kind == HoldKind::Exclusive && i % 16 == 0) {
        wait_until([&] { return ready.load() > 2 || queued(); });
      }
      if (!engine.release(me, h, wanted.kind)) ++failed;
    }
    ++ready;
    wait_until([&] { return done.load(); });
    contexts.close(me, false);
  };
  std::thread first(run);
  std::thread second(run);
  wait_until([&] { return ready.load() == 2; });
  const std::uint64_t made = count([&] {
    go = true;
    wait_until([&] { return ready.load() == 4; });
  });
  done = true;
  first.join();
  second.join();
  EXPECT_EQ(failed.load(), 0);
  EXPECT_EQ(made, 0u);
  EXPECT_GT(load(region.tables().slots[0].contended), 0u) << "nobody ever queued";
}

}  // namespace
}  // namespace resmgr::lock::test
