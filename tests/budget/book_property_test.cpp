// SPDX-License-Identifier: Apache-2.0
//
// Random charges, draws, deaths and changes of limits against an oracle that remembers every
// amount: what is used always adds up, and nobody gets what there is not.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "resmgr/budget/book.hpp"
#include "tests/base/seed.hpp"
#include "tests/budget/support.hpp"

namespace resmgr::budget {
namespace {

using resmgr::test::seed;

constexpr std::uint32_t kDrivers = 4;
constexpr std::uint32_t kClients = 3;
constexpr std::array kTypes{ResourceType::Memory, ResourceType::Hardware};

struct Registered {
  std::uint32_t driver;
  ResourceType type;
  std::uint64_t amount;
};

class Oracle {
 public:
  std::vector<Registered> registered;
  /// By client, driver and type.
  std::map<std::tuple<std::uint32_t, std::uint32_t, ResourceType>, std::uint64_t> drawn;
  std::map<std::pair<std::uint32_t, ResourceType>, ResourceBudget> limits;

  [[nodiscard]] std::uint64_t drawn_of(std::uint32_t driver, ResourceType type) const {
    std::uint64_t sum = 0;
    for (const auto& [key, amount] : drawn) {
      const auto& [client, whose, what] = key;
      if (what == type && (driver == 0 || whose == driver)) sum += amount;
    }
    return sum;
  }
  [[nodiscard]] std::uint64_t used(std::uint32_t driver, ResourceType type) const {
    std::uint64_t sum = drawn_of(driver, type);
    for (const Registered& each : registered) {
      if (each.type == type && (driver == 0 || each.driver == driver)) sum += each.amount;
    }
    return sum;
  }
  [[nodiscard]] std::uint64_t left(std::uint32_t driver, ResourceType type) const {
    const auto of = [&](std::uint32_t row) {
      const auto limit = limits.find({row, type});
      const std::uint64_t most =
          limit == limits.end() ? kUnlimited : limit->second.max - limit->second.reserved;
      return most - std::min(most, used(row, type));
    };
    return driver == 0 ? of(0) : std::min(of(0), of(driver));
  }
};

class Game {
 public:
  explicit Game(std::uint64_t seeded) : random_(seeded) {}

  void play(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      switch (pick(8)) {
        case 0:
        case 1:
          charge();
          break;
        case 2:
          give_back();
          break;
        case 3:
          draw();
          break;
        case 4:
          return_credits();
          break;
        case 5:
          die();
          break;
        case 6:
          limit();
          break;
        default:
          begin_anew();
      }
      check(step);
    }
  }
  int refusals = 0;
  int overdrafts = 0;

 private:
  std::uint64_t pick(std::uint64_t count) { return random_() % count; }
  ResourceType type() { return kTypes[pick(kTypes.size())]; }

  void charge() {
    const Registered wanted{static_cast<std::uint32_t>(pick(kDrivers)), type(), pick(40)};
    const std::uint64_t left = oracle_.left(wanted.driver, wanted.type);
    const bool emergency = pick(8) == 0;
    const auto done = book_.charge(wanted.driver, wanted.type, wanted.amount,
                                   emergency ? Urgency::Emergency : Urgency::Normal);
    ASSERT_EQ(done.has_value(), emergency || wanted.amount <= left);
    if (done) {
      if (wanted.amount > left) ++overdrafts;
      oracle_.registered.push_back(wanted);
    } else {
      ++refusals;
      EXPECT_EQ(done.error().requested(), wanted.amount);
      EXPECT_GE(done.error().available(), left);
      EXPECT_LT(done.error().available(), wanted.amount);
    }
  }
  void give_back() {
    if (oracle_.registered.empty()) return;
    const auto which =
        oracle_.registered.begin() + static_cast<std::ptrdiff_t>(pick(oracle_.registered.size()));
    book_.give_back(which->driver, which->type, which->amount);
    oracle_.registered.erase(which);
  }
  void draw() {
    const auto client = static_cast<std::uint32_t>(pick(kClients));
    const auto driver = static_cast<std::uint32_t>(pick(kDrivers));
    const ResourceType what = type();
    const std::uint64_t least = pick(20);
    const std::uint64_t left = oracle_.left(driver, what);
    const auto done = book_.draw(client, driver, what, least, least + pick(20), Urgency::Normal);
    ASSERT_EQ(done.has_value(), least <= left);
    if (!done) return;
    EXPECT_GE(done->amount, least);
    EXPECT_LE(done->amount, left);
    oracle_.drawn[{client, driver, what}] += done->amount;
    accounts_[{client, driver}] = done->account;
  }
  void return_credits() {
    for (auto& [key, amount] : oracle_.drawn) {
      const auto& [client, driver, what] = key;
      if (amount == 0 || pick(2) == 0) continue;
      const std::uint64_t kept = pick(amount + 1);
      EXPECT_TRUE(book_.return_credits(client, accounts_.at({client, driver}), what, kept));
      amount = kept;
      return;
    }
  }
  void die() {
    const auto client = static_cast<std::uint32_t>(pick(kClients));
    book_.close_accounts(client);
    std::erase_if(oracle_.drawn,
                  [&](const auto& each) { return std::get<0>(each.first) == client; });
  }
  void limit() {
    const auto driver = static_cast<std::uint32_t>(pick(kDrivers));
    const ResourceType what = type();
    const std::uint64_t max = pick(400);
    const ResourceBudget budget{.max = max, .reserved = pick(max + 1)};
    EXPECT_TRUE(book_.set(driver, what, budget));
    oracle_.limits[{driver, what}] = budget;
  }
  // As an authority that follows one that was killed somewhere.
  void begin_anew() {
    for (std::uint32_t driver = 0; driver < kDrivers; ++driver) {
      book_.tables().row(driver, type())->used ^= random_();
      book_.tables().row(driver, type())->drawn ^= random_();
    }
    book_ = Book(ledger_.tables());
    book_.recount({.drivers = kDrivers, .clients = kClients}, [this](const Book::Add& add) {
      for (const Registered& each : oracle_.registered) add(each.driver, each.type, each.amount);
    });
  }
  void check(int step) {
    for (std::uint32_t driver = 0; driver < kDrivers; ++driver) {
      for (const ResourceType what : kTypes) {
        const auto usage = book_.usage(driver, what);
        ASSERT_TRUE(usage);
        EXPECT_EQ(usage->used, oracle_.used(driver, what)) << "step " << step;
        EXPECT_EQ(usage->drawn, oracle_.drawn_of(driver, what)) << "step " << step;
      }
    }
  }

  std::mt19937_64 random_;
  test::Ledger ledger_{kDrivers, kClients* kDrivers};
  Book book_{ledger_.tables()};
  Oracle oracle_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> accounts_;
};

TEST(BookProperty, WhatIsUsedAlwaysAddsUp) {
  Game game(seed());
  game.play(20'000);
  EXPECT_GT(game.refusals, 0) << "limits were never met";
  EXPECT_GT(game.overdrafts, 0);
}

}  // namespace
}  // namespace resmgr::budget
