// SPDX-License-Identifier: Apache-2.0
//
// Hooks that make hardware quiet: which attempt they are told of, and when.
#include "resmgr/client/hooks.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <future>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

namespace resmgr::client {
namespace {

constexpr Handle kHandle{1, 1};
constexpr Handle kOther{2, 1};

class QuiesceHooks : public ::testing::Test {
 protected:
  /// A hook that writes down the attempt, and waits with the first one until release().
  Hooks hooks() {
    Hooks made;
    made.on_quiesce = [this](Handle, std::uint32_t attempt) {
      const bool is_first = [&] {
        const std::lock_guard lock(mutex);
        attempts.push_back(attempt);
        return attempts.size() == 1;
      }();
      if (!is_first) return;
      began.set_value();
      gate.get_future().wait();
    };
    return made;
  }
  void release() { gate.set_value(); }
  /// All that was told, when the table has stopped.
  std::vector<std::uint32_t> told() {
    table.stop();
    return attempts;
  }

  std::mutex mutex;
  std::vector<std::uint32_t> attempts;
  std::promise<void> began;
  std::promise<void> gate;
  HookTable table;
};

TEST_F(QuiesceHooks, OfSeveralQuestionsTheLastIsAskedWhenTheHookIsDone) {
  ASSERT_TRUE(table.add(kHandle, hooks()));
  table.quiesce(kHandle, 7);
  began.get_future().wait();
  table.quiesce(kHandle, 8);
  table.quiesce(kHandle, 9);
  release();
  EXPECT_EQ(told(), (std::vector<std::uint32_t>{7, 9}));
}

// The answer to the registration was on its way.
TEST_F(QuiesceHooks, WhoIsAskedBeforeHeKnowsHisHandleIsAskedThen) {
  table.quiesce(kHandle, 5);
  release();
  ASSERT_TRUE(table.add(kHandle, hooks()));
  EXPECT_EQ(told(), (std::vector<std::uint32_t>{5}));
}

TEST_F(QuiesceHooks, NobodyIsAskedWhatHeHasNoHookFor) {
  Hooks plain;
  plain.on_access = [](Handle) {};
  ASSERT_TRUE(table.add(kHandle, std::move(plain)));
  table.quiesce(kHandle, 1);
  EXPECT_TRUE(told().empty());
}

TEST_F(QuiesceHooks, WhatIsGoneIsNotAsked) {
  ASSERT_TRUE(table.add(kHandle, hooks()));
  ASSERT_TRUE(table.add(kOther, hooks()));
  table.quiesce(kHandle, 1);
  began.get_future().wait();
  table.quiesce(kOther, 2);
  table.remove(kOther);
  release();
  EXPECT_EQ(told(), (std::vector<std::uint32_t>{1}));
}

TEST_F(QuiesceHooks, ComeBeforeOtherHooks) {
  std::vector<char> order;
  ASSERT_TRUE(table.add(kHandle, hooks()));
  Hooks others;
  others.on_create = [&](Handle) { order.push_back('c'); };
  others.on_quiesce = [&](Handle, std::uint32_t) { order.push_back('q'); };
  ASSERT_TRUE(table.add(kOther, std::move(others)));
  table.quiesce(kHandle, 1);
  began.get_future().wait();
  table.created(kOther);
  table.quiesce(kOther, 2);
  release();
  (void)told();
  EXPECT_EQ(order, (std::vector<char>{'q', 'c'}));
}

TEST_F(QuiesceHooks, OneThatThrowsEndsThere) {
  Hooks throwing;
  throwing.on_quiesce = [](Handle, std::uint32_t) { throw std::runtime_error("no"); };
  ASSERT_TRUE(table.add(kHandle, std::move(throwing)));
  table.quiesce(kHandle, 1);
  EXPECT_TRUE(told().empty());
}

}  // namespace
}  // namespace resmgr::client
