// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/audit_log.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/base/support.hpp"
#include "tests/daemon/fake_surroundings.hpp"

namespace resmgr::daemon {
namespace {

using nlohmann::json;
using resmgr::test::code_of;
using resmgr::test::open_fds;
using std::chrono::seconds;
using test::FakeSurroundings;

constexpr AuditEntry kDied{.event = AuditEvent::Died, .pid = 1, .uid = 0};

/// Files may not grow beyond `bytes`, as on a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before_), 0);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  sighandler_t handler_;
  rlimit before_{};
};

class Audits : public testing::Test {
 protected:
  AuditLog opened() {
    auto log = AuditLog::open(options_, sink_, surroundings_);
    if (!log) {
      ADD_FAILURE() << log.error().message();
      std::abort();
    }
    return *std::move(log);
  }
  static std::string content(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  /// Each line of the file, parsed; what is no JSON is null.
  std::vector<json> lines() const {
    std::vector<json> parsed;
    std::ifstream file(options_.path);
    for (std::string line; std::getline(file, line);) {
      json value = json::parse(line, nullptr, false);
      parsed.push_back(value.is_discarded() ? json() : value);
    }
    return parsed;
  }
  [[nodiscard]] static mode_t mode_of(const std::string& path) {
    struct stat file{};
    EXPECT_EQ(::stat(path.c_str(), &file), 0);
    return file.st_mode & 07777;
  }

  resmgr::test::TemporaryFolder folder_;
  FakeSurroundings surroundings_;
  AuditLog::Options options_{.path = folder_.path() / "main.json",
                             .max_bytes = 1 << 20,
                             .burst = 2,
                             .window = seconds(60)};
  std::vector<std::pair<LogLevel, std::string>> told_;
  LogSink sink_ = [this](LogLevel level, std::string_view line) {
    told_.emplace_back(level, std::string(line));
  };
};

TEST_F(Audits, AreOneObjectALine) {
  AuditLog log = opened();
  surroundings_.real_ms = 1'796'000'371'007;
  log.record({.event = AuditEvent::Refused,
              .pid = 812,
              .uid = 1000,
              .driver = "dma-edu",
              .resource = "gpu0/frame/3",
              .detail = "no right"});
  log.record({.event = AuditEvent::PolicyReloaded});
  EXPECT_EQ(content(options_.path),
            "{\"time\":\"2026-11-30T00:59:31.007Z\",\"event\":\"refused\",\"pid\":812,\"uid\":1000,"
            "\"driver\":\"dma-edu\",\"resource\":\"gpu0/frame/3\",\"detail\":\"no right\"}\n"
            "{\"time\":\"2026-11-30T00:59:31.007Z\",\"event\":\"policy_reloaded\"}\n");
  EXPECT_TRUE(told_.empty());
}

TEST_F(Audits, NameEachEvent) {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < kAuditEvents; ++i) {
    names.push_back(to_string(static_cast<AuditEvent>(i)));
  }
  EXPECT_EQ(names, (std::vector<std::string_view>{
                       "attached", "refused", "detached", "died", "emergency", "revoked",
                       "repaired", "orphaned", "adopted", "poisoned", "unpoisoned",
                       "policy_reloaded", "operated", "overdrawn", "lost"}));
}

TEST_F(Audits, AreNotForgedByNames) {
  AuditLog log = opened();
  // NOLINTNEXTLINE(misc-misleading-bidirectional): that is what it tries
  const std::string hostile = "\"}\n{\"event\":\"attached\"\x1b\xff\xe2\x80\xae\\";
  log.record({.event = AuditEvent::Refused,
              .uid = 1,
              .driver = hostile,
              .resource = std::string_view("a\0b", 3),
              .detail = std::string(1'000'000, '\n')});
  const std::vector<json> parsed = lines();
  ASSERT_EQ(parsed.size(), 1u);
  EXPECT_EQ(parsed[0].at("event"), "refused");
  // NOLINTNEXTLINE(misc-misleading-bidirectional)
  EXPECT_EQ(parsed[0].at("driver"), "\"}\n{\"event\":\"attached\"\x1b\uFFFD\u202e\\");
  EXPECT_EQ(parsed[0].at("resource"), std::string("a\0b", 3));
  EXPECT_EQ(parsed[0].at("detail"), std::string(1024, '\n'));
  for (const char byte : content(options_.path)) {
    EXPECT_TRUE(byte == '\n' || (byte >= ' ' && byte <= '~'));
  }
}

TEST_F(Audits, AreKeptFromOthers) {
  const mode_t before = ::umask(0077);
  const std::ptrdiff_t fds = open_fds();
  {
    AuditLog log = opened();
    EXPECT_EQ(mode_of(options_.path), 0640u);
    EXPECT_EQ(open_fds(), fds + 1);
  }
  ::umask(before);
  EXPECT_EQ(open_fds(), fds);
  // An operator's own choice stays.
  std::filesystem::permissions(options_.path, std::filesystem::perms(0600));
  opened();
  EXPECT_EQ(mode_of(options_.path), 0600u);
}

TEST_F(Audits, GoIntoRegularFilesOnly) {
  const auto code = [this](const std::string& path) {
    return code_of(AuditLog::open({.path = path}, sink_, surroundings_));
  };
  const std::string link = folder_.path() / "link";
  std::filesystem::create_symlink(folder_.path() / "elsewhere", link);
  EXPECT_EQ(code(link), ErrorCode::System);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "elsewhere"));
  std::ofstream(folder_.path() / "elsewhere") << '\n';
  EXPECT_EQ(code(link), ErrorCode::System);
  const std::string fifo = folder_.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(code(fifo), ErrorCode::InvalidArgument);
  EXPECT_EQ(code("/dev/null"), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(folder_.path()), ErrorCode::System);
  EXPECT_EQ(code(folder_.path() / "none" / "main.json"), ErrorCode::System);
}

TEST_F(Audits, AreAppended) {
  opened().record(kDied);
  AuditLog log = opened();
  log.record(kDied);
  EXPECT_EQ(lines().size(), 2u);
  // Also where somebody else empties the file.
  std::filesystem::resize_file(options_.path, 0);
  log.record(kDied);
  EXPECT_EQ(lines().size(), 1u);
}

TEST_F(Audits, FollowTheirPathWhenToldTo) {
  AuditLog log = opened();
  log.record(kDied);
  const std::string old = options_.path + ".1";
  std::filesystem::rename(options_.path, old);
  log.record({.event = AuditEvent::Attached});
  ASSERT_TRUE(log.reopen());
  log.record({.event = AuditEvent::Detached});
  ASSERT_EQ(lines().size(), 1u);
  EXPECT_EQ(lines()[0].at("event"), "detached");
  EXPECT_TRUE(content(old).contains("attached"));
  // Where that fails, the old file is better than none.
  std::filesystem::rename(options_.path, old);
  std::filesystem::create_directory(options_.path);
  EXPECT_EQ(code_of(log.reopen()), ErrorCode::System);
  log.record({.event = AuditEvent::Orphaned});
  EXPECT_TRUE(content(old).contains("orphaned"));
}

TEST_F(Audits, OfOneUserAreLimited) {
  AuditLog log = opened();
  for (int i = 0; i < 1000; ++i) log.record({.event = AuditEvent::Refused, .uid = 1000});
  for (int i = 0; i < 3; ++i) log.record({.event = AuditEvent::Attached, .uid = 1000});
  EXPECT_EQ(lines().size(), 2u);
  log.record({.event = AuditEvent::Refused, .uid = 1001});
  for (int i = 0; i < 5; ++i) log.record({.event = AuditEvent::Repaired});
  EXPECT_EQ(lines().size(), 8u) << "others are not silenced";
  log.report_left_out();
  EXPECT_EQ(lines().size(), 8u) << "the window is open";
  surroundings_.now += seconds(60);
  log.report_left_out();
  log.report_left_out();
  const std::vector<json> parsed = lines();
  ASSERT_EQ(parsed.size(), 10u);
  json attached = parsed[8];
  json refused = parsed[9];
  EXPECT_EQ(attached.erase("time"), 1u);
  EXPECT_EQ(refused.erase("time"), 1u);
  EXPECT_EQ(attached, (json{{"event", "attached"}, {"uid", 1000}, {"left_out", 3}}));
  EXPECT_EQ(refused, (json{{"event", "refused"}, {"uid", 1000}, {"left_out", 998}}));
}

TEST_F(Audits, CountBeforeTheUsersNextEvent) {
  AuditLog log = opened();
  for (int i = 0; i < 3; ++i) log.record({.event = AuditEvent::Refused, .uid = 7});
  surroundings_.now += seconds(60);
  log.record({.event = AuditEvent::Died, .uid = 7});
  const std::vector<json> parsed = lines();
  ASSERT_EQ(parsed.size(), 4u);
  EXPECT_EQ(parsed[2].at("left_out"), 1);
  EXPECT_EQ(parsed[3].at("event"), "died");
}

// 65,536 subordinate ids are within one user's reach.
TEST_F(Audits, OfManyUsersAreLimitedToo) {
  AuditLog log = opened();
  constexpr int kUsers = 5000;
  for (uid_t uid = 0; uid < kUsers; ++uid) {
    for (int i = 0; i < 2; ++i) log.record({.event = AuditEvent::Attached, .uid = uid});
  }
  const std::size_t admitted = lines().size();
  EXPECT_LT(admitted, 1000u);
  surroundings_.now += seconds(60);
  log.report_left_out();
  ASSERT_EQ(lines().size(), admitted + 1);
  json last = lines().back();
  last.erase("time");
  EXPECT_EQ(last, (json{{"event", "attached"}, {"left_out", std::size_t{2} * kUsers - admitted}}));
  // Who has been quiet makes room.
  log.record({.event = AuditEvent::Attached, .uid = 70'000});
  log.record({.event = AuditEvent::Attached, .uid = 70'001});
  log.record({.event = AuditEvent::Attached, .uid = 70'002});
  EXPECT_EQ(lines().size(), admitted + 4);
}

TEST_F(Audits, OfTheManyAreNobodysOwn) {
  AuditLog log = opened();
  constexpr uid_t kUsers = 300;
  for (uid_t uid = 0; uid < kUsers; ++uid) {
    for (int i = 0; i < 3; ++i) log.record({.event = AuditEvent::Attached, .uid = uid});
  }
  surroundings_.now += seconds(60);
  log.record({.event = AuditEvent::Died, .uid = kUsers});
  const std::vector<json> parsed = lines();
  ASSERT_GE(parsed.size(), 2u);
  const json& counted = parsed[parsed.size() - 2];
  EXPECT_TRUE(counted.contains("left_out"));
  EXPECT_FALSE(counted.contains("uid"));
  EXPECT_EQ(parsed.back().at("uid"), kUsers);
}

TEST_F(Audits, GoOnWhenSomebodyEmptiesTheFile) {
  options_.max_bytes = 200;
  AuditLog log = opened();
  for (int i = 0; i < 10; ++i) log.record({.event = AuditEvent::Repaired});
  ASSERT_EQ(told_.size(), 1u);
  std::filesystem::resize_file(options_.path, 0);
  log.record({.event = AuditEvent::Repaired});
  EXPECT_EQ(lines().size(), 2u);
}

TEST_F(Audits, HaveABound) {
  AuditLog log = opened();
  log.record(kDied);
  options_.max_bytes = 3 * content(options_.path).size();
  log = opened();
  for (int i = 0; i < 10; ++i) log.record({.event = AuditEvent::Died, .pid = 1});
  EXPECT_LE(content(options_.path).size(), options_.max_bytes);
  EXPECT_EQ(lines().size(), 3u);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].first, LogLevel::Error);
  EXPECT_TRUE(told_[0].second.contains(options_.path)) << told_[0].second;
  std::filesystem::rename(options_.path, options_.path + ".1");
  ASSERT_TRUE(log.reopen());
  log.record(kDied);
  const std::vector<json> parsed = lines();
  ASSERT_EQ(parsed.size(), 2u);
  EXPECT_EQ(parsed[0].at("event"), "lost");
  EXPECT_EQ(parsed[0].at("left_out"), 8);
  EXPECT_EQ(parsed[1].at("event"), "died");
  ASSERT_EQ(told_.size(), 2u);
  EXPECT_EQ(told_[1].first, LogLevel::Info);
}

TEST_F(Audits, SurviveAFullDisk) {
  AuditLog log = opened();
  log.record({.event = AuditEvent::Attached});
  {
    // The next line is cut in its middle.
    const FullDisk full(content(options_.path).size() + 10);
    for (int i = 0; i < 3; ++i) log.record({.event = AuditEvent::Attached});
    log.report_left_out();
    EXPECT_EQ(told_.size(), 1u);
  }
  log.record({.event = AuditEvent::Detached});
  const std::vector<json> parsed = lines();
  ASSERT_EQ(parsed.size(), 4u);
  EXPECT_TRUE(parsed[1].is_null());
  EXPECT_EQ(parsed[2].at("event"), "lost");
  EXPECT_EQ(parsed[2].at("left_out"), 3);
  EXPECT_EQ(parsed[3].at("event"), "detached");
  EXPECT_EQ(told_.size(), 2u);
}

TEST_F(Audits, AreWholeAfterAnotherWritersCutLine) {
  std::ofstream(options_.path) << "{\"time\":\"20";
  opened().record(kDied);
  const std::vector<json> parsed = lines();
  ASSERT_EQ(parsed.size(), 2u);
  EXPECT_EQ(parsed[1].at("event"), "died");
}

TEST_F(Audits, WithoutAFileGoToTheLog) {
  options_.path.clear();
  AuditLog log = opened();
  log.record({.event = AuditEvent::Attached, .pid = 5});
  EXPECT_TRUE(log.reopen());
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].first, LogLevel::Info);
  EXPECT_EQ(told_[0].second,
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"attached\",\"pid\":5}");
  sink_ = nullptr;
  opened().record(kDied);
}

}  // namespace
}  // namespace resmgr::daemon
