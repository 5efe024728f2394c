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

OperatorShareRequest giving(std::string_view driver, Rights rights = Rights::Read) {
  return {.handle = kHandle, .driver = driver, .rights = rights};
}
OperatorShareRequest revoking(std::string_view driver) {
  return {.change = OperatorChange::Revoke, .handle = kHandle, .driver = driver};
}

TEST(OperatorShare, ArrivesAsItWas) {
  const Bytes given = frame_of(giving("dma", Rights::All));
  const auto share = decode<OperatorShareRequest>(given).value();
  EXPECT_EQ(share.change, OperatorChange::Share);
  EXPECT_EQ(share.handle.bits(), kHandle.bits());
  EXPECT_EQ(share.driver, "dma");
  EXPECT_EQ(share.rights, Rights::All);
  for (const char* driver : {"dma", ""}) {
    const Bytes taken = frame_of(revoking(driver));
    const auto revoke = decode<OperatorShareRequest>(taken).value();
    EXPECT_EQ(revoke.change, OperatorChange::Revoke);
    EXPECT_EQ(revoke.driver, driver);
    EXPECT_EQ(revoke.rights, Rights::None);
  }
}

TEST(OperatorShare, EveryFieldIsJudged) {
  using P = rm_wire_operator_share;
  const auto refused = [](const char* what, const OperatorShareRequest& good, auto change) {
    ASSERT_EQ((code_with<P>(good, [](P&) {})), ErrorCode{});
    EXPECT_EQ((code_with<P>(good, change)), ErrorCode::InvalidArgument) << what;
  };
  refused("no rights", giving("dma"), [](P& p) { p.rights = 0; });
  refused("unknown right", giving("dma"), [](P& p) { p.rights |= 0x10; });
  refused("some rights revoked", revoking("dma"), [](P& p) { p.rights = 1; });
  refused("name too short", giving("dma"), [](P& p) { p.driver_bytes = 2; });
  refused("name too long", revoking(""), [](P& p) { p.driver_bytes = 1; });
  for (unsigned i = 0; i < 3; ++i) {
    refused("reserved", giving("dma"), [&](P& p) { p.reserved[i] = 1; });
  }
  EXPECT_EQ(code_of(try_frame_of(giving(""))), ErrorCode::InvalidName) << "with nobody";
  EXPECT_EQ(code_of(try_frame_of(giving("a b"))), ErrorCode::InvalidName);
  EXPECT_EQ(code_of(try_frame_of(revoking(std::string(32, 'd')))), ErrorCode::InvalidName);
  OperatorShareRequest odd = giving("dma");
  odd.change = OperatorChange{RM_WIRE_SHARE};
  EXPECT_EQ(code_of(try_frame_of(odd)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(decode<OperatorShareRequest>(frame_of(SignalRequest{}))),
            ErrorCode::InvalidArgument);
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
