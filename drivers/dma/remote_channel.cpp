// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/remote_channel.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "drivers/dma/batch.hpp"
#include "drivers/dma/futex.hpp"

namespace drivers::dma {
namespace {

using hal::ErrorCode;
using wire::ReplyKind;
using wire::RequestKind;

constexpr std::chrono::hours kMostPatience{1};

[[nodiscard]] std::unexpected<hal::Error> gone() noexcept {
  return fail(ErrorCode::Disconnected, "remote DMA channel");
}

[[nodiscard]] std::unexpected<hal::Error> unsupported() noexcept {
  return fail(ErrorCode::Unsupported, "memory of a remote channel is attached at its server");
}

[[nodiscard]] Outcome failed(ErrorCode why) noexcept {
  return {.status = Status::Failed, .error = why};
}

/// What a reply says of a descriptor; System where that makes no sense.
[[nodiscard]] Outcome outcome_of(const wire::Reply& reply, const Batch& batch,
                                 std::size_t index) noexcept {
  if (reply.error != 0) return failed(wire::decode_error(reply.error));
  if (reply.outcomes != batch.size()) return failed(ErrorCode::System);
  return wire::decode_outcome(reply.outcome[index]).value_or(failed(ErrorCode::System));
}

/// What an answer to a cancel has told already stays.
void settle(Batch& batch, std::size_t index, const Outcome& outcome) noexcept {
  if (batch.claim(index)) batch.settle(index, outcome);
}

/// Settles what is final by now, or, with the end of the batch, everything.
void settle(Batch& batch, const wire::Reply& reply, bool ended) noexcept {
  for (std::size_t index = 0; index < batch.size(); ++index) {
    const Outcome outcome = outcome_of(reply, batch, index);
    if (is_final(outcome.status)) {
      settle(batch, index, outcome);
    } else if (ended) {
      settle(batch, index, failed(ErrorCode::System));
    }
  }
}

[[nodiscard]] std::uint64_t length_of(std::span<const Segment> segments) noexcept {
  std::uint64_t sum = 0;
  for (const Segment& segment : segments) sum += segment.length;
  return sum;
}

[[nodiscard]] std::shared_ptr<Batch> make_batch(const Channel* owner,
                                                std::span<const Descriptor> descriptors,
                                                Callback on_done) {
  // Without pieces: the addresses are the server's.
  auto batch = std::make_shared<Batch>(owner, descriptors.size(), 0, std::move(on_done));
  std::uint64_t length = 0;
  for (std::size_t index = 0; index < descriptors.size(); ++index) {
    const Descriptor& descriptor = descriptors[index];
    const bool writes = descriptor.operation() != Operation::Crc32c;
    batch->work(index).operation = descriptor.operation();
    batch->work(index).length =
        length_of(writes ? descriptor.destinations() : descriptor.sources());
    length += batch->work(index).length;
  }
  batch->set_length(length);
  return batch;
}

/// Descriptors that were kept from beginning.
[[nodiscard]] std::size_t kept(const Ticket& ticket) noexcept {
  std::size_t count = 0;
  for (std::size_t index = 0; index < ticket.size(); ++index) {
    const Outcome outcome = *ticket.outcome(index);
    if (outcome.status == Status::Cancelled && outcome.bytes == 0) ++count;
  }
  return count;
}

}  // namespace

hal::Result<std::unique_ptr<Channel>> RemoteChannel::connect(RemoteRequests requests,
                                                             RemoteReplies replies,
                                                             hal::UniqueFd line,
                                                             Clock::time_point deadline,
                                                             const RemoteOptions& options) {
  if (!line) return fail(ErrorCode::InvalidArgument, "a line to the server is missing");
  if (options.patience < std::chrono::nanoseconds::zero() || options.patience > kMostPatience) {
    return fail(ErrorCode::InvalidArgument, "patience");
  }
  auto channel = std::make_unique<RemoteChannel>(Key(), std::move(requests), std::move(replies),
                                                 std::move(line), options);
  if (auto asked = channel->ask_limits(deadline); !asked) return std::unexpected(asked.error());
  auto started = channel->start(options.name, [mine = channel.get()]() noexcept { mine->work(); });
  if (!started) return std::unexpected(started.error());
  return channel;
}

RemoteChannel::RemoteChannel(Key, RemoteRequests requests, RemoteReplies replies,
                             hal::UniqueFd line, const RemoteOptions& options)
    : ThreadedChannel(options.spin),
      options_(options),
      peer_(std::move(line)),
      replies_(std::move(replies)),
      requests_(std::move(requests)) {}

RemoteChannel::~RemoteChannel() { close(); }

hal::Result<void> RemoteChannel::ask_limits(Clock::time_point deadline) {
  const wire::Request hello{.kind = static_cast<std::uint32_t>(RequestKind::Hello)};
  if (auto asked = requests_.push(hello, deadline); !asked) return asked;
  for (;;) {
    const auto reply = replies_.pop(std::min(deadline, Clock::now() + kPeerLook));
    if (reply) {
      auto limits = wire::decode_limits(reply->limits);
      if (reply->kind != static_cast<std::uint32_t>(ReplyKind::Limits) || !limits) {
        return resmgr::fail_errno(EBADMSG, "limits of a remote DMA channel");
      }
      limits_ = *limits;
      return {};
    }
    if (reply.error() != ErrorCode::TimedOut) return std::unexpected(reply.error());
    if (peer_.gone()) return gone();
    if (Clock::now() >= deadline) return std::unexpected(reply.error());
  }
}

hal::Result<BufferId> RemoteChannel::attach_buffer(std::span<std::byte>) { return unsupported(); }

hal::Result<BufferId> RemoteChannel::attach_source(std::span<const std::byte>) {
  return unsupported();
}

hal::Result<void> RemoteChannel::detach_buffer(BufferId) { return unsupported(); }

hal::Result<Ticket> RemoteChannel::submit(std::span<const Descriptor> batch, Callback on_done) {
  auto request = wire::encode_batch(0, batch);
  if (!request) return std::unexpected(std::move(request.error()));
  if (batch.size() > limits_.ring_entries) {
    hal::Error error(ErrorCode::CapacityExceeded, "descriptors of one batch");
    error.with_amounts(batch.size(), limits_.ring_entries);
    return std::unexpected(std::move(error));
  }
  Ticket ticket(make_batch(this, batch, std::move(on_done)));

  const std::lock_guard lock(mutex_);
  if (closed_ || lost_) return gone();
  if (batch.size() > limits_.ring_entries - descriptors_) {
    return fail(ErrorCode::WouldBlock, "the client's share of the ring is full");
  }
  request->tag = next_tag_;
  if (auto pushed = requests_.try_push(*request); !pushed) {
    return std::unexpected(std::move(pushed.error()));
  }
  // Before its reply can be taken, which needs the lock.
  pending_.push_back({next_tag_++, ticket.batch()});
  descriptors_ += batch.size();
  return ticket;
}

hal::Result<std::size_t> RemoteChannel::cancel(const Ticket& ticket) {
  if (auto mine = check_owner(ticket); !mine) return std::unexpected(std::move(mine.error()));
  const Clock::time_point deadline = Clock::now() + options_.patience;
  for (;;) {
    std::unique_lock lock(mutex_);
    const auto found = std::ranges::find(pending_, ticket.batch(), &Pending::batch);
    if (found == pending_.end()) return 0;
    const std::uint64_t sent = cancels_;
    // One at a time: the ring of requests has room for it beside all batches in flight.
    const bool ours = answers_ >= sent;
    const std::size_t kept_before = kept(ticket);
    if (ours) {
      const wire::Request request{.tag = found->tag,
                                  .kind = static_cast<std::uint32_t>(RequestKind::Cancel)};
      if (auto pushed = requests_.try_push(request); !pushed) {
        return std::unexpected(std::move(pushed.error()));
      }
      ++cancels_;
    }
    lock.unlock();
    if (auto answered = await_answers(ours ? sent + 1 : sent, deadline); !answered) {
      return std::unexpected(std::move(answered.error()));
    }
    if (ours) return kept(ticket) - kept_before;
  }
}

hal::Result<void> RemoteChannel::await_answers(std::uint64_t cancels,
                                               Clock::time_point deadline) noexcept {
  for (;;) {
    const std::uint32_t seen = pulse_;
    if (answers_ >= cancels || lost_) return {};
    if (Clock::now() >= deadline) {
      return fail(ErrorCode::TimedOut, "the server of a DMA channel does not answer");
    }
    // In a callback nobody else takes replies.
    if (on_thread()) {
      read_one(deadline);
    } else {
      futex_wait(pulse_, seen, deadline);
    }
  }
}

void RemoteChannel::wake_waiters() noexcept {
  ++pulse_;
  futex_wake_all(pulse_);
}

void RemoteChannel::close() noexcept {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  const auto deadline = Clock::now() + options_.patience;
  for (const auto& batch : in_flight()) {
    if (!cancel(Ticket(batch))) break;
  }
  if (!on_thread()) static_cast<void>(drain(deadline));
  stop_ = true;
  join();
}

void RemoteChannel::work() noexcept {
  while (!stop_ && !lost_) {
    read_one(Clock::now() + kPeerLook);
    tell_all();
  }
  lose();
  tell_all();
}

void RemoteChannel::read_one(Clock::time_point deadline) noexcept {
  hal::Result<wire::Reply> reply = replies_.try_pop();
  if (!reply && has_pending()) {
    static_cast<void>(spin_for(spin(), [&] {
      reply = replies_.try_pop();
      return reply || reply.error() != ErrorCode::WouldBlock;
    }));
  }
  if (!reply && reply.error() == ErrorCode::WouldBlock) {
    reply = replies_.pop(std::min(deadline, Clock::now() + kPeerLook));
  }
  // It hung up after its last reply, so look once more.
  if (!reply && reply.error() == ErrorCode::TimedOut) {
    if (!peer_.gone()) return;
    reply = replies_.try_pop();
  }
  if (reply) {
    take(*reply);
  } else {
    lose();
  }
}

void RemoteChannel::take(const wire::Reply& reply) noexcept {
  const auto kind = static_cast<ReplyKind>(reply.kind);
  if (kind != ReplyKind::Done && kind != ReplyKind::Progress) return;
  std::shared_ptr<Batch> batch;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(pending_, reply.tag, &Pending::tag);
    if (found != pending_.end()) {
      batch = found->batch;
      if (kind == ReplyKind::Done) {
        pending_.erase(found);
        descriptors_ -= batch->size();
      }
    }
  }
  if (kind == ReplyKind::Done && batch) {
    settle(*batch, reply, true);
    ended_.push_back(std::move(batch));
  } else if (kind == ReplyKind::Progress) {
    // Without outcomes where the batch had ended, which was told before.
    if (batch && reply.outcomes == batch->size()) settle(*batch, reply, false);
    ++answers_;
    wake_waiters();
  }
}

void RemoteChannel::lose() noexcept {
  std::vector<Pending> left;
  {
    const std::lock_guard lock(mutex_);
    lost_ = true;
    left.swap(pending_);
    descriptors_ = 0;
  }
  for (Pending& pending : left) {
    for (std::size_t index = 0; index < pending.batch->size(); ++index) {
      settle(*pending.batch, index, failed(ErrorCode::Disconnected));
    }
    ended_.push_back(std::move(pending.batch));
  }
  wake_waiters();
}

void RemoteChannel::tell_all() noexcept {
  while (!ended_.empty()) {
    const std::shared_ptr<Batch> batch = std::move(ended_.front());
    ended_.pop_front();
    tell(batch);
  }
}

std::vector<std::shared_ptr<Batch>> RemoteChannel::in_flight() {
  std::vector<std::shared_ptr<Batch>> batches;
  const std::lock_guard lock(mutex_);
  batches.reserve(pending_.size());
  for (const Pending& pending : pending_) batches.push_back(pending.batch);
  return batches;
}

bool RemoteChannel::has_pending() {
  const std::lock_guard lock(mutex_);
  return !pending_.empty();
}

}  // namespace drivers::dma
