// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/ledger_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <random>

#include "tests/base/support.hpp"

namespace resmgr::daemon {
namespace {

using test::code_of;

constexpr std::uint32_t kPlaces = 8;

Client client(std::uint32_t index, std::uint64_t sequence) {
  return {
      .pid = 100 + index, .start_time = 4711, .uid = 1000, .index = index, .sequence = sequence};
}

UniqueFd file_of(const LedgerFile& ledger) {
  return UniqueFd(::fcntl(ledger.fd(), F_DUPFD_CLOEXEC, 0));
}

TEST(LedgerFile, TellsTheNextOneWhoIsThere) {
  auto first = LedgerFile::create(kPlaces).value();
  first.came(client(1, 5));
  first.came(client(2, 6));
  first.came(client(7, 7));
  first.leaves(client(2, 6));
  first.leaves(client(7, 7));
  first.went(client(7, 7));
  const auto next = LedgerFile::attach(file_of(first), kPlaces).value();
  const auto clients = next.clients();
  ASSERT_EQ(clients.size(), 2u);
  EXPECT_EQ(clients[0].client.index, 1u);
  EXPECT_EQ(clients[0].client.sequence, 5u);
  EXPECT_EQ(clients[0].client.pid, 101u);
  EXPECT_EQ(clients[0].client.start_time, 4711u);
  EXPECT_EQ(clients[0].client.uid, 1000u);
  EXPECT_FALSE(clients[0].leaving);
  EXPECT_EQ(clients[1].client.index, 2u);
  EXPECT_TRUE(clients[1].leaving);
}

TEST(LedgerFile, TellsTheNextOneWhichDriversAreDrained) {
  auto first = LedgerFile::create(kPlaces).value();
  for (const std::uint32_t driver : {0u, 63u, 64u, RM_MAX_DRIVERS - 1}) first.drained(driver, true);
  first.drained(64, false);
  first.drained(RM_MAX_DRIVERS, true);
  const auto next = LedgerFile::attach(file_of(first), kPlaces).value();
  EXPECT_EQ(next.drained(), (std::vector<std::uint32_t>{0, 63, RM_MAX_DRIVERS - 1}));
  EXPECT_TRUE(next.clients().empty());
}

TEST(LedgerFile, WhatIsNoPlaceIsNotWritten) {
  auto ledger = LedgerFile::create(kPlaces).value();
  ledger.came(client(kPlaces, 1));
  ledger.leaves(client(~0u, 1));
  EXPECT_TRUE(ledger.clients().empty());
}

TEST(LedgerFile, WhatIsNoLedgerIsRefused) {
  const auto ledger = LedgerFile::create(kPlaces).value();
  EXPECT_EQ(code_of(LedgerFile::attach(file_of(ledger), kPlaces + 1)), ErrorCode::InvalidArgument);
  const UniqueFd file = file_of(ledger);
  const auto attached_with = [&](off_t offset, std::uint32_t value) {
    std::uint32_t before = 0;
    EXPECT_EQ(::pread(file.get(), &before, sizeof before, offset), ssize_t{sizeof before});
    EXPECT_EQ(::pwrite(file.get(), &value, sizeof value, offset), ssize_t{sizeof value});
    const auto code = code_of(LedgerFile::attach(file_of(ledger), kPlaces));
    EXPECT_EQ(::pwrite(file.get(), &before, sizeof before, offset), ssize_t{sizeof before});
    return code;
  };
  EXPECT_EQ(attached_with(0, 0), ErrorCode::InvalidArgument);
  EXPECT_EQ(attached_with(8, 4), ErrorCode::VersionMismatch);
  EXPECT_EQ(attached_with(16, 7), ErrorCode::InvalidArgument);
  EXPECT_TRUE(LedgerFile::attach(file_of(ledger), kPlaces));
  // Not sealed: whoever has it could take its pages away.
  UniqueFd open(::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(open.get(), 4096), 0);
  EXPECT_EQ(code_of(LedgerFile::attach(std::move(open), kPlaces)), ErrorCode::InvalidArgument);
}

TEST(LedgerFile, NoiseInItNamesNobodyWhoCantBe) {
  const auto ledger = LedgerFile::create(kPlaces).value();
  const UniqueFd file = file_of(ledger);
  const off_t bytes = ::lseek(file.get(), 0, SEEK_END);
  std::mt19937_64 random(1);
  for (int round = 0; round < 1000; ++round) {
    for (off_t at = 24; at < bytes; at += 8) {
      const std::uint64_t noise = random() >> random() % 64;
      ASSERT_EQ(::pwrite(file.get(), &noise, sizeof noise, at), ssize_t{sizeof noise});
    }
    for (const LedgerFile::Survivor& survivor : ledger.clients()) {
      EXPECT_NE(survivor.client.index, 0u);
      EXPECT_LT(survivor.client.index, kPlaces);
      EXPECT_NE(survivor.client.pid, 0u);
      EXPECT_NE(survivor.client.sequence, 0u);
    }
  }
}

TEST(LedgerFile, TellsWhichRegistryIsTheDomains) {
  auto ledger = LedgerFile::create(kPlaces).value();
  EXPECT_TRUE(ledger.check_current(1));
  EXPECT_TRUE(ledger.begins(1));
  // Copies of it, and of those, as long as nobody wrote any.
  EXPECT_EQ(ledger.next_epoch(), 2u);
  EXPECT_EQ(ledger.next_epoch(), 3u);
  EXPECT_TRUE(ledger.check_current(1));
  EXPECT_TRUE(ledger.check_current(2));
  EXPECT_TRUE(ledger.check_current(3));
  // Who made them is gone without having written them.
  EXPECT_TRUE(ledger.begins(1));
  EXPECT_TRUE(ledger.check_current(1));
  EXPECT_FALSE(ledger.check_current(2));
  EXPECT_FALSE(ledger.check_current(3));
  EXPECT_EQ(code_of(ledger.begins(3)), ErrorCode::InvalidArgument);
  EXPECT_EQ(ledger.next_epoch(), 4u);
  EXPECT_TRUE(ledger.check_current(4));
  EXPECT_TRUE(ledger.begins(4));
  const auto next = LedgerFile::attach(file_of(ledger), kPlaces).value();
  EXPECT_TRUE(next.check_current(4));
  for (const std::uint64_t epoch : {0u, 1u, 2u, 3u}) {
    EXPECT_EQ(code_of(next.check_current(epoch)), ErrorCode::InvalidArgument);
  }
}

TEST(LedgerFile, EpochsEnd) {
  auto ledger = LedgerFile::create(kPlaces).value();
  const UniqueFd file = file_of(ledger);
  const std::uint64_t last = ~std::uint64_t{0};
  ASSERT_EQ(::pwrite(file.get(), &last, sizeof last, 24), ssize_t{sizeof last});
  EXPECT_EQ(ledger.next_epoch(), 0u);
  EXPECT_EQ(ledger.next_epoch(), 0u);
}

TEST(LedgerFile, TwoDoNotHaveTheTurn) {
  const auto first = LedgerFile::create(kPlaces).value();
  const auto second = LedgerFile::attach(file_of(first), kPlaces).value();
  auto turn = first.take_turn(0);
  ASSERT_TRUE(turn);
  EXPECT_EQ(code_of(second.take_turn(0)), ErrorCode::InUse);
  turn->reset();
  EXPECT_TRUE(second.take_turn(0));
}

}  // namespace
}  // namespace resmgr::daemon
