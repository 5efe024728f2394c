// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the lock engine share: a domain without a registry, and threads that do one
// call at a time.
//
// What it is: Domain (a lock region, an engine, a table of contexts and a record of what the engine
// told its Names), and Actor, a thread with a context of its own that runs what it is given. What
// it is not: timing; a test orders its threads by what the engine's own state says, through
// Actor::settled(). Thread-safety: Domain as the engine; an Actor is driven by one thread.
//
//   Domain domain;
//   const Handle h = domain.arm(0);
//   Actor a(domain), b(domain);
//   ASSERT_TRUE(a.acquire(h));
//   b.begin(h, blocking());              // returns when b sleeps in the queue
//   ASSERT_TRUE(a.release(h));
//   EXPECT_TRUE(b.finish());
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "resmgr/base/clock.hpp"
#include "resmgr/lock/context_table.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/region.hpp"
#include "tests/base/sanitizers.hpp"
#include "tests/lock/performer.hpp"

namespace resmgr::lock::test {

/// Calls name things by number; what they report is kept.
class FakeNames : public Names {
 public:
  void describe(Participant& who, std::uint32_t driver) const noexcept override {
    copy_text(who.driver, "driver-" + std::to_string(driver));
    copy_text(who.resource, "resource-" + std::to_string(who.handle.slot()));
  }
  [[nodiscard]] std::string class_name(std::uint16_t class_id) const override {
    return "class-" + std::to_string(class_id);
  }
  void report_order(std::string_view text) const noexcept override {
    if (on_report) on_report();
    const std::lock_guard lock(mutex_);
    reports_.emplace_back(text);
  }
  [[nodiscard]] ErrorCode check_rights(Handle, std::uint32_t driver) const noexcept override {
    ++questions_;
    return driver == barred_driver ? ErrorCode::NotPermitted : ErrorCode{};
  }
  [[nodiscard]] ResourcePriority default_priority(Handle) const noexcept override {
    if (on_queue) on_queue();
    return ResourcePriority::Normal;
  }
  [[nodiscard]] std::uint32_t row_of(Handle handle) const noexcept override {
    return row_of_slot ? row_of_slot(handle.slot()) : kNoRow;
  }
  void accessed(Handle) const noexcept override { ++accesses_; }
  void busy() const noexcept override { ++busy_; }

  [[nodiscard]] std::vector<std::string> reports() const {
    const std::lock_guard lock(mutex_);
    return reports_;
  }
  [[nodiscard]] int accesses() const { return accesses_; }
  [[nodiscard]] int busy_calls() const { return busy_; }
  /// How often rights were asked for.
  [[nodiscard]] int questions() const { return questions_; }

  /// This one may acquire nothing that is restricted.
  std::atomic<std::uint32_t> barred_driver = ~0u;

  /// Called in the middle of an acquisition that inverts an order: a moment that a test can choose.
  std::function<void()> on_report;
  /// Where a slot's requests are counted.
  std::function<std::uint32_t(std::uint32_t slot)> row_of_slot;
  /// Called when a request found no other way than to queue, and is not in the queue yet.
  std::function<void()> on_queue;

 private:
  mutable std::mutex mutex_;
  mutable std::vector<std::string> reports_;
  mutable std::atomic<int> accesses_ = 0;
  mutable std::atomic<int> busy_ = 0;
  mutable std::atomic<int> questions_ = 0;
};

/// Small tables: what runs full in a test, and what a walk over garbage may cost.
inline constexpr Capacities kSmall{.slots = 64,
                                   .contexts = 64,
                                   .clients = 4,
                                   .nodes = 256,
                                   .cells = 512,
                                   .classes = RM_MAX_CLASSES,
                                   .drivers = 16,
                                   .pairs = 0,
                                   .dependencies = 0,
                                   .shares = 0};

struct Domain {
  static constexpr std::uint32_t kPid = 4711;  ///< that it says its process has

  explicit Domain(const Capacities& capacities = kSmall)
      : region(LockRegion::create(capacities, RegionIdentity{.domain_id = 1}).value()),
        engine(region.tables(), names),
        contexts(region.tables(), engine) {
    store_relaxed(tables().client(0)->pid, kPid);
  }

  [[nodiscard]] const LockTables& tables() const { return region.tables(); }
  Handle arm(std::uint32_t slot, std::uint16_t class_id = 0, std::uint8_t attributes = 0,
             std::uint32_t generation = 1) {
    engine.arm(slot, generation, class_id, attributes);
    return {slot, generation};
  }
  [[nodiscard]] StateWord word(Handle handle) const { return engine.word(handle.slot()); }
  [[nodiscard]] rm_slot& slot(Handle handle) const { return tables().slots[handle.slot()]; }
  /// A context without a thread of its own.
  Context& open(std::uint32_t driver = 0, const void* thread = nullptr) {
    return *contexts.open(0, driver, 0, thread).value();
  }

  FakeNames names;
  LockRegion region;
  LockEngine engine;
  ContextTable contexts;
};

class Actor final : public Performer {
 public:
  explicit Actor(Domain& domain, std::uint32_t driver = 0)
      : domain_(domain), thread_([this, driver] { run(driver); }) {
    wait_until([&] { return context_.load() != nullptr; });
  }
  /// A wait that goes on is cancelled: so a test that failed in the middle ends.
  ~Actor() override {
    wait_until([&] {
      cancel();
      return finished();
    });
    do_call([](Context&) { return Outcome(); }, true);
    thread_.join();
  }

  [[nodiscard]] Context& context() const { return *context_.load(); }
  [[nodiscard]] std::uint16_t id() const override { return context().id; }
  [[nodiscard]] std::uint32_t pid() const override { return Domain::kPid; }

  /// Starts a call on the actor's thread. The call before it must have finished.
  void start(std::function<Outcome(Context&)> call) { do_call(std::move(call), false); }
  void post(const Call& call) override {
    start([this, call](Context& me) { return call(domain_.engine, me); });
  }
  /// Ends a wait of his, if he waits.
  void cancel() const {
    domain_.engine.graph().for_each_wait(id(), [&](const Waiter& waiter) {
      return !domain_.engine.decide(waiter, RM_NODE_CANCELLED);
    });
  }
  [[nodiscard]] bool finished() const override { return !busy_.load(); }
  Outcome finish() override {
    wait_until([&] { return finished(); });
    return std::move(*outcome_);
  }
  /// start(), and finish().
  Outcome run_call(std::function<Outcome(Context&)> call) {
    start(std::move(call));
    return finish();
  }
  [[nodiscard]] std::optional<HoldKind> holds(Handle handle) const {
    const auto kind = domain_.engine.held_kind(context(), handle);
    return kind ? std::optional(*kind) : std::nullopt;
  }

 private:
  [[nodiscard]] LockEngine& engine() const override { return domain_.engine; }
  void do_call(std::function<Outcome(Context&)> call, bool last) {
    {
      const std::lock_guard lock(mutex_);
      call_ = std::move(call);
      last_ = last;
      outcome_.reset();
      busy_ = true;
    }
    changed_.notify_one();
  }
  void run(std::uint32_t driver) {
    Context& mine = domain_.open(driver, this_thread());
    context_ = &mine;
    std::unique_lock lock(mutex_);
    for (bool last = false; !last;) {
      changed_.wait(lock, [&] { return busy_.load(); });
      last = last_;
      lock.unlock();
      Outcome outcome = call_(mine);
      lock.lock();
      outcome_ = std::move(outcome);
      busy_ = false;
    }
    const std::uint32_t left = domain_.engine.release_all(mine, [](Handle, HoldKind) {});
    domain_.contexts.close(mine, left != 0);
  }

  Domain& domain_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<Outcome(Context&)> call_;
  std::optional<Outcome> outcome_;
  bool last_ = false;
  std::atomic<bool> busy_ = false;
  std::atomic<Context*> context_ = nullptr;
  std::thread thread_;
};

inline ::testing::AssertionResult fails_with(const Outcome& outcome, ErrorCode code) {
  if (outcome) return ::testing::AssertionFailure() << "succeeded";
  if (outcome.error() == code) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << outcome.error().message();
}

/// Instrumented builds do fewer rounds of what repeats.
inline constexpr bool kSanitized =
    resmgr::test::kThreadSanitizer || resmgr::test::kAddressSanitizer;

/// Numbers that a run prints and can be given again: RESMGR_SEED, RESMGR_ROUNDS.
[[nodiscard]] std::uint64_t seed_from_environment();
[[nodiscard]] std::uint64_t rounds_from_environment(std::uint64_t otherwise);

/// What of the pools is in use while nobody does anything.
struct Census {
  std::uint32_t nodes_lost = 0;  ///< neither free, nor the spare of an open context
  std::uint32_t cells_lost = 0;  ///< neither free, nor in the chain of a slot
  std::uint32_t cells_in_use = 0;
  std::uint32_t cells_owned = 0;  ///< parked by a context, not in use
};
[[nodiscard]] Census take_census(Domain& domain);
/// The part of it that concerns cells.
void count_cells(const LockTables& tables, Census& census);

/// Whether the word says "free" and nothing else (INCONSISTENT and ABSENT apart, and SHARED, which
/// who releases a shared hold leaves behind: the cells say that nobody holds, see Census).
[[nodiscard]] ::testing::AssertionResult is_free(StateWord word);

}  // namespace resmgr::lock::test
