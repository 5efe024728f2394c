// SPDX-License-Identifier: Apache-2.0
//
// executor.hpp, and what the wait-for graph makes of it: a thread that runs tasks is not blocked
// for what one of them holds.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include "resmgr/lock/executor.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class Executor : public ::testing::Test {
 protected:
  /// A task of the actor's thread, which holds the resource.
  Context& task_with(const Actor& actor, Handle handle, HoldKind kind = HoldKind::Exclusive) {
    Context& task = domain.open(7);
    set_executor(task, &actor.context());
    EXPECT_TRUE(domain.engine.acquire(task, handle, trying(kind)));
    return task;
  }
  /// What the actor does in a scope, as himself or as `task`.
  void begin_inside(Actor& actor, Handle handle, const Request& request, Context* task = nullptr) {
    actor.start([this, handle, request, task](Context& me) -> Outcome {
      const ExecutorScope inside;
      return domain.engine.acquire(task ? *task : me, handle, request);
    });
  }
  Outcome acquire_inside(Actor& actor, Handle handle, const Request& request,
                         Context* task = nullptr) {
    begin_inside(actor, handle, request, task);
    return actor.finish();
  }
  void wait_until_queued(Handle handle, std::uint32_t waiters = 1) {
    wait_until([&] { return domain.engine.count_waiters(handle) == waiters; });
  }

  Domain domain;
  std::array<Handle, 3> r{domain.arm(1), domain.arm(2), domain.arm(3)};
  Actor a{domain, 1};
  Actor b{domain, 2};
};

TEST_F(Executor, TheThreadDoesNotWaitForItsOwnTask) {
  const Context& task = task_with(a, r[0]);
  const Outcome refused = acquire_inside(a, r[0], blocking());
  ASSERT_TRUE(fails_with(refused, ErrorCode::Deadlock));
  EXPECT_EQ(refused.error().blame().context, task.id) << "the holder is named";
  ASSERT_EQ(refused.error().cycle().size(), 1u) << "who waits for himself";
  EXPECT_EQ(refused.error().cycle()[0].context, a.id());
  EXPECT_EQ(domain.engine.count_waiters(r[0]), 0u);
  EXPECT_TRUE(fails_with(acquire_inside(a, r[0], trying()), ErrorCode::WouldBlock));
}

TEST_F(Executor, NorDoesOneTaskForAnother) {
  task_with(a, r[0]);
  Context& other = domain.open(8);
  set_executor(other, &a.context());
  EXPECT_TRUE(fails_with(acquire_inside(a, r[0], blocking(), &other), ErrorCode::Deadlock));
  EXPECT_TRUE(fails_with(acquire_inside(a, r[0], timed(kLongNs), &other), ErrorCode::Deadlock));
}

TEST_F(Executor, NorATaskForItsThread) {
  ASSERT_TRUE(a.acquire(r[0]));
  Context& task = domain.open(8);
  set_executor(task, &a.context());
  EXPECT_TRUE(fails_with(acquire_inside(a, r[0], blocking(), &task), ErrorCode::Deadlock));
}

TEST_F(Executor, OutsideAScopeItMay) {
  Context& task = task_with(a, r[0]);
  a.begin(r[0], blocking());
  EXPECT_FALSE(a.finished());
  ASSERT_TRUE(domain.engine.release(task, r[0], HoldKind::Exclusive));
  EXPECT_TRUE(a.finish());
}

TEST_F(Executor, OfAnotherThreadsTaskItMay) {
  Context& task = task_with(b, r[0]);
  begin_inside(a, r[0], blocking());
  wait_until_queued(r[0]);
  EXPECT_FALSE(a.finished());
  ASSERT_TRUE(domain.engine.release(task, r[0], HoldKind::Exclusive));
  EXPECT_TRUE(a.finish());
  EXPECT_EQ(load(a.context().record->blocked_in), 0u) << "the call is over";
}

TEST_F(Executor, SharesCountToo) {
  ASSERT_TRUE(b.acquire(r[0], trying(HoldKind::Shared)));
  task_with(a, r[0], HoldKind::Shared);
  EXPECT_TRUE(fails_with(acquire_inside(a, r[0], blocking()), ErrorCode::Deadlock));
  EXPECT_TRUE(acquire_inside(a, r[0], blocking(HoldKind::Shared))) << "beside them it may read";
}

TEST_F(Executor, UpgradesToo) {
  task_with(a, r[0], HoldKind::Shared);
  ASSERT_TRUE(acquire_inside(a, r[0], trying(HoldKind::Shared)));
  const Outcome refused = a.run_call([this](Context& me) {
    const ExecutorScope inside;
    return without_grant(domain.engine.upgrade(me, r[0], blocking()));
  });
  EXPECT_TRUE(fails_with(refused, ErrorCode::Deadlock));
  EXPECT_EQ(a.holds(r[0]), HoldKind::Shared);
}

// Who stands before it in the queue would be granted it next, and could not go on with it.
TEST_F(Executor, ATaskThatWaitsBeforeItKeepsIt) {
  ASSERT_TRUE(b.acquire(r[0]));
  Context& task = domain.open(7);
  set_executor(task, &a.context());
  Wait wait;
  Grant grant;
  const auto begun = domain.engine.begin(task, r[0], blocking(), wait, grant);
  ASSERT_TRUE(begun && !*begun);
  EXPECT_TRUE(fails_with(acquire_inside(a, r[0], blocking()), ErrorCode::Deadlock));
  ASSERT_TRUE(b.release(r[0]));
  ASSERT_TRUE(domain.engine.is_decided(wait));
  EXPECT_TRUE(domain.engine.finish(task, wait));
}

// b waits for the task of a's thread, which goes to sleep for what b holds.
TEST_F(Executor, ACycleByWayOfATaskIsFound) {
  task_with(a, r[0]);
  ASSERT_TRUE(b.acquire(r[1]));
  b.begin(r[0], blocking(HoldKind::Exclusive, ResourcePriority::High));
  const Outcome refused = acquire_inside(a, r[1], blocking());
  ASSERT_TRUE(fails_with(refused, ErrorCode::Deadlock));
  ASSERT_EQ(refused.error().cycle().size(), 2u);
  EXPECT_EQ(refused.error().cycle()[0].context, a.id());
  EXPECT_EQ(refused.error().cycle()[1].context, b.id());
  EXPECT_FALSE(b.finished());
}

TEST_F(Executor, AndWhoeverComesLastFindsIt) {
  task_with(a, r[0]);
  ASSERT_TRUE(b.acquire(r[1]));
  begin_inside(a, r[1], blocking(HoldKind::Exclusive, ResourcePriority::High));
  wait_until_queued(r[1]);
  EXPECT_TRUE(fails_with(b.acquire(r[0], blocking()), ErrorCode::Deadlock));
  ASSERT_TRUE(b.release(r[1]));
  EXPECT_TRUE(a.finish());
}

TEST_F(Executor, ScopesMayBeNested) {
  task_with(a, r[0]);
  const Outcome refused = a.run_call([this](Context& me) -> Outcome {
    const ExecutorScope outer;
    {
      const ExecutorScope inner;
    }
    return domain.engine.acquire(me, r[0], blocking());
  });
  EXPECT_TRUE(fails_with(refused, ErrorCode::Deadlock));
}

TEST_F(Executor, AContextThatIsUsedAnewIsNobodysTask) {
  Context& task = domain.open();
  set_executor(task, &a.context());
  store_relaxed(task.record->blocked_in, std::uint16_t{3});
  domain.contexts.close(task, false);
  const Context& anew = domain.open();
  ASSERT_EQ(anew.record, task.record);
  EXPECT_EQ(load_relaxed(anew.record->executor), 0u);
  EXPECT_EQ(load_relaxed(anew.record->blocked_in), 0u);
}

// A peer may write what he likes into his marks.
TEST_F(Executor, MarksThatNameNobodyAreNobodys) {
  ASSERT_TRUE(b.acquire(r[0]));
  ASSERT_TRUE(a.acquire(r[1]));
  for (const std::uint16_t forged : {std::uint16_t{0xffff}, b.id()}) {
    store_relaxed(b.context().record->executor, forged);
    store_relaxed(b.context().record->blocked_in, forged);
    EXPECT_TRUE(fails_with(a.acquire(r[0], timed(1'000'000)), ErrorCode::TimedOut));
  }
}

}  // namespace
}  // namespace resmgr::lock::test
