// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/events.hpp"

#include <gtest/gtest.h>

#include <cstdint>

#include "tests/abi/wire_support.hpp"

namespace resmgr::wire::test {
namespace {

constexpr Handle kHandle{9, 8, 7};

TEST(QuiesceEvent, ArrivesAsItWas) {
  for (const auto reason :
       {QuiesceReason::HolderDied, QuiesceReason::Revoked, QuiesceReason::Removed}) {
    const Bytes bytes = frame_of(QuiesceEvent{kHandle, reason, 1'000'000'007, ~0u});
    EXPECT_EQ(read_frame(bytes).value().request_id, 0u);
    const auto event = decode<QuiesceEvent>(bytes).value();
    EXPECT_EQ(event.handle.bits(), kHandle.bits());
    EXPECT_EQ(event.reason, reason);
    EXPECT_EQ(event.deadline_ns, 1'000'000'007u);
    EXPECT_EQ(event.attempt, ~0u);
  }
}

TEST(QuiesceEvent, EveryFieldIsJudged) {
  using P = rm_wire_quiesce;
  const QuiesceEvent good{.handle = kHandle};
  for (const std::uint32_t reason : {0u, 4u, ~0u}) {
    EXPECT_EQ((code_with<P>(good, [&](P& p) { p.reason = reason; })), ErrorCode::InvalidArgument)
        << reason;
  }
  EXPECT_EQ((code_with<P>(good, [](P& p) { p.attempt = 0; })), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(try_frame_of(QuiesceEvent{kHandle, QuiesceReason{0}, 0})),
            ErrorCode::InvalidArgument);
}

TEST(OwnerEvent, EachLossIsATypeOfItsOwn) {
  for (const auto loss : {OwnerLoss::Orphaned, OwnerLoss::OwnerDied}) {
    const Bytes bytes = frame_of(OwnerEvent{loss, kHandle});
    const auto event = decode<OwnerEvent>(bytes).value();
    EXPECT_EQ(event.loss, loss);
    EXPECT_EQ(event.handle, kHandle);
  }
  EXPECT_EQ(code_of(try_frame_of(OwnerEvent{OwnerLoss{RM_WIRE_EPOCH}, kHandle})),
            ErrorCode::InvalidArgument);
}

TEST(EpochEvent, ArrivesAsItWas) {
  const Regions regions{.client = {.domain_id = 1, .epoch = 2, .sequence = 3, .client = 4},
                        .registry_bytes = 5000,
                        .lock_bytes = 6000};
  const Bytes bytes = frame_of(EpochEvent{regions});
  EXPECT_EQ(read_frame(bytes).value().fds, 2u) << "both regions";
  const auto event = decode<EpochEvent>(bytes).value();
  EXPECT_EQ(event.regions.client, regions.client);
  EXPECT_EQ(event.regions.registry_bytes, 5000u);
  EXPECT_EQ(event.regions.lock_bytes, 6000u);

  using P = rm_wire_regions;
  const auto refused = [&](const char* what, auto change) {
    EXPECT_EQ((code_with<P>(EpochEvent{regions}, change)), ErrorCode::InvalidArgument) << what;
  };
  refused("no epoch", [](P& p) { p.client.epoch = 0; });
  refused("reserved", [](P& p) { p.client.reserved = 1; });
  refused("registry", [](P& p) { p.registry_bytes = 1; });
  refused("locks", [](P& p) { p.lock_bytes = 1; });
}

TEST(ClosingEvent, ArrivesAsItWas) {
  for (const auto reason :
       {ClosingReason::Shutdown, ClosingReason::Restart, ClosingReason::Protocol}) {
    EXPECT_EQ(decode<ClosingEvent>(frame_of(ClosingEvent{reason})).value().reason, reason);
  }
  using P = rm_wire_closing;
  for (const std::uint32_t reason : {0u, 4u, ~0u}) {
    EXPECT_EQ((code_with<P>(ClosingEvent{}, [&](P& p) { p.reason = reason; })),
              ErrorCode::InvalidArgument)
        << reason;
  }
  EXPECT_EQ((code_with<P>(ClosingEvent{}, [](P& p) { p.reserved = 1; })),
            ErrorCode::InvalidArgument);
}

TEST(MissedEvent, ArrivesAsItWas) {
  for (const std::uint64_t events : {std::uint64_t{1}, ~std::uint64_t{0}}) {
    const Bytes bytes = frame_of(MissedEvent{events});
    EXPECT_EQ(read_frame(bytes).value().request_id, 0u);
    EXPECT_EQ(decode<MissedEvent>(bytes).value().events, events);
  }
  using P = rm_wire_missed;
  EXPECT_EQ((code_with<P>(MissedEvent{}, [](P& p) { p.events = 0; })), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(try_frame_of(MissedEvent{0})), ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace resmgr::wire::test
