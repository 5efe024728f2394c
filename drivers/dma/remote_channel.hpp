// SPDX-License-Identifier: Apache-2.0
//
// RemoteChannel: a Channel that works in another process, behind a ChannelServer.
//
// What it is: the client's side: code that submits to a Channel, waits, cancels and is called back
// works unchanged. Four things differ from a channel next door:
//   - Memory is attached where the engine is: bring a memfd there (see ChannelServer::attach) and
//     use the BufferId that comes back. attach_buffer(), attach_source() and detach_buffer() are
//     Unsupported. hal::Backing::memfd() makes memfds that a server accepts.
//   - A batch has at most kMaxRemoteDescriptors descriptors and kMaxRemoteSegments segments in all;
//     more is CapacityExceeded.
//   - submit() looks at sizes and room alone. What else Channel::submit() refuses ends as a batch
//     of which nothing was done: each descriptor is Failed, with the error it would have returned.
//   - The server may be stopped. Then cancel(), quiesce() and close() give up after `patience`
//     (TimedOut, but for close()); wait() ends at its deadline; run() does not, because memory is
//     not at rest before the server says so.
// When the server is gone, every batch in flight ends as Failed with Disconnected, and so does
// every call. What it is not: shared between processes; after fork() the child must not use it.
//
// Lifetime: queues carry one connection once. The server learns of our end by the line. Thread-
// safety: as Channel. Callbacks run on a thread of this object.
//
//   auto requests = RemoteRequests::attach(std::move(requests_fd)).value();   // received, as the
//   auto replies = RemoteReplies::attach(std::move(replies_fd)).value();      // line and `frame`
//   auto channel = RemoteChannel::connect(std::move(requests), std::move(replies), std::move(line),
//                                         Channel::Clock::now() + 1s).value();
//   const Descriptor clear = Descriptor::fill({frame, 0, 1 << 20}, 0);
//   channel->run({&clear, 1}, Channel::Clock::now() + 10ms);
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <hal/resource.hpp>

#include "drivers/dma/remote_peer.hpp"
#include "drivers/dma/remote_wire.hpp"
#include "drivers/dma/threaded_channel.hpp"

namespace drivers::dma {

struct RemoteOptions {
  std::string name = "dma-remote";  ///< of the thread, cut to 15 bytes
  /// How long calls without a deadline wait for an answer of the server's; up to an hour.
  std::chrono::nanoseconds patience = std::chrono::seconds(1);
  std::chrono::nanoseconds spin = kUsualSpin;  ///< as SoftwareOptions::spin
};

class RemoteChannel final : public ThreadedChannel {
 public:
  /// Asks the server for its limits. `line`: readable once the server is gone; see RemotePeer. A
  /// pidfd will do only where the server ends with its process. Errors: InvalidArgument (no line,
  /// patience out of range), TimedOut (no answer until `deadline`), Disconnected (the server is
  /// gone), System (no thread; with EBADMSG: the answer makes no sense).
  [[nodiscard]] static hal::Result<std::unique_ptr<Channel>> connect(
      RemoteRequests requests, RemoteReplies replies, hal::UniqueFd line,
      Clock::time_point deadline, const RemoteOptions& options = {});
  ~RemoteChannel() override;

  /// Those of the channel, with the client's share of its ring in `ring_entries`.
  [[nodiscard]] const Limits& limits() const noexcept override { return limits_; }
  /// These three are Unsupported.
  [[nodiscard]] hal::Result<BufferId> attach_buffer(std::span<std::byte> memory) override;
  [[nodiscard]] hal::Result<BufferId> attach_source(std::span<const std::byte> memory) override;
  hal::Result<void> detach_buffer(BufferId buffer) override;

  /// Errors: InvalidArgument (an empty batch), CapacityExceeded, WouldBlock, Disconnected.
  [[nodiscard]] hal::Result<Ticket> submit(std::span<const Descriptor> batch,
                                           Callback on_done) override;
  /// Errors: as Channel::cancel(), TimedOut (not answered; the request stands all the same).
  hal::Result<std::size_t> cancel(const Ticket& ticket) override;
  /// Waits for the server to end the work, but no longer than `patience`: the server's own mapping
  /// keeps the memory there, whatever becomes of ours.
  void close() noexcept override;

 private:
  struct Key {};  ///< only connect() has one
  struct Pending {
    std::uint64_t tag = 0;
    std::shared_ptr<Batch> batch;
  };

 public:
  RemoteChannel(Key, RemoteRequests requests, RemoteReplies replies, hal::UniqueFd line,
                const RemoteOptions& options);

 private:
  /// Errors: as connect().
  hal::Result<void> ask_limits(Clock::time_point deadline);

  /// The thread's life.
  void work() noexcept;
  /// Takes one reply if one comes until `deadline`, or ends the connection. On the thread.
  void read_one(Clock::time_point deadline) noexcept;
  void take(const wire::Reply& reply) noexcept;
  /// Ends what is in flight, and everything that waits for an answer.
  void lose() noexcept;
  /// Calls the callbacks of what has ended.
  void tell_all() noexcept;

  /// Waits until `cancels` requests to cancel were answered, or the connection has ended.
  hal::Result<void> await_answers(std::uint64_t cancels, Clock::time_point deadline) noexcept;
  void wake_waiters() noexcept;
  [[nodiscard]] std::vector<std::shared_ptr<Batch>> in_flight() override;
  [[nodiscard]] bool has_pending();

  const RemoteOptions options_;
  Limits limits_;  ///< does not change once connected
  RemotePeer peer_;
  RemoteReplies replies_;  ///< the thread's

  std::mutex mutex_;  ///< guards the next six
  RemoteRequests requests_;
  std::vector<Pending> pending_;  ///< oldest first
  std::size_t descriptors_ = 0;   ///< of them
  std::uint64_t next_tag_ = 1;
  std::uint64_t cancels_ = 0;  ///< sent; answered in their order, one at a time is under way
  bool closed_ = false;

  std::deque<std::shared_ptr<Batch>> ended_;  ///< to be told of; the thread's

  std::atomic<bool> stop_{false};          ///< the thread is to end
  std::atomic<bool> lost_{false};          ///< the connection has ended
  std::atomic<std::uint64_t> answers_{0};  ///< to cancels
  std::atomic<std::uint32_t> pulse_{0};    ///< counts changes of the two above
};

}  // namespace drivers::dma
