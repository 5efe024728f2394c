// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/book.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/budget/support.hpp"

namespace resmgr::budget {
namespace {

constexpr auto kMemory = ResourceType::Memory;
constexpr auto kNormal = Urgency::Normal;
constexpr auto kEmergency = Urgency::Emergency;

class Books : public ::testing::Test {
 protected:
  [[nodiscard]] BudgetUsage of(std::uint32_t driver) const {
    return book_.usage(driver, kMemory).value();
  }

  test::Ledger ledger_;
  Book book_{ledger_.tables()};
};

TEST_F(Books, WithoutALimitEverythingIsGivenAndCounted) {
  EXPECT_TRUE(book_.charge(1, kMemory, std::uint64_t{1} << 62, kNormal));
  EXPECT_EQ(of(1).used, std::uint64_t{1} << 62);
  EXPECT_EQ(of(0).used, std::uint64_t{1} << 62);
  EXPECT_EQ(of(2).used, 0u);
  EXPECT_EQ(of(1).budget, ResourceBudget{});
  book_.give_back(1, kMemory, std::uint64_t{1} << 62);
  EXPECT_EQ(of(0).used, 0u);
  EXPECT_EQ(of(0).peak, std::uint64_t{1} << 62);
}

TEST_F(Books, WhatCannotBeCountedIsRefusedEvenWithoutALimit) {
  ASSERT_TRUE(book_.charge(1, kMemory, kUnlimited - 10, kNormal));
  for (const Urgency urgency : {kNormal, kEmergency}) {
    const auto refused = book_.charge(2, kMemory, 11, urgency);
    ASSERT_EQ(refused.error(), ErrorCode::BudgetExceeded);
    EXPECT_EQ(refused.error().available(), 10u);
  }
}

TEST_F(Books, ARefusalSaysWhatWasWantedAndWhatThereIsAndChangesNothing) {
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 100, .reserved = 10}));
  ASSERT_TRUE(book_.charge(1, kMemory, 60, kNormal));
  const auto refused = book_.charge(2, kMemory, 31, kNormal);
  ASSERT_EQ(refused.error(), ErrorCode::BudgetExceeded);
  EXPECT_EQ(refused.error().requested(), 31u);
  EXPECT_EQ(refused.error().available(), 30u);
  EXPECT_EQ(of(0).used, 60u);
  EXPECT_EQ(of(0).refusals, 1u);
  EXPECT_EQ(of(2).used, 0u);
  EXPECT_TRUE(book_.charge(2, kMemory, 30, kNormal));
  EXPECT_TRUE(book_.charge(2, kMemory, 0, kNormal)) << "nothing is always there";
}

TEST_F(Books, ADriverHasNoMoreThanItsOwnBudget) {
  ASSERT_TRUE(book_.set(1, kMemory, {.max = 50}));
  EXPECT_EQ(book_.charge(1, kMemory, 51, kNormal).error(), ErrorCode::BudgetExceeded);
  EXPECT_TRUE(book_.charge(2, kMemory, 51, kNormal));
  EXPECT_TRUE(book_.charge(0, kMemory, 51, kNormal)) << "who has no name has no budget of his own";
  EXPECT_EQ(of(1).refusals, 1u);
  EXPECT_EQ(of(0).refusals, 0u);
  EXPECT_EQ(of(0).used, 102u);
}

TEST_F(Books, AnEmergencyTakesTheReserveThenOverdraws) {
  std::vector<Overdraft> told;
  book_.on_overdraft([&](const Overdraft& overdraft) { told.push_back(overdraft); });
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 100, .reserved = 20}));
  ASSERT_TRUE(book_.charge(1, kMemory, 70, kEmergency));
  EXPECT_TRUE(told.empty()) << "it took what anybody is given";
  ASSERT_TRUE(book_.charge(1, kMemory, 15, kEmergency));
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].reserved, 5u);
  EXPECT_EQ(told[0].beyond, 0u);
  ASSERT_TRUE(book_.charge(1, kMemory, 40, kEmergency));
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1].reserved, 15u);
  EXPECT_EQ(told[1].beyond, 25u);
  EXPECT_EQ(told[1].driver, 1u);
  EXPECT_EQ(of(0).overdrafts, 2u);
  EXPECT_EQ(of(0).overdrawn, 25u);
  EXPECT_EQ(book_.charge(2, kMemory, 1, kNormal).error().available(), 0u);
  // What is above the maximum comes back first.
  book_.give_back(1, kMemory, 40);
  EXPECT_EQ(book_.charge(2, kMemory, 1, kNormal).error(), ErrorCode::BudgetExceeded);
  book_.give_back(1, kMemory, 10);
  EXPECT_TRUE(book_.charge(2, kMemory, 5, kNormal));
  EXPECT_EQ(of(0).overdrawn, 25u) << "the most that it ever was";
}

TEST_F(Books, ABudgetThatCannotBeIsRefused) {
  for (const ResourceBudget& wrong :
       {ResourceBudget{.max = 10, .reserved = 11}, ResourceBudget{.max = 10, .warning_percent = 0},
        ResourceBudget{.max = 10, .warning_percent = 90, .critical_percent = 80},
        ResourceBudget{.max = 10, .critical_percent = 101}}) {
    EXPECT_EQ(book_.set(0, kMemory, wrong).error(), ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(of(0).budget, ResourceBudget{});
  EXPECT_EQ(book_.set(4, kMemory, {}).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(book_.set(0, ResourceType{6}, {}).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(book_.charge(4, kMemory, 1, kNormal).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(book_.usage(4, kMemory).error(), ErrorCode::InvalidArgument);
}

TEST_F(Books, ABudgetOfNothingGivesNothing) {
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 0}));
  EXPECT_EQ(book_.charge(1, kMemory, 1, kNormal).error(), ErrorCode::BudgetExceeded);
  EXPECT_TRUE(book_.charge(1, kMemory, 1, kEmergency));
}

TEST_F(Books, ABudgetBelowWhatIsUsedTakesNothingFromAnybody) {
  ASSERT_TRUE(book_.charge(1, kMemory, 100, kNormal));
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 50}, true));
  EXPECT_EQ(of(0).used, 100u);
  EXPECT_EQ(of(0).available(), 0u);
  EXPECT_EQ(book_.charge(1, kMemory, 1, kNormal).error(), ErrorCode::BudgetExceeded);
  book_.give_back(1, kMemory, 60);
  EXPECT_TRUE(book_.charge(1, kMemory, 10, kNormal));
}

TEST_F(Books, CreditsAreDrawnInAdvanceWhereThereIsPlenty) {
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 1600}));
  const auto drawn = book_.draw(7, 1, kMemory, 10, 200, kNormal);
  ASSERT_TRUE(drawn);
  EXPECT_EQ(drawn->amount, 100u) << "a sixteenth of what is left";
  EXPECT_EQ(ledger_.account(drawn->account).granted[1], 100u);
  EXPECT_EQ(of(0).drawn, 100u);
  EXPECT_EQ(of(0).used, 100u);
  const auto more = book_.draw(7, 1, kMemory, 1400, 2000, kNormal);
  ASSERT_TRUE(more);
  EXPECT_EQ(more->account, drawn->account);
  EXPECT_EQ(more->amount, 1400u) << "no more than asked for, where little is left";
  const auto refused = book_.draw(8, 1, kMemory, 101, 101, kNormal);
  ASSERT_EQ(refused.error(), ErrorCode::BudgetExceeded);
  EXPECT_EQ(refused.error().available(), 100u);
  ASSERT_TRUE(book_.return_credits(7, drawn->account, kMemory, 1100));
  EXPECT_EQ(of(1).drawn, 1100u);
  const auto returned = book_.return_credits(7, drawn->account, kMemory, 0);
  EXPECT_TRUE(returned);
  EXPECT_TRUE(book_.return_credits(7, drawn->account, kMemory, 0)) << "said twice";
  EXPECT_EQ(of(1).used, 0u);
  EXPECT_EQ(of(1).drawn, 0u);
}

TEST_F(Books, NobodyReturnsWhatHeWasNotGiven) {
  const auto drawn = book_.draw(7, 1, kMemory, 10, 10, kNormal);
  ASSERT_TRUE(drawn);
  EXPECT_EQ(book_.return_credits(7, drawn->account, kMemory, 11).error(),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(book_.return_credits(8, drawn->account, kMemory, 1).error(),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(book_.return_credits(7, 8, kMemory, 1).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(book_.return_credits(7, drawn->account, ResourceType{6}, 1).error(),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(of(0).used, 10u);
}

TEST_F(Books, WhoIsGoneGivesAllBack) {
  ASSERT_TRUE(book_.draw(7, 1, kMemory, 10, 10, kNormal));
  ASSERT_TRUE(book_.draw(7, 2, ResourceType::Custom, 3, 3, kNormal));
  ASSERT_TRUE(book_.draw(0, 1, kMemory, 5, 5, kNormal)) << "the process alone with its domain";
  book_.close_accounts(7);
  EXPECT_EQ(of(0).used, 5u);
  EXPECT_EQ(book_.usage(2, ResourceType::Custom)->used, 0u);
  book_.close_accounts(7);
  EXPECT_EQ(of(0).used, 5u);
  for (std::uint32_t client = 1; client < 8; ++client) {
    EXPECT_TRUE(book_.draw(client, 1, kMemory, 1, 1, kNormal)) << client;
  }
  const auto full = book_.draw(9, 1, kMemory, 1, 1, kNormal);
  EXPECT_EQ(full.error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(of(0).used, 12u);
}

TEST_F(Books, ANewAuthorityBelievesNoNoise) {
  ASSERT_TRUE(book_.set(1, kMemory, {.max = 100}));
  rm_budget& noisy = *book_.tables().row(0, kMemory);
  noisy.max = 5;
  noisy.reserved = 6;
  noisy.warning_percent = 200;
  noisy.flags = 0xff;
  noisy.level = 77;
  noisy.used = ~std::uint64_t{0};
  const auto account_of = [](std::uint32_t link, std::uint32_t driver, std::uint64_t bytes) {
    rm_account account{};
    account.client_link = link;
    account.driver = driver;
    account.granted[static_cast<std::size_t>(kMemory)] = bytes;
    return account;
  };
  for (std::uint32_t i = 0; i < 8; ++i) ledger_.account(i) = account_of(~i, ~i, i);
  // Of a client that there may be, and more than there is.
  ledger_.account(3) = account_of(2, 1, ~std::uint64_t{0});
  ledger_.account(4) = account_of(2, 2, 7);
  Book next(ledger_.tables());
  next.recount({.drivers = 4, .clients = 3}, [](const Book::Add& add) { add(1, kMemory, 10); });
  EXPECT_EQ(next.usage(0, kMemory)->budget, ResourceBudget{});
  EXPECT_EQ(next.usage(0, kMemory)->pressure, ResourcePressure::Low);
  EXPECT_EQ(next.usage(0, kMemory)->used, 17u);
  EXPECT_EQ(next.usage(1, kMemory)->budget.max, 100u);
  EXPECT_EQ(next.usage(1, kMemory)->used, 10u);
  EXPECT_TRUE(next.draw(0, 1, kMemory, 1, 1, kNormal)) << "accounts of nobody are free";
}

}  // namespace
}  // namespace resmgr::budget
