// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/requests.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "resmgr/abi/registry_layout.h"
#include "tests/abi/wire_support.hpp"

namespace resmgr::wire::test {
namespace {

constexpr Handle kHandle{9, 8, 7};

/// A share with a driver, named or numbered.
ShareRequest share(std::string_view driver, std::uint32_t driver_id = 0,
                   Rights rights = Rights::Read) {
  return {.handle = kHandle, .driver_id = driver_id, .driver = driver, .rights = rights};
}

TEST(Hello, ArrivesAsItWas) {
  const ClientPlace place{.domain_id = 1, .epoch = 2, .sequence = 3, .client = 4};
  const Bytes bytes = frame_of(Hello{.before = place,
                                     .features = RM_WIRE_FEATURE_FUTEX_WAITV,
                                     .layout_major = 5,
                                     .layout_minor = 6,
                                     .driver = "dma-edu"});
  const auto hello = decode<Hello>(bytes).value();
  EXPECT_EQ(hello.before, place);
  EXPECT_EQ(hello.features, RM_WIRE_FEATURE_FUTEX_WAITV);
  EXPECT_EQ(hello.layout_major, 5u) << "what it is worth is for the receiver to see";
  EXPECT_EQ(hello.layout_minor, 6u);
  EXPECT_EQ(hello.driver, "dma-edu");
}

TEST(Hello, SaysOurLayoutAndNothingElseByItself) {
  const Bytes bytes = frame_of(Hello{});
  const auto hello = decode<Hello>(bytes).value();
  EXPECT_EQ(hello.before, ClientPlace{});
  EXPECT_EQ(hello.features, 0u);
  EXPECT_EQ(hello.layout_major, RM_LAYOUT_MAJOR);
  EXPECT_EQ(hello.layout_minor, RM_LAYOUT_MINOR);
  EXPECT_TRUE(hello.driver.empty());
}

TEST(Hello, EveryFieldIsJudged) {
  using P = rm_wire_hello;
  const Hello good{.before = {.domain_id = 1, .epoch = 1}, .driver = "dma"};
  ASSERT_EQ((code_with<P>(good, [](P&) {})), ErrorCode{});
  const auto refused = [&](const char* what, auto change) {
    EXPECT_EQ((code_with<P>(good, change)), ErrorCode::InvalidArgument) << what;
  };
  refused("feature", [](P& p) { p.features = 16; });
  refused("client", [](P& p) { p.before.client = RM_MAX_CLIENTS; });
  refused("no epoch", [](P& p) { p.before.epoch = 0; });
  refused("no epoch, but a client", [](P& p) {
    p.before = {};
    p.before.client = 1;
  });
  refused("reserved", [](P& p) { p.before.reserved = 1; });
  for (unsigned i = 0; i < 7; ++i) refused("reserved", [&](P& p) { p.reserved[i] = 1; });
  refused("driver too short", [](P& p) { p.driver_bytes = 2; });
  refused("driver too long", [](P& p) { p.driver_bytes = 4; });
  refused("no driver, but a text", [](P& p) { p.driver_bytes = 0; });
}

TEST(Hello, HintsOfANewerMinorAreLeftOut) {
  const Bytes newer = changed<rm_wire_hello>(
      from_newer_minor(frame_of(Hello{.features = RM_WIRE_FEATURE_URING_FUTEX})),
      [](rm_wire_hello& p) { p.features |= 0xf0; });
  EXPECT_EQ(decode<Hello>(newer).value().features, RM_WIRE_FEATURE_URING_FUTEX);
}

// In each request that has one.
TEST(Requests, DriversAreNamedInTheAlphabet) {
  const std::string longest(31, 'd');
  EXPECT_TRUE(try_frame_of(Hello{.driver = longest}));
  for (const std::string& bad :
       {longest + 'd', std::string(256 + 3, 'd'), std::string("a b"), std::string("\0", 1)}) {
    EXPECT_EQ(code_of(try_frame_of(Hello{.driver = bad})), ErrorCode::InvalidName);
    EXPECT_EQ(code_of(try_frame_of(InternDriverRequest{.driver = bad})), ErrorCode::InvalidName);
    EXPECT_EQ(code_of(try_frame_of(share(bad))), ErrorCode::InvalidName);
  }
  EXPECT_EQ(code_of(try_frame_of(InternDriverRequest{})), ErrorCode::InvalidName);

  const auto spoilt = [](Bytes frame) {
    frame.back() = std::byte{' '};
    return code_of(echo(frame));
  };
  EXPECT_EQ(spoilt(frame_of(Hello{.driver = "dma"})), ErrorCode::InvalidName);
  EXPECT_EQ(spoilt(frame_of(InternDriverRequest{.driver = "dma"})), ErrorCode::InvalidName);
  EXPECT_EQ(spoilt(frame_of(share("dma"))), ErrorCode::InvalidName);
}

TEST(Requests, WithoutARequestIdAreRefused) {
  EXPECT_EQ(code_of(try_frame_of(Hello{}, 0)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(try_frame_of(SignalRequest{}, 0)), ErrorCode::InvalidArgument);
}

TEST(Unregister, EachStepIsATypeOfItsOwn) {
  for (const auto step : {UnregisterStep::Begin, UnregisterStep::Finish, UnregisterStep::Cancel}) {
    const Bytes bytes = frame_of(UnregisterRequest{step, kHandle});
    const auto request = decode<UnregisterRequest>(bytes).value();
    EXPECT_EQ(request.step, step);
    EXPECT_EQ(request.handle.bits(), kHandle.bits());
  }
  EXPECT_EQ(code_of(try_frame_of(UnregisterRequest{UnregisterStep{RM_WIRE_SHARE}, kHandle})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(decode<UnregisterRequest>(frame_of(share("dma")))), ErrorCode::InvalidArgument);
}

TEST(Share, ArrivesAsItWas) {
  for (const auto change : {ShareChange::Share, ShareChange::Unshare}) {
    ShareRequest named = share("dma", 0, Rights::All);
    named.change = change;
    const Bytes bytes = frame_of(named);
    const auto request = decode<ShareRequest>(bytes).value();
    EXPECT_EQ(request.change, change);
    EXPECT_EQ(request.handle.bits(), kHandle.bits());
    EXPECT_EQ(request.driver, "dma");
    EXPECT_EQ(request.driver_id, 0u);
    EXPECT_EQ(request.rights, Rights::All);
  }
  const Bytes bytes = frame_of(share("", RM_MAX_DRIVERS - 1));
  const auto numbered = decode<ShareRequest>(bytes).value();
  EXPECT_EQ(numbered.driver_id, RM_MAX_DRIVERS - 1);
  EXPECT_TRUE(numbered.driver.empty());
}

TEST(Share, EveryFieldIsJudged) {
  using P = rm_wire_share;
  const auto refused = [](const char* what, const ShareRequest& good, auto change) {
    ASSERT_EQ((code_with<P>(good, [](P&) {})), ErrorCode{});
    EXPECT_EQ((code_with<P>(good, change)), ErrorCode::InvalidArgument) << what;
  };
  refused("no rights", share("dma"), [](P& p) { p.rights = 0; });
  refused("unknown right", share("dma"), [](P& p) { p.rights |= 0x10; });
  refused("name and number", share("dma"), [](P& p) { p.driver = 1; });
  refused("neither", share("", 1), [](P& p) { p.driver = 0; });
  refused("number", share("", 1), [](P& p) { p.driver = RM_MAX_DRIVERS; });
  refused("name too short", share("dma"), [](P& p) { p.driver_bytes = 2; });
  for (unsigned i = 0; i < 6; ++i) {
    refused("reserved", share("dma"), [&](P& p) { p.reserved[i] = 1; });
  }
  ShareRequest odd = share("dma");
  odd.change = ShareChange{RM_WIRE_PING};
  EXPECT_EQ(code_of(try_frame_of(odd)), ErrorCode::InvalidArgument);
}

TEST(Dependency, ArrivesAsItWas) {
  for (const auto change : {DependencyChange::Add, DependencyChange::Remove}) {
    const Bytes bytes = frame_of(DependencyRequest{change, kHandle, Handle(1, 1)});
    const auto request = decode<DependencyRequest>(bytes).value();
    EXPECT_EQ(request.change, change);
    EXPECT_EQ(request.from, kHandle);
    EXPECT_EQ(request.to, Handle(1, 1));
  }
  EXPECT_EQ(code_of(try_frame_of(DependencyRequest{DependencyChange{1}, kHandle, kHandle})),
            ErrorCode::InvalidArgument);
}

TEST(SetState, ArrivesAsItWas) {
  const Bytes ready = frame_of(SetStateRequest{.handle = kHandle, .has_fd = true});
  EXPECT_EQ(read_frame(ready).value().fds, 1u);
  EXPECT_TRUE(decode<SetStateRequest>(ready).value().has_fd);
  EXPECT_EQ(decode<SetStateRequest>(ready).value().state, Lifecycle::Ready);
  EXPECT_EQ(decode<SetStateRequest>(ready).value().handle, kHandle);
  const Bytes not_quiet =
      frame_of(SetStateRequest{.handle = kHandle, .state = Lifecycle::Quarantined});
  EXPECT_EQ(read_frame(not_quiet).value().fds, 0u);
  EXPECT_EQ(decode<SetStateRequest>(not_quiet).value().state, Lifecycle::Quarantined);
  const auto why = decode<SetStateRequest>(frame_of(SetStateRequest{.handle = kHandle,
                                                                    .state = Lifecycle::Quarantined,
                                                                    .attempt = ~0u,
                                                                    .error = ErrorCode::TimedOut}));
  EXPECT_EQ(why.value().attempt, ~0u);
  EXPECT_EQ(why.value().error, ErrorCode::TimedOut);
}

TEST(SetState, EveryFieldIsJudged) {
  using P = rm_wire_set_state;
  const SetStateRequest good{.handle = kHandle, .has_fd = true};
  const auto refused = [&](const char* what, auto change) {
    EXPECT_EQ((code_with<P>(good, change)), ErrorCode::InvalidArgument) << what;
  };
  for (unsigned state = 0; state < 256; ++state) {
    if (state == RM_STATE_READY) continue;
    refused("state", [&](P& p) { p.state = static_cast<std::uint8_t>(state); });
  }
  refused("without its fd", [](P& p) { p.has_fd = 0; });
  refused("two fds", [](P& p) { p.has_fd = 2; });
  const Bytes two = changed_header(changed<P>(frame_of(good), [](P& p) { p.has_fd = 2; }),
                                   [](rm_frame_header& h) { h.fds = 2; });
  EXPECT_EQ(code_of(decode<SetStateRequest>(two)), ErrorCode::InvalidArgument);
  refused("an error of what is ready", [](P& p) { p.error = 1; });
  EXPECT_EQ((code_with<P>(SetStateRequest{.handle = kHandle, .state = Lifecycle::Quarantined},
                          [](P& p) { p.error = kErrorCodes + 1; })),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(try_frame_of(SetStateRequest{
                .handle = kHandle, .state = Lifecycle::Quarantined, .has_fd = true})),
            ErrorCode::InvalidArgument);
}

TEST(OpenFd, IsForReadingWritingOrBoth) {
  for (const Rights rights : {Rights::Read, Rights::Write, Rights::Read | Rights::Write}) {
    const Bytes bytes = frame_of(OpenFdRequest{kHandle, rights});
    EXPECT_EQ(decode<OpenFdRequest>(bytes).value().rights, rights);
    EXPECT_EQ(decode<OpenFdRequest>(bytes).value().handle, kHandle);
  }
  using P = rm_wire_open_fd;
  const OpenFdRequest good{kHandle, Rights::Read};
  for (const std::uint32_t rights : {0u, 1u, 3u, 8u, 0xfu, ~0u}) {
    EXPECT_EQ((code_with<P>(good, [&](P& p) { p.rights = rights; })), ErrorCode::InvalidArgument)
        << rights;
  }
  EXPECT_EQ((code_with<P>(good, [](P& p) { p.reserved = 1; })), ErrorCode::InvalidArgument);
}

TEST(InternDriver, ArrivesAsItWas) {
  const Bytes bytes = frame_of(InternDriverRequest{.driver = "dma-edu"});
  EXPECT_EQ(decode<InternDriverRequest>(bytes).value().driver, "dma-edu");
  using P = rm_wire_intern_driver;
  for (unsigned i = 0; i < 7; ++i) {
    EXPECT_EQ(
        code_of(decode<InternDriverRequest>(changed<P>(bytes, [&](P& p) { p.reserved[i] = 1; }))),
        ErrorCode::InvalidArgument);
  }
}

TEST(Signal, ArrivesAsItWas) {
  for (const Signal signal : {Signal::Ping, Signal::Goodbye}) {
    EXPECT_EQ(decode<SignalRequest>(frame_of(SignalRequest{signal})).value().signal, signal);
  }
  EXPECT_EQ(code_of(try_frame_of(SignalRequest{Signal{RM_WIRE_HELLO}})),
            ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace resmgr::wire::test
