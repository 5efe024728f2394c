// SPDX-License-Identifier: Apache-2.0
//
// Snapshots: what is read is what was written, and nothing else is taken for one.
#include "tools/resmgrctl/snapshot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "resmgr/lock/word.hpp"
#include "tests/tools/resmgrctl/support.hpp"
#include "tools/resmgrctl/picture.hpp"
#include "tools/resmgrctl/snapshot_format.hpp"
#include "tools/resmgrctl/source.hpp"

namespace resmgrctl::test {
namespace {

using resmgr::Handle;
using resmgr::load;
using resmgr::lock::Context;
using resmgr::lock::StateWord;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SnapshotTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(folder.data()), nullptr); }
  void TearDown() override { std::filesystem::remove_all(folder); }

  void save(const Look& first, const Look& second) {
    const auto saved = write_snapshot(
        path(), first, second,
        {.place = "/run/resmgr/main.sock", .daemon_version = "9.8", .taken_at_utc = 1'700'000'000});
    ASSERT_TRUE(saved) << saved.error().text;
    EXPECT_EQ(saved->bytes, std::filesystem::file_size(path()));
  }
  [[nodiscard]] std::string path() const { return folder + "/snapshot"; }
  [[nodiscard]] std::string bytes() const {
    std::ifstream file(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void replace(const std::string& bytes) const { std::ofstream(path(), std::ios::binary) << bytes; }
  [[nodiscard]] std::string complaint() const {
    const auto read = read_snapshot(path());
    return read ? "none" : read.error().text;
  }
  [[nodiscard]] Diagnosis diagnose() const {
    const auto source = open_source({.snapshot = path()});
    EXPECT_TRUE(source);
    return resmgrctl::diagnose(**source, std::chrono::milliseconds(1)).value();
  }

  std::string folder = std::filesystem::temp_directory_path() / "resmgrctl-test-XXXXXX";
  World world;
  Handle x = world.add("x");
  Context& a = world.open();
};

TEST_F(SnapshotTest, HasBothLooks) {
  const Look first = world.look();
  ASSERT_TRUE(world.acquire(a, x));
  const Handle y = world.add("y");
  const Look second = world.look();
  save(first, second);
  const auto read = read_snapshot(path());
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(read->origin.daemon_version, "9.8");
  EXPECT_EQ(read->origin.place, path());
  EXPECT_EQ(read->origin.taken_at_utc, 1'700'000'000u);
  EXPECT_TRUE(read->origin.is_snapshot);
  const Picture before = Picture::of(read->first);
  const Picture after = Picture::of(read->second);
  EXPECT_THAT(before.find("x")->holds, IsEmpty());
  EXPECT_EQ(before.find("y"), nullptr);
  ASSERT_EQ(after.find("x")->holds.size(), 1u);
  EXPECT_EQ(after.find("x")->holds[0].who.process, Process::Alive);
  EXPECT_NE(after.find(y), nullptr);
  EXPECT_EQ(after.resident_bytes, second.resident_bytes);
  EXPECT_EQ(std::filesystem::status(path()).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(SnapshotTest, APageThatBecameEmptyIsEmpty) {
  std::uint64_t& taken = world.tables().nodes_taken[0];
  const Look first = [&] {
    const Damage damage(taken, std::uint64_t{0xff});
    return world.look();
  }();
  save(first, world.look());
  const auto read = read_snapshot(path());
  ASSERT_TRUE(read);
  EXPECT_EQ(load(read->first.locks.tables().nodes_taken[0]), 0xffu);
  EXPECT_EQ(load(read->second.locks.tables().nodes_taken[0]), 0u);
}

TEST_F(SnapshotTest, IsExaminedLikeTheDomain) {
  {
    const Damage damage(world.slot(x).word,
                        StateWord{load(world.slot(x).word)}.with(RM_WORD_WORK).bits);
    save(world.look(), world.look());
  }
  EXPECT_THAT(checks_of(diagnose().findings), ElementsAre("work-left"));
  // What is in one look alone is no finding.
  const Look sound = world.look();
  const Damage damage(world.slot(x).word,
                      StateWord{load(world.slot(x).word)}.with(RM_WORD_WORK).bits);
  save(sound, world.look());
  EXPECT_THAT(diagnose().findings, IsEmpty());
  EXPECT_EQ(diagnose().looks, 2u);
}

TEST_F(SnapshotTest, ForeignFilesAreRefused) {
  EXPECT_THAT(complaint(), HasSubstr("No such file"));
  replace("");
  EXPECT_THAT(complaint(), HasSubstr("is no snapshot"));
  replace(std::string(100'000, 'x'));
  EXPECT_THAT(complaint(), HasSubstr("is no snapshot"));
  save(world.look(), world.look());
  std::string other = bytes();
  other[offsetof(SnapshotHeader, version)] = 2;
  replace(other);
  EXPECT_THAT(complaint(), HasSubstr("of version 2"));
}

TEST_F(SnapshotTest, DamagedFilesAreRefused) {
  save(world.look(), world.look());
  const std::string good = bytes();
  EXPECT_EQ(complaint(), "none");
  const auto refused = [&](const std::string& bad, std::size_t at) {
    replace(bad);
    const std::string text = complaint();
    EXPECT_NE(text, "none") << "at byte " << at;
    EXPECT_THAT(text, HasSubstr(path()));
  };
  for (std::size_t at = 0; at < good.size(); at += at < sizeof(SnapshotHeader) ? 1 : 397) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    refused(bad, at);
  }
  for (std::size_t length = 1; length < good.size(); length += 4099) {
    refused(good.substr(0, length), length);
  }
  refused(good + "x", good.size());
}

TEST_F(SnapshotTest, WhatCantBeWrittenSaysSo) {
  const Look look = world.look();
  const auto saved = write_snapshot(folder + "/no/where", look, look, {});
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().text, HasSubstr("/no/where: No such file"));
}

}  // namespace
}  // namespace resmgrctl::test
