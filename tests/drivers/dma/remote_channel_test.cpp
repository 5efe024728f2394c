// SPDX-License-Identifier: Apache-2.0
//
// A channel behind two queues, used as if it were next door.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <latch>
#include <memory>
#include <optional>
#include <random>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "drivers/dma/crc32c.hpp"
#include "drivers/dma/remote_channel.hpp"
#include "tests/drivers/dma/remote_support.hpp"

namespace drivers::dma {
namespace {

using namespace std::chrono_literals;
using hal::ErrorCode;

constexpr std::size_t kSize = 1000;
constexpr std::uint32_t kShare = 4;

hal::Result<std::unique_ptr<Channel>> connect(Link& link, Channel::Clock::time_point deadline,
                                              const RemoteOptions& options = {}) {
  return RemoteChannel::connect(RemoteRequests::attach(std::move(link.client_requests)).value(),
                                RemoteReplies::attach(std::move(link.client_replies)).value(),
                                std::move(link.client_line), deadline, options);
}

/// For servers of which the rest is a test's own.
void answer_hello(Link& link) {
  wire::Reply limits{.kind = static_cast<std::uint32_t>(wire::ReplyKind::Limits)};
  limits.limits = wire::encode_limits({.max_length = 1, .max_segments = 1, .ring_entries = 8});
  EXPECT_TRUE(link.requests.pop(soon()));
  EXPECT_TRUE(link.replies.push(limits, soon()));
}

class RemoteChannelTest : public testing::Test {
 protected:
  void open(SoftwareOptions software = {}, const RemoteOptions& options = {}) {
    local_ = open_channel({.ring_entries = 64}, std::move(software));
    Link link = make_link(*manager_, "client");
    server_ = serve_link(*local_, link, {.max_in_flight = kShare});
    memory_ = server_->attach(file_.fd(), Access::ReadWrite).value();
    serving_.emplace(*server_);
    channel_ = connect(link, soon(), options).value();
  }
  void open_gated(const RemoteOptions& options = {}) {
    open({.chunk_bytes = 100, .mover = mover_}, options);
  }
  /// From then on the server does not answer, as if it were stopped.
  void stop_serving() { EXPECT_FALSE(serving_->stop()); }
  [[nodiscard]] Descriptor copy() const {
    return Descriptor::copy({memory_, 0, kSize}, {memory_, kSize, kSize});
  }
  [[nodiscard]] hal::Result<Ticket> submit(const Descriptor& descriptor, Callback on_done = {}) {
    return channel_->submit({&descriptor, 1}, std::move(on_done));
  }
  [[nodiscard]] hal::Result<Ticket> run(const Descriptor& descriptor) {
    return channel_->run({&descriptor, 1}, soon());
  }

  // Before the channels, whose threads may still be about to leave a callback.
  std::binary_semaphore told_{0};
  std::shared_ptr<const GatedMover> mover_ = std::make_shared<const GatedMover>();
  std::unique_ptr<hal::ResourceManager> manager_ = hal::ResourceManager::create().value();
  MemoryFile file_{8192};
  std::unique_ptr<Channel> local_;
  std::unique_ptr<ChannelServer> server_;
  std::optional<ServingThread> serving_;
  std::unique_ptr<Channel> channel_;
  BufferId memory_;
};

TEST_F(RemoteChannelTest, EachOperationIsDone) {
  open();
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < 300; ++round) {
    const Bytes data = random_bytes(kSize, random);
    std::ranges::copy(data, file_.bytes().begin());
    const std::uint64_t pattern = random();
    const std::array<Segment, 2> halves = {Segment{memory_, 0, 300}, Segment{memory_, 300, 700}};
    const std::array<Segment, 1> whole = {Segment{memory_, kSize, kSize}};
    const std::array batch = {Descriptor::copy(halves, whole),
                              Descriptor::crc32c(whole[0]).store_result({memory_, 4096, 4}),
                              Descriptor::fill({memory_, 0, 8}, pattern)};
    const auto ticket = channel_->run(batch, soon());
    ASSERT_TRUE(ticket) << ticket.error().message();
    EXPECT_TRUE(std::ranges::equal(data, file_.bytes().subspan(kSize, kSize)));
    const std::uint32_t expected = crc32c(0, data);
    EXPECT_EQ(ticket->outcome(1)->crc32c, expected);
    EXPECT_EQ(ticket->outcome(0)->bytes, kSize);
    EXPECT_FALSE(ticket->outcome(0)->crc32c);
    std::uint32_t stored = 0;
    std::memcpy(&stored, file_.bytes().data() + 4096, sizeof(stored));
    EXPECT_EQ(stored, expected);
    EXPECT_EQ(std::memcmp(file_.bytes().data(), &pattern, sizeof(pattern)), 0);
  }
}

TEST_F(RemoteChannelTest, TheLimitsAreTheServers) {
  open();
  EXPECT_EQ(channel_->limits().ring_entries, kShare);
  EXPECT_EQ(channel_->limits().max_segments, kMaxRemoteSegments);
  EXPECT_EQ(channel_->limits().max_length, local_->limits().max_length);
  EXPECT_TRUE(channel_->limits().in_order);

  const std::vector<Descriptor> many(kMaxRemoteDescriptors + 1, copy());
  EXPECT_EQ(channel_->submit(many).error(), ErrorCode::CapacityExceeded);
  const auto five = channel_->submit(std::span(many).first(kShare + 1));
  ASSERT_FALSE(five);
  EXPECT_EQ(five.error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(five.error().available(), kShare);
  EXPECT_EQ(channel_->submit({}).error(), ErrorCode::InvalidArgument);
}

TEST_F(RemoteChannelTest, MemoryIsAttachedAtTheServer) {
  open();
  Bytes memory(64);
  EXPECT_EQ(channel_->attach_buffer(memory).error(), ErrorCode::Unsupported);
  EXPECT_EQ(channel_->attach_source(memory).error(), ErrorCode::Unsupported);
  EXPECT_EQ(channel_->detach_buffer(memory_).error(), ErrorCode::Unsupported);
}

TEST_F(RemoteChannelTest, WhatTheServerRefusesIsNotDoneInParts) {
  open();
  file_.bytes()[0] = std::byte{1};
  const std::array batch = {Descriptor::fill({memory_, 0, 8}, 0),
                            Descriptor::fill({BufferId{}, 0, 8}, 0)};
  const auto ran = channel_->run(batch, soon());
  ASSERT_FALSE(ran);
  EXPECT_EQ(ran.error(), ErrorCode::StaleHandle);
  const Ticket ticket = channel_->submit(batch).value();
  EXPECT_EQ(channel_->wait(ticket, soon()).error(), ErrorCode::StaleHandle);
  EXPECT_EQ(ticket.outcome(0)->status, Status::Failed);
  EXPECT_EQ(ticket.outcome(0)->error, ErrorCode::StaleHandle);
  EXPECT_EQ(file_.bytes()[0], std::byte{1});
  EXPECT_EQ(run(Descriptor::fill({memory_, 8192, 1}, 0)).error(), ErrorCode::InvalidArgument);
  EXPECT_TRUE(run(copy()));
}

TEST_F(RemoteChannelTest, TheShareOfTheRingIsKept) {
  open_gated();
  std::vector<Ticket> tickets;
  for (std::uint32_t i = 0; i < kShare; ++i) tickets.push_back(submit(copy()).value());
  EXPECT_EQ(submit(copy()).error(), ErrorCode::WouldBlock);
  EXPECT_EQ(channel_->wait(tickets[0], Channel::Clock::now()).error(), ErrorCode::TimedOut);
  mover_->let_copy(std::ptrdiff_t{kShare} * 10);
  for (const Ticket& ticket : tickets) EXPECT_TRUE(channel_->wait(ticket, soon()));
  EXPECT_TRUE(channel_->drain(soon()));
  mover_->let_copy(10);
  EXPECT_TRUE(run(copy()));
}

TEST_F(RemoteChannelTest, CallbacksAndTheEventfdTellOfTheEnd) {
  open();
  const int event = channel_->completion_fd().value();
  std::atomic<bool> good{false};
  const auto on_done = [&](const Ticket& ticket) noexcept {
    // From here it may be used as from everywhere, but for waiting for what is behind.
    const auto behind = submit(copy());
    good = ticket.finished() && behind &&
           channel_->wait(*behind, soon()).error() == ErrorCode::Deadlock &&
           channel_->cancel(*behind).has_value();
    told_.release();
  };
  const Ticket ticket = submit(copy(), on_done).value();
  told_.acquire();
  EXPECT_TRUE(good);
  EXPECT_TRUE(channel_->wait(ticket, soon()));
  // Two batches: ours, and the callback's.
  for (std::uint64_t count = 0; count < 2;) {
    pollfd bell{.fd = event, .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&bell, 1, -1), 1);
    eventfd_t more = 0;
    ASSERT_EQ(::eventfd_read(event, &more), 0);
    count += more;
    ASSERT_LE(count, 2u);
  }
}

TEST_F(RemoteChannelTest, CancelledWorkIsFinalAtOnce) {
  open_gated();
  const Ticket running = submit(copy()).value();
  const std::array two = {copy(), copy()};
  const Ticket queued =
      channel_->submit(two, [this](const Ticket&) noexcept { told_.release(); }).value();
  mover_->wait_until_copying();
  EXPECT_EQ(channel_->cancel(queued).value_or(99), 2u);
  EXPECT_TRUE(queued.finished());
  EXPECT_EQ(queued.result().error(), ErrorCode::Cancelled);
  EXPECT_EQ(channel_->cancel(queued).value_or(99), 0u);
  EXPECT_FALSE(told_.try_acquire()) << "told of in its turn";
  EXPECT_EQ(channel_->cancel(running).value_or(99), 0u);
  EXPECT_FALSE(running.finished());
  mover_->let_copy(1);
  EXPECT_EQ(channel_->wait(running, soon()).error(), ErrorCode::Cancelled);
  EXPECT_EQ(running.outcome(0)->bytes, 100u);
  told_.acquire();
  EXPECT_EQ(channel_->cancel(running).value_or(99), 0u) << "it has ended";

  EXPECT_EQ(channel_->cancel(Ticket()).error(), ErrorCode::InvalidArgument);
  const std::array local = {copy()};
  const Ticket foreign = local_->submit(local).value();
  EXPECT_EQ(channel_->cancel(foreign).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(channel_->wait(foreign, soon()).error(), ErrorCode::InvalidArgument);
  mover_->let_copy(10);
}

TEST_F(RemoteChannelTest, RunCancelsAtItsDeadline) {
  open_gated();
  const Ticket running = submit(copy()).value();
  mover_->wait_until_copying();
  const Descriptor descriptor = copy();
  EXPECT_EQ(channel_->run({&descriptor, 1}, Channel::Clock::now()).error(), ErrorCode::TimedOut);
  mover_->let_copy(10);
  EXPECT_TRUE(channel_->wait(running, soon()));
}

TEST_F(RemoteChannelTest, QuiesceStopsTheEngine) {
  open_gated();
  const Ticket running = submit(copy()).value();
  const Ticket queued = submit(copy()).value();
  mover_->wait_until_copying();
  EXPECT_EQ(channel_->quiesce(Channel::Clock::now()).error(), ErrorCode::TimedOut);
  EXPECT_TRUE(queued.finished());
  mover_->let_copy(1);
  EXPECT_TRUE(channel_->quiesce(soon()));
  EXPECT_EQ(running.outcome(0)->status, Status::Cancelled);
  mover_->let_copy(10);
  EXPECT_TRUE(run(copy()));
}

TEST_F(RemoteChannelTest, AServerThatDoesNotAnswerHoldsNobodyUpForEver) {
  open({}, {.patience = 1ms});
  stop_serving();
  const Ticket ticket = submit(copy()).value();
  EXPECT_EQ(channel_->wait(ticket, Channel::Clock::now() + 1ms).error(), ErrorCode::TimedOut);
  EXPECT_EQ(channel_->cancel(ticket).error(), ErrorCode::TimedOut);
  EXPECT_EQ(channel_->quiesce(soon()).error(), ErrorCode::TimedOut);
  EXPECT_FALSE(ticket.finished());
  channel_->close();
  EXPECT_TRUE(ticket.finished());
  EXPECT_EQ(ticket.result().error(), ErrorCode::Disconnected);
  EXPECT_EQ(submit(copy()).error(), ErrorCode::Disconnected);
}

TEST_F(RemoteChannelTest, TheEndOfTheServerEndsEverything) {
  open_gated();
  const Ticket running = submit(copy()).value();
  const Ticket queued = submit(copy(), [this](const Ticket&) noexcept { told_.release(); }).value();
  mover_->wait_until_copying();
  stop_serving();
  // Whether the rest is cancelled or done is a race that anyone may win.
  mover_->let_copy(20);
  server_.reset();
  static_cast<void>(channel_->wait(running, soon()));
  static_cast<void>(channel_->wait(queued, soon()));
  EXPECT_TRUE(running.finished() && queued.finished());
  told_.acquire();
  // The last reply may be taken before the end of the line is seen.
  hal::Result<Ticket> more = submit(copy());
  if (more) {
    EXPECT_EQ(channel_->wait(*more, soon()).error(), ErrorCode::Disconnected);
  }
  EXPECT_EQ(submit(copy()).error(), ErrorCode::Disconnected);
  EXPECT_TRUE(channel_->drain(soon()));
  EXPECT_TRUE(channel_->quiesce(soon()));
}

// As a server that was killed.
TEST_F(RemoteChannelTest, TheEndOfTheLineFailsWhatIsInFlight) {
  Link link = make_link(*manager_, "line");
  std::jthread server([&link] {
    answer_hello(link);
    EXPECT_TRUE(link.requests.pop(soon()));
    EXPECT_TRUE(link.requests.pop(soon()));
    link.line.reset();
  });
  channel_ = connect(link, soon()).value();
  const Ticket first = submit(copy(), [this](const Ticket&) noexcept { told_.release(); }).value();
  const Ticket second = submit(copy()).value();
  for (const Ticket& ticket : {first, second}) {
    EXPECT_EQ(channel_->wait(ticket, soon()).error(), ErrorCode::Disconnected);
    EXPECT_EQ(ticket.outcome(0)->status, Status::Failed);
  }
  told_.acquire();
  EXPECT_EQ(channel_->cancel(first).value_or(99), 0u);
  EXPECT_EQ(submit(copy()).error(), ErrorCode::Disconnected);
}

TEST_F(RemoteChannelTest, CloseCancelsAndTellsEveryCallback) {
  open_gated();
  std::atomic<int> told{0};
  const auto count = [&told](const Ticket&) noexcept { ++told; };
  const Ticket running = submit(copy(), count).value();
  const Ticket queued = submit(copy(), count).value();
  mover_->wait_until_copying();
  std::jthread gate([&] {
    static_cast<void>(queued.batch()->wait(soon(), {}));
    mover_->let_copy(1);
  });
  channel_.reset();
  EXPECT_EQ(told, 2);
  EXPECT_EQ(running.outcome(0)->bytes, 100u);
  EXPECT_EQ(queued.result().error(), ErrorCode::Cancelled);
  // The server learns of it.
  EXPECT_EQ(serving_->join(), ErrorCode::Disconnected);
}

TEST_F(RemoteChannelTest, CloseInACallback) {
  open();
  const Ticket ticket = submit(copy(), [this](const Ticket&) noexcept {
                          channel_->close();
                          told_.release();
                        }).value();
  told_.acquire();
  EXPECT_TRUE(ticket.result());
  EXPECT_EQ(submit(copy()).error(), ErrorCode::Disconnected);
}

TEST_F(RemoteChannelTest, ConnectingNeedsAServer) {
  const auto now = Channel::Clock::now();
  Link silent = make_link(*manager_, "silent");
  EXPECT_EQ(connect(silent, now).error(), ErrorCode::TimedOut);
  Link gone = make_link(*manager_, "gone");
  gone.line.reset();
  EXPECT_EQ(connect(gone, soon()).error(), ErrorCode::Disconnected);
  Link no_line = make_link(*manager_, "no-line");
  no_line.client_line.reset();
  EXPECT_EQ(connect(no_line, soon()).error(), ErrorCode::InvalidArgument);
  Link patient = make_link(*manager_, "patient");
  EXPECT_EQ(connect(patient, soon(), {.patience = -1ns}).error(), ErrorCode::InvalidArgument);
  Link odd = make_link(*manager_, "odd");
  ASSERT_TRUE(odd.replies.try_push({}));
  const auto connected = connect(odd, soon());
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().system_errno(), EBADMSG);
}

// A reply of nonsense is no success.
TEST_F(RemoteChannelTest, OddRepliesFailTheirBatch) {
  Link link = make_link(*manager_, "odd");
  std::jthread server([&link] {
    answer_hello(link);
    const auto done = static_cast<std::uint32_t>(wire::ReplyKind::Done);
    for (int answered = 0; answered < 3; ++answered) {
      const auto request = link.requests.pop(soon());
      wire::Reply reply{.tag = request->tag, .kind = done};
      // Two outcomes of one descriptor; one that is not final; one of a status that there is not.
      reply.outcomes = answered == 0 ? 2 : 1;
      constexpr std::array<std::uint8_t, 3> kStatus = {2, 0, 77};
      reply.outcome[0].status = kStatus[static_cast<std::size_t>(answered)];
      static_cast<void>(link.replies.push({.tag = 99, .kind = done}, soon()));
      static_cast<void>(link.replies.push({.tag = request->tag, .kind = 77}, soon()));
      static_cast<void>(link.replies.push(reply, soon()));
    }
  });
  channel_ = connect(link, soon()).value();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(copy()).error(), ErrorCode::System);
}

// Many threads, one channel, callbacks and cancels among them.
TEST_F(RemoteChannelTest, ThreadsShareAChannel) {
  open();
  constexpr int kThreads = 3;
  constexpr int kRounds = 500;
  std::atomic<int> told{0};
  std::atomic<int> submitted{0};
  const std::uint64_t seed = test_seed();
  {
    std::vector<std::jthread> threads;
    for (int number = 0; number < kThreads; ++number) {
      threads.emplace_back([&, number] {
        std::mt19937_64 random(seed + static_cast<std::uint64_t>(number));
        const Segment mine{memory_, static_cast<std::uint64_t>(number) * 1024, 512};
        for (int round = 0; round < kRounds; ++round) {
          const Descriptor fill = Descriptor::fill(mine, random());
          auto ticket = submit(fill, [&told](const Ticket&) noexcept { ++told; });
          if (!ticket) {
            EXPECT_EQ(ticket.error(), ErrorCode::WouldBlock);
            std::this_thread::yield();
            continue;
          }
          ++submitted;
          if (random() % 4 == 0) {
            EXPECT_TRUE(channel_->cancel(*ticket));
          }
          const auto ended = channel_->wait(*ticket, soon());
          EXPECT_TRUE(ended || ended.error() == ErrorCode::Cancelled);
        }
      });
    }
  }
  channel_.reset();
  EXPECT_EQ(told, submitted);
}

}  // namespace
}  // namespace drivers::dma
