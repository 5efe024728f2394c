// SPDX-License-Identifier: Apache-2.0
//
// What operators ask for.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "resmgr/abi/requests.hpp"
#include "tests/abi/wire_support.hpp"

namespace resmgr::wire::test {
namespace {

constexpr Handle kHandle{9, 8, 7};

ShareRequest giving(std::string_view driver, Rights rights = Rights::Read) {
  return {.handle = kHandle, .driver = driver, .rights = rights, .as_operator = true};
}
ShareRequest revoking(std::string_view driver) {
  return {.change = ShareChange::Unshare,
          .handle = kHandle,
          .driver = driver,
          .rights = Rights::All,
          .as_operator = true};
}

TEST(OperatorShare, ArrivesAsItWas) {
  const Bytes given = frame_of(giving("dma", Rights::All));
  const auto share = decode<ShareRequest>(given).value();
  EXPECT_EQ(share.change, ShareChange::Share);
  EXPECT_TRUE(share.as_operator);
  EXPECT_EQ(share.driver, "dma");
  for (const char* driver : {"dma", ""}) {
    const Bytes taken = frame_of(revoking(driver));
    const auto revoke = decode<ShareRequest>(taken).value();
    EXPECT_EQ(revoke.change, ShareChange::Unshare);
    EXPECT_TRUE(revoke.as_operator);
    EXPECT_EQ(revoke.driver, driver);
  }
}

TEST(OperatorShare, EveryFieldIsJudged) {
  using P = rm_wire_share;
  const auto refused = [](const char* what, const ShareRequest& good, auto change) {
    ASSERT_EQ((code_with<P>(good, [](P&) {})), ErrorCode{});
    EXPECT_EQ((code_with<P>(good, change)), ErrorCode::InvalidArgument) << what;
  };
  refused("more than an operator", giving("dma"), [](P& p) { p.as_operator = 2; });
  refused("name too long", revoking(""), [](P& p) { p.driver_bytes = 1; });
  refused("of all drivers, by their owner", revoking(""), [](P& p) { p.as_operator = 0; });
  EXPECT_EQ(code_of(try_frame_of(giving(""))), ErrorCode::InvalidArgument) << "with nobody";
  EXPECT_EQ(code_of(try_frame_of(giving("a b"))), ErrorCode::InvalidName);
  EXPECT_EQ(code_of(try_frame_of(revoking(std::string(32, 'd')))), ErrorCode::InvalidName);
}

TEST(Remedy, ArrivesAsItWas) {
  for (const Remedy remedy : {Remedy::Repair, Remedy::Unpoison}) {
    const auto request = decode<RemedyRequest>(frame_of(RemedyRequest{remedy, kHandle})).value();
    EXPECT_EQ(request.remedy, remedy);
    EXPECT_EQ(request.handle.bits(), kHandle.bits());
  }
  EXPECT_EQ(code_of(try_frame_of(RemedyRequest{Remedy{RM_WIRE_PING}, kHandle})),
            ErrorCode::InvalidArgument);
}

TEST(Drain, ArrivesAsItWas) {
  using P = rm_wire_drain;
  for (const DrainStep step : {DrainStep::Begin, DrainStep::Cancel}) {
    const Bytes bytes = frame_of(DrainRequest{step, "dma-edu"});
    const auto request = decode<DrainRequest>(bytes).value();
    EXPECT_EQ(request.step, step);
    EXPECT_EQ(request.driver, "dma-edu");
    for (unsigned i = 0; i < 7; ++i) {
      EXPECT_EQ(code_of(decode<DrainRequest>(changed<P>(bytes, [&](P& p) { p.reserved[i] = 1; }))),
                ErrorCode::InvalidArgument);
    }
  }
  EXPECT_EQ(code_of(try_frame_of(DrainRequest{DrainStep::Begin, ""})), ErrorCode::InvalidName);
  EXPECT_EQ(code_of(try_frame_of(DrainRequest{DrainStep{RM_WIRE_REPAIR}, "dma"})),
            ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace resmgr::wire::test
