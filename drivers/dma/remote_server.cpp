// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/remote_server.hpp"

#include <algorithm>
#include <mutex>
#include <span>
#include <utility>

#include "drivers/dma/futex.hpp"
#include "drivers/dma/reply_line.hpp"
#include "drivers/dma/threaded_channel.hpp"

namespace drivers::dma {
namespace {

using hal::ErrorCode;
using wire::ReplyKind;
using wire::RequestKind;
using Clock = Channel::Clock;

constexpr std::size_t kBurst = 64;
constexpr std::uint32_t kMostInFlight = 4096;
constexpr std::chrono::hours kMostPatience{1};

[[nodiscard]] wire::Reply make_reply(ReplyKind kind, std::uint64_t tag) noexcept {
  return {.tag = tag, .kind = static_cast<std::uint32_t>(kind)};
}

[[nodiscard]] wire::Reply make_reply(ReplyKind kind, std::uint64_t tag, ErrorCode why) noexcept {
  wire::Reply reply = make_reply(kind, tag);
  reply.error = wire::encode_error(why);
  return reply;
}

/// What is known of a batch now.
[[nodiscard]] wire::Reply make_reply(ReplyKind kind, std::uint64_t tag,
                                     const Ticket& ticket) noexcept {
  wire::Reply reply = make_reply(kind, tag);
  reply.outcomes = static_cast<std::uint16_t>(ticket.size());
  for (std::size_t index = 0; index < ticket.size(); ++index) {
    reply.outcome[index] = wire::encode_outcome(*ticket.outcome(index));
  }
  return reply;
}

[[nodiscard]] hal::Error client_gone() noexcept {
  return hal::Error(ErrorCode::Disconnected, "the client is gone");
}

hal::Result<void> check(const ServerOptions& options, const RemoteRequests& requests,
                        const RemoteReplies& replies) {
  const std::uint32_t capacity = std::min(requests.queue().capacity(), replies.queue().capacity());
  if (options.max_in_flight == 0 || options.max_in_flight > kMostInFlight) {
    return fail(ErrorCode::InvalidArgument, "max_in_flight");
  }
  if (options.max_in_flight >= capacity) {
    return fail(ErrorCode::InvalidArgument, "queues too small for max_in_flight");
  }
  if (requests.queue().kind() != hal::QueueKind::SingleProducer ||
      replies.queue().kind() != hal::QueueKind::SingleProducer) {
    return fail(ErrorCode::InvalidArgument, "queues with many producers");
  }
  if (replies.queue().bell() >= 0) {
    return fail(ErrorCode::InvalidArgument, "replies with an event doorbell");
  }
  if (options.reply_patience < std::chrono::nanoseconds::zero() ||
      options.reply_patience > kMostPatience) {
    return fail(ErrorCode::InvalidArgument, "reply_patience");
  }
  return {};
}

}  // namespace

struct ChannelServer::Session {
  struct Flight {
    std::uint64_t tag = 0;
    Ticket ticket;
  };

  Session(RemoteReplies queue, const ServerOptions& options)
      // One for each batch in flight, and what handling one request makes.
      : replies(std::move(queue), options.max_in_flight + 1, options.reply_patience) {
    flights.reserve(options.max_in_flight);
  }

  /// Null if no batch of that tag is in flight. REQUIRES: mutex.
  [[nodiscard]] Flight* find(std::uint64_t tag) noexcept {
    const auto found = std::ranges::find(flights, tag, &Flight::tag);
    return found == flights.end() ? nullptr : &*found;
  }
  /// The callback of a batch, on the channel's thread.
  void land(std::uint64_t tag, const Ticket& ticket) noexcept {
    // To the end: who finds no flight any more knows that its end was told.
    const std::lock_guard lock(mutex);
    std::erase_if(flights, [tag](const Flight& flight) { return flight.tag == tag; });
    descriptors -= ticket.size();
    replies.send(make_reply(ReplyKind::Done, tag, ticket));
  }

  ReplyLine replies;
  std::mutex mutex;
  std::vector<Flight> flights;  ///< oldest first
  std::size_t descriptors = 0;  ///< in flight
};

hal::Result<std::unique_ptr<ChannelServer>> ChannelServer::create(Channel& channel,
                                                                  RemoteRequests requests,
                                                                  RemoteReplies replies,
                                                                  hal::UniqueFd line,
                                                                  const ServerOptions& options) {
  if (auto fine = check(options, requests, replies); !fine) return std::unexpected(fine.error());
  if (!line) return fail(ErrorCode::InvalidArgument, "a line to the client is missing");
  return std::make_unique<ChannelServer>(Key(), channel, std::move(requests), std::move(replies),
                                         std::move(line), options);
}

ChannelServer::ChannelServer(Key, Channel& channel, RemoteRequests requests, RemoteReplies replies,
                             hal::UniqueFd line, const ServerOptions& options)
    : channel_(channel),
      options_(options),
      requests_(std::move(requests)),
      peer_(std::move(line)),
      session_(std::make_shared<Session>(std::move(replies), options)) {}

ChannelServer::~ChannelServer() { static_cast<void>(close(Channel::kForever)); }

hal::Result<BufferId> ChannelServer::attach(hal::UniqueFd memory, Access access) {
  auto mapped = RemoteMemory::map(std::move(memory), access);
  if (!mapped) return std::unexpected(std::move(mapped.error()));
  const std::lock_guard lock(session_->mutex);
  if (over_) return fail(ErrorCode::Disconnected, "the client is not served any more");
  std::uint64_t room = options_.max_memory_bytes;
  for (const Buffer& buffer : buffers_) room -= buffer.memory.bytes().size();
  const std::size_t size = mapped->bytes().size();
  if (buffers_.size() >= options_.max_buffers || size > room) {
    hal::Error full(ErrorCode::CapacityExceeded, "memory attached for one client");
    full.with_amounts(size, buffers_.size() >= options_.max_buffers ? 0 : room);
    return std::unexpected(std::move(full));
  }
  const auto id = access == Access::Read ? channel_.attach_source(mapped->bytes())
                                         : channel_.attach_buffer(mapped->bytes());
  if (id) buffers_.push_back({*id, *std::move(mapped)});
  return id;
}

hal::Result<void> ChannelServer::detach(BufferId buffer) {
  // Unmapped after the lock was let go: that takes its time, and the channel's thread may wait.
  std::vector<Buffer> detached;
  const std::lock_guard lock(session_->mutex);
  const auto found = std::ranges::find(buffers_, buffer, &Buffer::id);
  if (found == buffers_.end()) return fail(ErrorCode::StaleHandle, "memory of the client");
  if (auto done = channel_.detach_buffer(buffer); !done) return done;
  detached.push_back(std::move(*found));
  buffers_.erase(found);
  return {};
}

bool ChannelServer::is_attached(BufferId buffer) const noexcept {
  return std::ranges::find(buffers_, buffer, &Buffer::id) != buffers_.end();
}

hal::Result<void> ChannelServer::serve(Clock::time_point deadline) {
  // Who sent a request just now will send another, sooner than a sleeper can wake.
  const std::chrono::nanoseconds spin = spinning_helps() ? kUsualSpin : kUsualSpin.zero();
  Clock::time_point last_request{};
  for (;;) {
    const auto handled = pump();
    if (!handled) return std::unexpected(handled.error());
    const Clock::time_point now = Clock::now();
    if (now >= deadline) return {};
    if (*handled > 0) {
      last_request = now;
    } else if (now - last_request < spin) {
      cpu_relax();
    } else if (auto slept = sleep(std::min(deadline, now + kPeerLook)); !slept) {
      return slept;
    }
  }
}

hal::Result<std::size_t> ChannelServer::serve_some() {
  auto handled = pump();
  if (handled && *handled == 0 && peer_.gone()) return give_up(client_gone());
  return handled;
}

hal::Result<std::size_t> ChannelServer::pump() {
  if (over_) return std::unexpected(*over_);
  const auto flushed = session_->replies.flush(Clock::time_point::min());
  if (!flushed) return give_up(flushed.error());
  std::size_t handled = 0;
  // A client that does not take its replies gets no more of them.
  while (handled < kBurst && session_->replies.idle()) {
    const auto request = requests_.try_pop();
    if (!request && request.error() == ErrorCode::WouldBlock) break;
    if (!request) return give_up(request.error());
    handle(*request);
    ++handled;
  }
  return handled;
}

hal::Result<void> ChannelServer::sleep(Clock::time_point deadline) {
  if (peer_.gone()) return give_up(client_gone());
  if (!session_->replies.idle()) {
    if (auto flushed = session_->replies.flush(deadline); !flushed) {
      return give_up(std::move(flushed.error()));
    }
    return {};
  }
  const auto request = requests_.pop(deadline);
  if (request) {
    handle(*request);
  } else if (request.error() != ErrorCode::TimedOut) {
    return give_up(request.error());
  }
  return {};
}

void ChannelServer::handle(const wire::Request& request) {
  const auto kind = static_cast<RequestKind>(request.kind);
  if (kind == RequestKind::Submit) {
    if (auto submitted = submit(request); !submitted) {
      session_->replies.send(make_reply(ReplyKind::Done, request.tag, submitted.error().code()));
    }
  } else if (kind == RequestKind::Cancel && request.descriptors == 0) {
    session_->replies.send(cancel(request.tag));
  } else if (kind == RequestKind::Hello && request.descriptors == 0) {
    session_->replies.send(hello(request.tag));
  } else {
    session_->replies.send(make_reply(ReplyKind::Refused, request.tag, ErrorCode::InvalidArgument));
  }
}

hal::Result<void> ChannelServer::submit(const wire::Request& request) {
  const auto batch = decoder_.decode(request);
  if (!batch) return std::unexpected(batch.error());
  const std::uint64_t tag = request.tag;
  // Until the batch is noted: its callback waits for that.
  const std::lock_guard lock(session_->mutex);
  if (session_->find(tag) != nullptr) return fail(ErrorCode::InvalidArgument, "tag in use");
  if (batch->size() > options_.max_in_flight - session_->descriptors) {
    return fail(ErrorCode::CapacityExceeded, "the client's share of the ring");
  }
  // The channel knows the memory of others, too.
  if (!std::ranges::all_of(decoder_.segments(), [this](const Segment& segment) {
        return is_attached(segment.buffer);
      })) {
    return fail(ErrorCode::StaleHandle, "memory of the client");
  }
  auto ticket = channel_.submit(*batch, [session = session_, tag](const Ticket& ended) noexcept {
    session->land(tag, ended);
  });
  if (!ticket) return std::unexpected(std::move(ticket.error()));
  session_->flights.push_back({tag, *std::move(ticket)});
  session_->descriptors += batch->size();
  return {};
}

wire::Reply ChannelServer::cancel(std::uint64_t tag) {
  Ticket ticket;
  {
    const std::lock_guard lock(session_->mutex);
    if (const auto* flight = session_->find(tag)) ticket = flight->ticket;
  }
  // Not in flight any more: its outcomes are before this answer.
  if (!ticket) return make_reply(ReplyKind::Progress, tag);
  static_cast<void>(channel_.cancel(ticket));
  return make_reply(ReplyKind::Progress, tag, ticket);
}

wire::Reply ChannelServer::hello(std::uint64_t tag) const {
  Limits limits = channel_.limits();
  limits.max_segments = std::min(limits.max_segments, kMaxRemoteSegments);
  limits.ring_entries = std::min(limits.ring_entries, options_.max_in_flight);
  limits.max_buffers = std::min(limits.max_buffers, options_.max_buffers);
  wire::Reply reply = make_reply(ReplyKind::Limits, tag);
  reply.limits = wire::encode_limits(limits);
  return reply;
}

std::unexpected<hal::Error> ChannelServer::give_up(hal::Error why) {
  session_->replies.shut();
  stop(std::move(why));
  // NOLINTNEXTLINE(bugprone-unchecked-optional-access): stop() has seen to it
  return std::unexpected(*over_);
}

void ChannelServer::stop(hal::Error why) {
  {
    const std::lock_guard lock(session_->mutex);
    if (!over_) over_ = std::move(why);
  }
  for (const Ticket& ticket : in_flight()) static_cast<void>(channel_.cancel(ticket));
}

std::vector<Ticket> ChannelServer::in_flight() const {
  std::vector<Ticket> tickets;
  const std::lock_guard lock(session_->mutex);
  for (const auto& flight : session_->flights) tickets.push_back(flight.ticket);
  return tickets;
}

hal::Result<void> ChannelServer::close(Clock::time_point deadline) {
  stop(hal::Error(ErrorCode::Disconnected, "the server of a DMA channel is closed"));
  for (const Ticket& ticket : in_flight()) {
    auto ended = channel_.wait(ticket, deadline);
    if (!ticket.finished()) return ended;
  }
  session_->replies.shut();
  std::vector<Buffer> detached;
  {
    const std::lock_guard lock(session_->mutex);
    for (const Buffer& buffer : buffers_) static_cast<void>(channel_.detach_buffer(buffer.id));
    detached.swap(buffers_);
  }
  detached.clear();
  peer_.hang_up();
  return {};
}

}  // namespace drivers::dma
