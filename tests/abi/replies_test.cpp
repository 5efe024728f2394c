// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/replies.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "resmgr/abi/layout.h"
#include "tests/abi/wire_support.hpp"

namespace resmgr::wire::test {
namespace {

constexpr Handle kHandle{9, 8, 7};
constexpr Regions kRegions{.client = {.domain_id = 1, .epoch = 2, .sequence = 3, .client = 4},
                           .registry_bytes = 5000,
                           .lock_bytes = 6000};
constexpr Welcome kWelcome{.regions = kRegions, .driver = 7, .version = "0.1"};

TEST(Welcome, ArrivesAsItWas) {
  const Bytes bytes = frame_of(kWelcome);
  EXPECT_EQ(read_frame(bytes).value().fds, 2u) << "both regions";
  const auto welcome = decode<Welcome>(bytes).value();
  EXPECT_EQ(welcome.regions.client, kRegions.client);
  EXPECT_EQ(welcome.regions.registry_bytes, 5000u);
  EXPECT_EQ(welcome.regions.lock_bytes, 6000u);
  EXPECT_EQ(welcome.driver, 7u);
  EXPECT_EQ(welcome.version, "0.1");
}

TEST(Welcome, EveryFieldIsJudged) {
  using P = rm_wire_welcome;
  const auto refused = [](const char* what, auto change) {
    EXPECT_EQ((code_with<P>(kWelcome, change)), ErrorCode::InvalidArgument) << what;
  };
  ASSERT_EQ((code_with<P>(kWelcome, [](P&) {})), ErrorCode{});
  refused("no epoch", [](P& p) { p.regions.client.epoch = 0; });
  refused("no place", [](P& p) { p.regions.client = {}; });
  refused("client", [](P& p) { p.regions.client.client = RM_MAX_CLIENTS; });
  refused("reserved", [](P& p) { p.regions.client.reserved = 1; });
  refused("registry", [](P& p) { p.regions.registry_bytes = sizeof(rm_region_header) - 1; });
  refused("locks", [](P& p) { p.regions.lock_bytes = 0; });
  refused("driver", [](P& p) { p.driver = RM_MAX_DRIVERS; });
  refused("version too long", [](P& p) { p.version_bytes = 4; });
  for (unsigned i = 0; i < 3; ++i) refused("reserved", [&](P& p) { p.reserved[i] = 1; });
}

TEST(ResultReply, ArrivesAsItWas) {
  const Bytes done = frame_of(ResultReply{.value = {1, ~0ull}, .has_fd = true});
  const auto reply = decode<ResultReply>(done).value();
  EXPECT_FALSE(reply.error);
  EXPECT_EQ(reply.value, (std::array<std::uint64_t, 2>{1, ~0ull}));
  EXPECT_TRUE(reply.has_fd);
  EXPECT_EQ(read_frame(done).value().fds, 1u);
  for (int code = 1; code <= kErrorCodes; ++code) {
    const Bytes bytes = frame_of(
        ResultReply{.error = static_cast<ErrorCode>(code), .system_errno = ENOSPC, .text = "why"});
    const auto refused = decode<ResultReply>(bytes).value();
    EXPECT_EQ(refused.error, static_cast<ErrorCode>(code));
    EXPECT_EQ(refused.system_errno, static_cast<std::uint32_t>(ENOSPC));
    EXPECT_EQ(refused.text, "why");
    EXPECT_FALSE(refused.has_fd);
  }
}

TEST(ResultReply, EveryFieldIsJudged) {
  using P = rm_wire_result;
  const ResultReply good{.error = ErrorCode::System, .system_errno = EIO, .text = "why"};
  const auto refused = [&](const char* what, auto change) {
    EXPECT_EQ((code_with<P>(good, change)), ErrorCode::InvalidArgument) << what;
  };
  ASSERT_EQ((code_with<P>(good, [](P&) {})), ErrorCode{});
  refused("code behind the last", [](P& p) { p.code = kErrorCodes + 1; });
  refused("negative code", [](P& p) { p.code = ~0u; });
  refused("success with an errno", [](P& p) { p.code = 0; });
  refused("errno", [](P& p) { p.errno_value = 4096; });
  refused("an fd that is not there", [](P& p) { p.has_fd = 1; });
  refused("two fds", [](P& p) { p.has_fd = 2; });
  refused("text too long", [](P& p) { p.text_bytes = 4; });
  const Bytes two =
      changed_header(changed<P>(frame_of(ResultReply{.has_fd = true}), [](P& p) { p.has_fd = 2; }),
                     [](rm_frame_header& h) { h.fds = 2; });
  EXPECT_EQ(code_of(decode<ResultReply>(two)), ErrorCode::InvalidArgument);
  for (unsigned i = 0; i < 6; ++i) refused("reserved", [&](P& p) { p.reserved[i] = 1; });
  EXPECT_EQ(code_of(try_frame_of(ResultReply{.error = ErrorCode::System, .has_fd = true})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(try_frame_of(ResultReply{}, 0)), ErrorCode::InvalidArgument);
}

TEST(ResultReply, TextsAreForPeople) {
  const std::string longest(RM_WIRE_MAX_TEXT, 't');
  EXPECT_TRUE(try_frame_of(ResultReply{.text = longest}));
  EXPECT_TRUE(try_frame_of(ResultReply{.text = "gr\xc3\xbc\xc3\x9f dich ~"}));
  for (const std::string& bad :
       {longest + 't', std::string(512, 't'), std::string("a\nb"), std::string("\x1b[2J"),
        std::string("\0", 1), std::string("\x7f")}) {
    EXPECT_EQ(code_of(try_frame_of(ResultReply{.text = bad})), ErrorCode::InvalidArgument);
    Welcome welcome = kWelcome;
    welcome.version = bad;
    EXPECT_EQ(code_of(try_frame_of(welcome)), ErrorCode::InvalidArgument);
  }
  Bytes spoilt = frame_of(ResultReply{.text = "why"});
  spoilt.back() = std::byte{'\n'};
  EXPECT_EQ(code_of(decode<ResultReply>(spoilt)), ErrorCode::InvalidArgument);
}

TEST(ResultReply, AnErrorOfANewerMinorIsSystem) {
  const Bytes newer = changed<rm_wire_result>(
      from_newer_minor(frame_of(ResultReply{.error = ErrorCode::InUse, .text = "why"})),
      [](rm_wire_result& p) { p.code = kErrorCodes + 1; });
  const auto reply = decode<ResultReply>(newer).value();
  EXPECT_EQ(reply.error, ErrorCode::System);
  EXPECT_EQ(reply.text, "why") << "which still says what it is";
}

TEST(ResultReply, CarriesAnErrorOver) {
  Error error = Error::from_errno(ENOSPC, "budget");
  error.with_amounts(10, 3);
  const Bytes bytes = frame_of(refusal(error));
  const Error plain = error_of(decode<ResultReply>(bytes).value());
  EXPECT_EQ(plain.code(), ErrorCode::System);
  EXPECT_EQ(plain.system_errno(), ENOSPC);
  EXPECT_EQ(plain.requested(), 10u);
  EXPECT_EQ(plain.available(), 3u);
  EXPECT_EQ(plain.detail(), "budget");

  error.with_detail({.cycle = {}, .text = std::string(300, 'x')});
  const Bytes detailed = frame_of(refusal(error));
  EXPECT_EQ(error_of(decode<ResultReply>(detailed).value()).detail(),
            std::string(RM_WIRE_MAX_TEXT, 'x'))
      << "as much as has room";
  EXPECT_TRUE(error_of({.error = ErrorCode::InUse}).detail().empty());
}

TEST(RegisteredReply, ArrivesAsItWas) {
  const std::vector<RegistrationOutcome> outcomes{
      {.handle = kHandle}, {.error = ErrorCode::AlreadyExists}, {.handle = Handle(0, 1)}};
  const Bytes bytes = frame_of(std::span<const RegistrationOutcome>(outcomes));
  const auto reply = decode<RegisteredReply>(bytes).value();
  ASSERT_EQ(reply.count(), outcomes.size());
  for (std::uint32_t i = 0; i < reply.count(); ++i) EXPECT_EQ(reply.at(i), outcomes[i]);
}

TEST(RegisteredReply, EveryFieldIsJudged) {
  const std::array<RegistrationOutcome, 2> outcomes{
      {{.handle = kHandle}, {.error = ErrorCode::AlreadyExists}}};
  const Bytes good = frame_of(std::span<const RegistrationOutcome>(outcomes));
  using P = rm_wire_registered;
  const auto refused = [&](const char* what, auto change) {
    EXPECT_EQ(code_of(decode<RegisteredReply>(changed<P>(good, change))),
              ErrorCode::InvalidArgument)
        << what;
  };
  refused("one more", [](P& p) { ++p.count; });
  refused("one less", [](P& p) { --p.count; });
  refused("none", [](P& p) { p.count = 0; });
  refused("all", [](P& p) { p.count = ~0u; });
  refused("items of nothing", [](P& p) { p.item_bytes = 0; });
  refused("one large item", [](P& p) { p = {.count = 1, .item_bytes = 32, .reserved = 0}; });
  refused("items not aligned", [](P& p) { p.item_bytes = 17; });
  refused("reserved", [](P& p) { p.reserved = 1; });

  using Item = rm_wire_registered_item;
  const auto item_refused = [&](const char* what, auto change) {
    const Bytes bytes = changed_at<Item>(sizeof(rm_frame_header) + sizeof(P), good, change);
    EXPECT_EQ(code_of(decode<RegisteredReply>(bytes)), ErrorCode::InvalidArgument) << what;
  };
  item_refused("no handle", [](Item& i) { i.handle = 0; });
  item_refused("handle and error", [](Item& i) { i.code = 1; });
  item_refused("unknown code", [](Item& i) { i = {0, kErrorCodes + 1, 0}; });
  item_refused("reserved", [](Item& i) { i.reserved = 1; });
}

TEST(RegisteredReply, ItemsOfANewerMinorMayBeLonger) {
  const std::array<RegistrationOutcome, 1> one{{{.handle = kHandle}}};
  const auto longer_by = [&](std::uint8_t more) {
    Bytes bytes = frame_of(std::span<const RegistrationOutcome>(one));
    bytes.resize(bytes.size() + more, std::byte{0xee});
    bytes = changed_header(std::move(bytes), [](rm_frame_header& h) { ++h.minor; });
    return resized(changed<rm_wire_registered>(std::move(bytes), [&](rm_wire_registered& p) {
      p.item_bytes = static_cast<std::uint16_t>(p.item_bytes + more);
    }));
  };
  EXPECT_EQ(code_of(decode<RegisteredReply>(longer_by(4))), ErrorCode::InvalidArgument);
  const Bytes bytes = longer_by(8);
  const auto reply = decode<RegisteredReply>(bytes).value();
  ASSERT_EQ(reply.count(), 1u);
  EXPECT_EQ(reply.at(0), one[0]);
}

TEST(RegisteredReply, WhatCantBeSaidIsRefused) {
  const auto code = [](std::span<const RegistrationOutcome> outcomes) {
    return code_of(try_frame_of(outcomes));
  };
  const RegistrationOutcome neither;
  const RegistrationOutcome both{.error = ErrorCode::InUse, .handle = kHandle};
  EXPECT_EQ(code({&neither, 1}), ErrorCode::InvalidArgument);
  EXPECT_EQ(code({&both, 1}), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(std::vector<RegistrationOutcome>(5000, {.handle = kHandle})),
            ErrorCode::CapacityExceeded);
}

}  // namespace
}  // namespace resmgr::wire::test
