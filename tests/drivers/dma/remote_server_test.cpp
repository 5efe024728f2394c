// SPDX-License-Identifier: Apache-2.0
//
// A server whose client says what it likes: each request is written into the ring as bytes.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "drivers/dma/remote_server.hpp"
#include "tests/drivers/dma/remote_support.hpp"

namespace drivers::dma {
namespace {

using namespace std::chrono_literals;
using hal::ErrorCode;
using wire::ReplyKind;
using wire::Request;
using wire::RequestKind;

constexpr std::size_t kSize = 1000;
constexpr std::uint32_t kShare = 4;

/// A client without manners.
struct RawClient {
  explicit RawClient(Link& link)
      : requests(RemoteRequests::attach(std::move(link.client_requests)).value()),
        replies(RemoteReplies::attach(std::move(link.client_replies)).value()),
        line(std::move(link.client_line)) {}

  void send(const Request& request) { ASSERT_TRUE(requests.push(request, soon())); }
  [[nodiscard]] wire::Reply receive() { return replies.pop(soon()).value_or(wire::Reply{}); }

  RemoteRequests requests;
  RemoteReplies replies;
  hal::UniqueFd line;
};

Request bare(RequestKind kind, std::uint64_t tag) {
  return {.tag = tag, .kind = static_cast<std::uint32_t>(kind)};
}

ReplyKind kind_of(const wire::Reply& reply) { return static_cast<ReplyKind>(reply.kind); }

Status status_of(const wire::Reply& reply, std::size_t index) {
  return static_cast<Status>(reply.outcome[index].status);
}

class RemoteServerTest : public testing::Test {
 protected:
  void open(SoftwareOptions software = {}, ServerOptions options = {.max_in_flight = kShare},
            std::uint32_t capacity = 128) {
    channel_ = open_channel({.ring_entries = 16, .max_buffers = 4}, std::move(software));
    Link link = make_link(*manager_, "client", capacity);
    server_ = serve_link(*channel_, link, options);
    client_ = std::make_unique<RawClient>(link);
    memory_ = server_->attach(file_.fd(), Access::ReadWrite).value();
  }
  void open_gated(ServerOptions options = {.max_in_flight = kShare}) {
    open({.chunk_bytes = 100, .mover = mover_}, options);
  }
  [[nodiscard]] Descriptor copy() const {
    return Descriptor::copy({memory_, 0, kSize}, {memory_, kSize, kSize});
  }
  [[nodiscard]] static Request submit(std::uint64_t tag, const Descriptor& descriptor) {
    return wire::encode_batch(tag, {&descriptor, 1}).value();
  }
  /// What a request is answered.
  [[nodiscard]] wire::Reply ask(const Request& request) {
    client_->send(request);
    EXPECT_EQ(server_->serve_some().value_or(0), 1u);
    const wire::Reply reply = client_->receive();
    EXPECT_EQ(reply.tag, request.tag);
    return reply;
  }
  [[nodiscard]] ErrorCode error_of(const Request& request) {
    const wire::Reply reply = ask(request);
    EXPECT_EQ(kind_of(reply), ReplyKind::Done);
    return reply.error == 0 ? ErrorCode{} : wire::decode_error(reply.error);
  }
  /// The server and the channel do what they are for.
  void expect_service() {
    const Descriptor fill = Descriptor::fill({memory_, 0, 64}, ++pattern_);
    const wire::Reply reply = ask(submit(pattern_, fill));
    EXPECT_EQ(kind_of(reply), ReplyKind::Done);
    EXPECT_EQ(reply.error, 0u);
    ASSERT_EQ(reply.outcomes, 1u);
    EXPECT_EQ(status_of(reply, 0), Status::Done);
    std::uint64_t written = 0;
    std::memcpy(&written, file_.bytes().data() + 56, sizeof(written));
    EXPECT_EQ(written, pattern_);
  }

  std::unique_ptr<hal::ResourceManager> manager_ = hal::ResourceManager::create().value();
  std::shared_ptr<const GatedMover> mover_ = std::make_shared<const GatedMover>();
  MemoryFile file_{4096};
  std::unique_ptr<Channel> channel_;
  std::unique_ptr<ChannelServer> server_;
  std::unique_ptr<RawClient> client_;
  BufferId memory_;
  std::uint64_t pattern_ = 1'000'000;
};

TEST_F(RemoteServerTest, EachOperationIsDoneAndTold) {
  open();
  std::ranges::fill(file_.bytes().first(kSize), std::byte{7});
  const std::vector<Descriptor> batch = {copy(), Descriptor::fill({memory_, 3000, 96}, ~0ull),
                                         Descriptor::crc32c({memory_, 3000, 32})};
  const wire::Reply reply = ask(wire::encode_batch(5, batch).value());
  EXPECT_EQ(kind_of(reply), ReplyKind::Done);
  EXPECT_EQ(reply.error, 0u);
  ASSERT_EQ(reply.outcomes, 3u);
  for (std::size_t index = 0; index < 3; ++index) EXPECT_EQ(status_of(reply, index), Status::Done);
  EXPECT_EQ(reply.outcome[0].bytes, kSize);
  EXPECT_EQ(reply.outcome[2].crc32c, 0x62a8ab43u) << "RFC 3720, B.4: 32 bytes of ones";
  EXPECT_EQ(file_.bytes()[2 * kSize - 1], std::byte{7});
  EXPECT_EQ(file_.bytes()[2 * kSize], std::byte{0});
}

TEST_F(RemoteServerTest, HelloIsAnsweredByTheLimits) {
  open();
  const wire::Reply reply = ask(bare(RequestKind::Hello, 3));
  EXPECT_EQ(kind_of(reply), ReplyKind::Limits);
  const auto limits = wire::decode_limits(reply.limits);
  ASSERT_TRUE(limits);
  EXPECT_EQ(limits->ring_entries, kShare);
  EXPECT_EQ(limits->max_segments, kMaxRemoteSegments);
  EXPECT_EQ(limits->max_buffers, 4u);
  EXPECT_EQ(limits->max_length, channel_->limits().max_length);
}

TEST_F(RemoteServerTest, NonsenseIsRefused) {
  open();
  for (const std::uint32_t kind : {0u, 4u, ~0u}) {
    const wire::Reply reply = ask({.tag = kind, .kind = kind});
    EXPECT_EQ(kind_of(reply), ReplyKind::Refused);
    EXPECT_EQ(wire::decode_error(reply.error), ErrorCode::InvalidArgument);
  }
  for (Request odd : {bare(RequestKind::Hello, 1), bare(RequestKind::Cancel, 2)}) {
    odd.descriptors = 1;
    EXPECT_EQ(kind_of(ask(odd)), ReplyKind::Refused);
  }
  EXPECT_EQ(error_of(bare(RequestKind::Submit, 1)), ErrorCode::InvalidArgument) << "empty";
  Request many = submit(2, copy());
  many.descriptors = kMaxRemoteDescriptors + 1;
  EXPECT_EQ(error_of(many), ErrorCode::InvalidArgument);
  const Segment whole{memory_, 0, 4096};
  for (const Segment& outside : {Segment{memory_, 4096, 1}, Segment{memory_, 1, 4096},
                                 Segment{memory_, ~0ull, 2}, Segment{memory_, 0, 0}}) {
    EXPECT_EQ(error_of(submit(3, Descriptor::fill(outside, 0))), ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(error_of(submit(4, Descriptor::copy(whole, whole))), ErrorCode::InvalidArgument);
  const wire::Reply unknown = ask(bare(RequestKind::Cancel, 77));
  EXPECT_EQ(kind_of(unknown), ReplyKind::Progress);
  EXPECT_EQ(unknown.outcomes, 0u);
  expect_service();
}

TEST_F(RemoteServerTest, OnlyTheClientsOwnMemoryIsReached) {
  open();
  Bytes ours(kSize);
  const BufferId secret = channel_->attach_buffer(ours).value();
  const MemoryFile other_file(kSize);
  Link other_link = make_link(*manager_, "other");
  const auto other = serve_link(*channel_, other_link);
  const BufferId others = other->attach(other_file.fd(), Access::ReadWrite).value();
  for (const BufferId foreign : {secret, others, BufferId{}, BufferId{~0ull}}) {
    EXPECT_EQ(error_of(submit(1, Descriptor::fill({foreign, 0, 8}, ~0ull))),
              ErrorCode::StaleHandle);
    EXPECT_EQ(error_of(submit(2, Descriptor::copy({foreign, 0, 8}, {memory_, 0, 8}))),
              ErrorCode::StaleHandle);
    EXPECT_EQ(server_->detach(foreign).error(), ErrorCode::StaleHandle);
  }
  EXPECT_EQ(ours, Bytes(kSize));
  EXPECT_TRUE(
      std::ranges::all_of(other_file.bytes(), [](std::byte b) { return b == std::byte{}; }));

  // Ids that were good once.
  const BufferId again = server_->attach(file_.fd(), Access::Read).value();
  EXPECT_EQ(error_of(submit(3, Descriptor::fill({again, 0, 8}, 1))), ErrorCode::NotPermitted);
  ASSERT_TRUE(server_->detach(again));
  EXPECT_EQ(server_->detach(again).error(), ErrorCode::StaleHandle);
  EXPECT_EQ(error_of(submit(4, Descriptor::crc32c({again, 0, 8}))), ErrorCode::StaleHandle);
  expect_service();
}

TEST_F(RemoteServerTest, AttachingHasLimits) {
  open({}, {.max_in_flight = kShare, .max_buffers = 2, .max_memory_bytes = 8192});
  EXPECT_EQ(server_->attach(MemoryFile(4097).fd(), Access::Read).error(),
            ErrorCode::CapacityExceeded);
  EXPECT_EQ(server_->attach(MemoryFile(64, 0).fd(), Access::Read).error(),
            ErrorCode::InvalidArgument)
      << "not sealed";
  ASSERT_TRUE(server_->attach(MemoryFile(4096).fd(), Access::Read));
  const auto third = server_->attach(MemoryFile(1).fd(), Access::Read);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(client_mappings(), 3) << "file_ here, and the two that were taken";
}

TEST_F(RemoteServerTest, TheShareOfTheRingIsKept) {
  open_gated();
  for (std::uint64_t tag = 0; tag < kShare; ++tag) client_->send(submit(tag, copy()));
  client_->send(submit(0, copy()));
  client_->send(submit(kShare, copy()));
  EXPECT_EQ(server_->serve_some().value_or(0), kShare + 2u);
  const wire::Reply twin = client_->receive();
  EXPECT_EQ(twin.tag, 0u);
  EXPECT_EQ(wire::decode_error(twin.error), ErrorCode::InvalidArgument) << "a tag in flight";
  const wire::Reply beyond = client_->receive();
  EXPECT_EQ(beyond.tag, kShare);
  EXPECT_EQ(wire::decode_error(beyond.error), ErrorCode::CapacityExceeded);
  EXPECT_EQ(server_->detach(memory_).error(), ErrorCode::InUse);
  mover_->let_copy(std::ptrdiff_t{kShare} * 10);
  for (std::uint64_t tag = 0; tag < kShare; ++tag) {
    const wire::Reply done = client_->receive();
    EXPECT_EQ(done.tag, tag);
    EXPECT_EQ(done.error, 0u);
  }
  expect_service();
}

TEST_F(RemoteServerTest, CancelTellsWhatIsFinal) {
  open_gated();
  client_->send(submit(1, copy()));
  client_->send(submit(2, copy()));
  EXPECT_EQ(server_->serve_some().value_or(0), 2u);
  mover_->wait_until_copying();
  const wire::Reply second = ask(bare(RequestKind::Cancel, 2));
  EXPECT_EQ(kind_of(second), ReplyKind::Progress);
  ASSERT_EQ(second.outcomes, 1u);
  EXPECT_EQ(status_of(second, 0), Status::Cancelled);
  const wire::Reply first = ask(bare(RequestKind::Cancel, 1));
  ASSERT_EQ(first.outcomes, 1u);
  EXPECT_EQ(status_of(first, 0), Status::Running);
  mover_->let_copy(1);
  for (const std::uint64_t tag : {1u, 2u}) {
    const wire::Reply done = client_->receive();
    EXPECT_EQ(done.tag, tag);
    EXPECT_EQ(kind_of(done), ReplyKind::Done);
    EXPECT_EQ(status_of(done, 0), Status::Cancelled);
    EXPECT_EQ(done.outcome[0].bytes, tag == 1 ? 100u : 0u);
  }
  expect_service();
}

TEST_F(RemoteServerTest, AClientThatIsGoneLosesItsMemoryOnceTheEngineHasStopped) {
  open_gated();
  client_->send(submit(1, copy()));
  client_->send(submit(2, copy()));
  EXPECT_EQ(server_->serve_some().value_or(0), 2u);
  mover_->wait_until_copying();
  client_.reset();
  EXPECT_EQ(server_->serve(soon()).error(), ErrorCode::Disconnected);
  EXPECT_EQ(server_->serve_some().error(), ErrorCode::Disconnected);
  EXPECT_EQ(server_->attach(file_.fd(), Access::Read).error(), ErrorCode::Disconnected);

  EXPECT_EQ(client_mappings(), 2);
  EXPECT_EQ(server_->close(Channel::Clock::now()).error(), ErrorCode::TimedOut);
  EXPECT_EQ(client_mappings(), 2) << "the engine is in the middle of a piece";
  mover_->let_copy(1);
  EXPECT_TRUE(server_->close(soon()));
  EXPECT_EQ(client_mappings(), 1);
  EXPECT_TRUE(server_->close(soon()));

  // The channel is as good as new for others.
  mover_->let_copy(1'000);
  Link link = make_link(*manager_, "next");
  server_ = serve_link(*channel_, link);
  client_ = std::make_unique<RawClient>(link);
  memory_ = server_->attach(file_.fd(), Access::ReadWrite).value();
  expect_service();
}

TEST_F(RemoteServerTest, TheEndOfTheServerIsTheEndOfTheLine) {
  open_gated();
  client_->send(submit(1, copy()));
  EXPECT_EQ(server_->serve_some().value_or(0), 1u);
  mover_->wait_until_copying();
  pollfd line{.fd = client_->line.get(), .events = POLLIN, .revents = 0};
  std::jthread closing([this] { EXPECT_TRUE(server_->close(soon())); });
  EXPECT_EQ(::poll(&line, 1, 0), 0) << "while the engine works on the client's memory";
  mover_->let_copy(10);
  EXPECT_EQ(::poll(&line, 1, -1), 1);
  closing.join();
  EXPECT_EQ(client_mappings(), 1);
}

TEST_F(RemoteServerTest, AFullRingOfRepliesIsLeftAfterAWhile) {
  constexpr std::uint32_t kCapacity = 8;
  open({}, {.max_in_flight = kShare, .reply_patience = 1ms}, kCapacity);
  for (std::uint32_t i = 0; i < kCapacity; ++i) client_->send(bare(RequestKind::Hello, i));
  EXPECT_EQ(server_->serve_some().value_or(0), kCapacity);
  for (std::uint32_t i = 0; i < kCapacity; ++i) client_->send(bare(RequestKind::Hello, i));
  EXPECT_EQ(server_->serve_some().value_or(0), 1u) << "one reply waits, so nothing more is taken";
  EXPECT_EQ(server_->serve(soon()).error(), ErrorCode::TimedOut);
  EXPECT_EQ(server_->serve_some().error(), ErrorCode::TimedOut);
}

TEST_F(RemoteServerTest, AFullRingOfRepliesDelaysNobodyElse) {
  constexpr std::uint32_t kCapacity = 8;
  open({}, {.max_in_flight = kShare, .reply_patience = 1h}, kCapacity);
  Link other_link = make_link(*manager_, "other");
  const auto other = serve_link(*channel_, other_link);
  RawClient other_client(other_link);
  const BufferId others = other->attach(MemoryFile(kSize).fd(), Access::ReadWrite).value();

  for (std::uint64_t tag = 0; tag < kCapacity; ++tag) client_->send(bare(RequestKind::Hello, tag));
  EXPECT_TRUE(server_->serve_some());
  for (std::uint64_t tag = 0; tag < kShare; ++tag) {
    client_->send(submit(tag, Descriptor::fill({memory_, 0, 8}, 1)));
  }
  EXPECT_TRUE(server_->serve_some());
  // Behind all of these in the channel's ring, whose thread must not wait for the first client.
  other_client.send(submit(1, Descriptor::fill({others, 0, 8}, 1)));
  EXPECT_TRUE(other->serve_some());
  EXPECT_EQ(kind_of(other_client.receive()), ReplyKind::Done);
  // It comes back, and all is there.
  EXPECT_TRUE(server_->serve(Channel::Clock::now()));
  for (std::uint64_t tag = 0; tag < kCapacity; ++tag) {
    EXPECT_EQ(kind_of(client_->receive()), ReplyKind::Limits);
  }
  ServingThread serving(*server_);
  for (std::uint64_t tag = 0; tag < kShare; ++tag) EXPECT_EQ(client_->receive().tag, tag);
  EXPECT_FALSE(serving.stop());
}

TEST_F(RemoteServerTest, AnEventLoopCanServe) {
  channel_ = open_channel();
  auto requests =
      RemoteRequests::create(*manager_, "bell/requests", {.capacity = 8, .event_doorbell = true})
          .value();
  auto client = RemoteRequests::attach(requests.queue().memory_fd().value(),
                                       requests.queue().bell_fd().value())
                    .value();
  Link link = make_link(*manager_, "bell/unused");
  server_ = ChannelServer::create(*channel_, std::move(requests), std::move(link.replies),
                                  std::move(link.line), {.max_in_flight = kShare})
                .value();
  ASSERT_FALSE(server_->request_queue().prepare_wait().value());
  ASSERT_TRUE(client.try_push(bare(RequestKind::Hello, 1)));
  pollfd bell{.fd = server_->request_queue().bell(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&bell, 1, -1), 1);
  EXPECT_EQ(server_->serve_some().value_or(0), 1u);
  EXPECT_EQ(server_->serve_some().value_or(1), 0u);
  link.client_line.reset();
  EXPECT_EQ(server_->serve_some().error(), ErrorCode::Disconnected);
}

TEST_F(RemoteServerTest, WhatDoesNotFitIsRefused) {
  channel_ = open_channel();
  const auto refusal = [this](Link link, const ServerOptions& options) {
    const auto server =
        ChannelServer::create(*channel_, std::move(link.requests), std::move(link.replies),
                              std::move(link.line), options);
    return server ? ErrorCode{} : server.error().code();
  };
  int made = 0;
  const auto link = [&] { return make_link(*manager_, std::to_string(made++), 8); };
  EXPECT_EQ(refusal(link(), {.max_in_flight = 7}), ErrorCode{});
  for (const std::uint32_t share : {0u, 8u, 4097u}) {
    EXPECT_EQ(refusal(link(), {.max_in_flight = share}), ErrorCode::InvalidArgument) << share;
  }
  for (const std::chrono::nanoseconds patience : {-1ns, std::chrono::nanoseconds(1h) + 1ns}) {
    EXPECT_EQ(refusal(link(), {.max_in_flight = 1, .reply_patience = patience}),
              ErrorCode::InvalidArgument);
  }
  Link no_line = link();
  no_line.line.reset();
  EXPECT_EQ(refusal(std::move(no_line), {.max_in_flight = 1}), ErrorCode::InvalidArgument);
  Link bell = link();
  bell.replies =
      RemoteReplies::create(*manager_, "bell", {.capacity = 8, .event_doorbell = true}).value();
  EXPECT_EQ(refusal(std::move(bell), {.max_in_flight = 1}), ErrorCode::InvalidArgument);
  Link many = link();
  many.requests = RemoteRequests::create(*manager_, "many",
                                         {.capacity = 8, .kind = hal::QueueKind::MultiProducer})
                      .value();
  EXPECT_EQ(refusal(std::move(many), {.max_in_flight = 1}), ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace drivers::dma
