// SPDX-License-Identifier: Apache-2.0
//
// The judge of the soak is judged: he finds what was planted in logs, and nothing in sound ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/kill/soak_oracle.hpp"

namespace resmgr::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kGrace = 100;
constexpr std::uint64_t kEver = 1'000'000;

/// A log, written as it would be: times are given, of one resource.
class Writer {
 public:
  Writer& asks(std::uint64_t at, bool exclusive = true, std::uint64_t deadline = kEver) {
    exclusive_ = exclusive;
    return own(SoakEvent::Asked, at, deadline);
  }
  Writer& has(std::uint64_t at, bool inconsistent = false) {
    return own(SoakEvent::Granted, at, 0, inconsistent);
  }
  Writer& is_refused(std::uint64_t at) { return own(SoakEvent::Refused, at); }
  Writer& repairs(std::uint64_t at) { return own(SoakEvent::Repaired, at); }
  Writer& begins_to_release(std::uint64_t at) { return own(SoakEvent::Releasing, at); }
  Writer& releases(std::uint64_t at) {
    begins_to_release(at);
    return own(SoakEvent::Released, at + 1);
  }
  Writer& registers(std::uint64_t handle) { return of_own(SoakEvent::Registered, handle); }
  Writer& finds(std::uint64_t handle) { return of_own(SoakEvent::LookedUp, handle); }
  Writer& unregisters() { return of_own(SoakEvent::Unregistered, 0); }
  Writer& stops(std::uint64_t from, std::uint64_t to) {
    log.fate.push_back({.what = SoakEvent::Stopped, .at_ns = from});
    log.fate.push_back({.what = SoakEvent::Continued, .at_ns = to});
    return *this;
  }
  Writer& dies(std::uint64_t from, std::uint64_t to) {
    log.fate.push_back({.what = SoakEvent::Killed, .at_ns = from});
    log.fate.push_back({.what = SoakEvent::Buried, .at_ns = to});
    return *this;
  }

  SoakLog log;

 private:
  Writer& own(SoakEvent what, std::uint64_t at, std::uint64_t deadline = 0,
              bool inconsistent = false) {
    log.entries.push_back({.what = what,
                           .resource = 3,
                           .exclusive = exclusive_,
                           .inconsistent = inconsistent,
                           .deadline_ns = deadline,
                           .at_ns = at});
    return *this;
  }

  Writer& of_own(SoakEvent what, std::uint64_t handle) {
    log.entries.push_back({.what = what, .handle = handle, .at_ns = ++own_at_});
    return *this;
  }

  bool exclusive_ = true;
  std::uint64_t own_at_ = 0;
};

std::vector<std::string> judge(const std::vector<Writer>& writers) {
  SoakOracle oracle(kGrace);
  for (const Writer& writer : writers) oracle.add(writer.log);
  return oracle.judge();
}

TEST(SoakOracleTest, FindsNothingInASoundSoak) {
  EXPECT_THAT(
      judge({Writer().asks(1).has(2).releases(10).asks(11, false).has(30).releases(40),
             Writer().asks(3).has(12).releases(20), Writer().asks(13, false).has(31).releases(50),
             Writer().asks(14).is_refused(15)}),
      IsEmpty());
}

TEST(SoakOracleTest, FindsTwoExclusiveHoldsThatOverlap) {
  EXPECT_THAT(judge({Writer().asks(1).has(2).releases(10), Writer().asks(3).has(9).releases(20)}),
              ElementsAre(HasSubstr("I1")));
}

TEST(SoakOracleTest, FindsAnExclusiveHoldAmongSharedOnes) {
  EXPECT_THAT(
      judge({Writer().asks(1, false).has(2).releases(10),
             Writer().asks(1, false).has(3).releases(4), Writer().asks(3).has(9).releases(20)}),
      ElementsAre(HasSubstr("I1")));
  EXPECT_THAT(
      judge({Writer().asks(1).has(2).releases(10), Writer().asks(3, false).has(9).releases(20)}),
      ElementsAre(HasSubstr("I1")));
}

TEST(SoakOracleTest, FindsWhoHasItWhileItsHolderLives) {
  // Killed at 50, and not about to release before.
  EXPECT_THAT(judge({Writer().asks(1).has(2).dies(50, 60),
                     Writer().asks(3).has(40, true).repairs(41).releases(42)}),
              ::testing::Contains(HasSubstr("I1")));
}

TEST(SoakOracleTest, FindsRequestsWithoutAnOutcomeAndOutcomesWithoutOne) {
  EXPECT_THAT(judge({Writer().asks(1)}), ElementsAre(HasSubstr("middle")));
  EXPECT_THAT(judge({Writer().asks(1).asks(2).is_refused(3)}), ElementsAre(HasSubstr("again")));
  EXPECT_THAT(judge({Writer().asks(1).is_refused(3).is_refused(4)}),
              ElementsAre(HasSubstr("nobody asked")));
  EXPECT_THAT(judge({Writer().asks(1).dies(5, 6)}), IsEmpty());
}

TEST(SoakOracleTest, FindsOutcomesThatAreLate) {
  EXPECT_THAT(judge({Writer().asks(1, true, 10).is_refused(10 + kGrace)}), IsEmpty());
  EXPECT_THAT(judge({Writer().asks(1, true, 10).is_refused(11 + kGrace)}),
              ElementsAre(HasSubstr("I6")));
  EXPECT_THAT(judge({Writer().asks(1, true, 10).is_refused(1000).stops(5, 950)}), IsEmpty());
}

TEST(SoakOracleTest, FindsADeathThatNobodyWasToldOf) {
  const Writer dead = Writer().asks(1).has(2).dies(50, 60);
  EXPECT_THAT(judge({dead, Writer().asks(3).has(55, true).repairs(56).releases(57)}), IsEmpty());
  EXPECT_THAT(judge({dead, Writer().asks(3).has(55).releases(57)}),
              ElementsAre(HasSubstr("not told")));
  // Until somebody has repaired it.
  EXPECT_THAT(judge({dead, Writer().asks(3).has(55, true).releases(57),
                     Writer().asks(60).has(61).releases(62)}),
              ElementsAre(HasSubstr("not told")));
  EXPECT_THAT(judge({dead, Writer().asks(3, false).has(55, true).releases(57),
                     Writer().asks(60).has(61, true).repairs(62).releases(63)}),
              IsEmpty());
}

TEST(SoakOracleTest, FindsWhoWasToldOfADeathThatWasNot) {
  EXPECT_THAT(judge({Writer().asks(1).has(2).releases(10),
                     Writer().asks(3).has(12, true).repairs(13).releases(20)}),
              ElementsAre(HasSubstr("there was not")));
  // Shared holders leave nothing half done.
  EXPECT_THAT(judge({Writer().asks(1, false).has(2).dies(10, 11),
                     Writer().asks(3).has(12, true).repairs(13).releases(20)}),
              ElementsAre(HasSubstr("there was not")));
}

TEST(SoakOracleTest, LeavesOpenWhatTheDeadDidLast) {
  const Writer letting_go = Writer().asks(1).has(2).begins_to_release(9).dies(10, 30);
  const Writer asking = Writer().asks(1).dies(10, 30);
  for (const Writer& dead : {letting_go, asking}) {
    for (const bool told : {false, true}) {
      for (const std::uint64_t at : {std::uint64_t{20}, std::uint64_t{40}}) {
        EXPECT_THAT(judge({dead, Writer().asks(3).has(at, told).repairs(at + 1).releases(at + 2)}),
                    IsEmpty());
      }
    }
    // Known again once somebody had it after that.
    EXPECT_THAT(judge({dead, Writer().asks(3).has(40).releases(42),
                       Writer().asks(43).has(44, true).repairs(45).releases(46)}),
                ElementsAre(HasSubstr("there was not")));
  }
}

constexpr std::uint64_t kNothing = 0;

// What the next daemon may get wrong that begins with a copy of the registry.
TEST(SoakOracleTest, FindsARegistryThatIsNotTheOneThatWasLeft) {
  EXPECT_THAT(judge({Writer().registers(7).finds(7).unregisters().finds(kNothing)}), IsEmpty());
  EXPECT_THAT(judge({Writer().registers(7).finds(7).dies(50, 60)}), IsEmpty());
  EXPECT_THAT(judge({Writer().registers(7).finds(7).finds(kNothing)}),
              ElementsAre(HasSubstr("was lost")));
  EXPECT_THAT(judge({Writer().registers(7).unregisters().finds(7)}),
              ElementsAre(HasSubstr("is back")));
  EXPECT_THAT(judge({Writer().registers(7).finds(8)}), ElementsAre(HasSubstr("another one")));
  EXPECT_THAT(judge({Writer().registers(7).registers(8)}), ElementsAre(HasSubstr("again")));
}

// Two that were both told that they have it: each by a daemon that went on as if it were alone.
TEST(SoakOracleTest, FindsAHolderWhomTheNextDaemonTookForDead) {
  EXPECT_THAT(judge({Writer().asks(1).has(2).releases(50),
                     Writer().asks(3).has(20, true).repairs(21).releases(30)}),
              ElementsAre(HasSubstr("I1"), HasSubstr("there was not")));
}

// The stamp of a kill is of before the signal.
TEST(SoakOracleTest, TakesTheDeadAtTheirLastWord) {
  const Writer dead = Writer().asks(1).has(12).dies(10, 30);
  EXPECT_THAT(judge({dead, Writer().asks(3).has(20, true).repairs(21).releases(22)}), IsEmpty());
  EXPECT_THAT(judge({dead, Writer().asks(3).has(20).releases(22)}),
              ElementsAre(HasSubstr("not told")));
}

TEST(SoakRingTest, TellsWhatItsReaderMissed) {
  const auto ring = std::make_unique<SoakRing>();
  std::vector<SoakEntry> read;
  ring->write({.resource = 1});
  EXPECT_TRUE(ring->read_into(read));
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].resource, 1);
  EXPECT_NE(read[0].at_ns, 0u);
  bool whole = true;
  for (int i = 0; i < 1 << 14; ++i) ring->write({.resource = 2});
  whole = ring->read_into(read);
  EXPECT_FALSE(whole);
}

}  // namespace
}  // namespace resmgr::test
