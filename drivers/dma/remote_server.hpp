// SPDX-License-Identifier: Apache-2.0
//
// ChannelServer: lets one client, in another process, use a Channel of this process.
//
// What it is: takes the client's requests from one queue, checks all of them, submits them, and
// answers over the other queue. The client works on memory that it sent here as memfds, and on no
// other: neither this process's nor another client's. What it is not: a judge of who may use the
// channel: hold the channel's resource on the client's behalf as long as its server lives. Nor a
// transport for descriptors: the author's own socket brings memory here, and takes the queues
// there.
//
// Trust: the client may be hostile, stopped, or killed at any instruction. It can have its share of
// the channel's ring (max_in_flight) and of the engine's time; its nonsense is answered by errors.
// Nobody waits for it: replies that find no room wait here, and when the ring has not moved for
// `reply_patience`, or the client is gone, it is given up: what it has in flight is cancelled, and
// serve() fails. Its memory is unmapped once the engine has stopped.
//
// Lifetime: the channel outlives the server. Queues serve one client once: make new ones for the
// next. Thread-safety: attach(), detach() from any thread; all else from one thread at a time,
// which is no callback of the channel.
//
//   auto hold = manager.acquire_scoped_resource(handle, {.kind = hal::HoldKind::Shared}).value();
//   auto server = ChannelServer::create(*driver.open(hold).value(), std::move(requests),
//                                       std::move(replies), std::move(line)).value();
//   BufferId id = server->attach(std::move(received_memfd), Access::ReadWrite).value();  // tell
//   him while (running && server->serve(Channel::Clock::now() + 100ms)) {                    // a
//   thread
//   }
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <hal/resource.hpp>

#include "drivers/dma/buffer_table.hpp"
#include "drivers/dma/channel.hpp"
#include "drivers/dma/remote_memory.hpp"
#include "drivers/dma/remote_peer.hpp"
#include "drivers/dma/remote_wire.hpp"

namespace drivers::dma {

struct ServerOptions {
  /// Descriptors that the client may have in flight, 1 to 4096, below the capacity of both queues:
  /// its share of the channel's ring. Where the shares of all users add up to more than the ring, a
  /// batch can end with WouldBlock.
  std::uint32_t max_in_flight = 64;
  std::uint32_t max_buffers = 16;  ///< attached at a time
  /// Bytes attached at a time. Address space; what it takes in memory is up to the client.
  std::uint64_t max_memory_bytes = std::uint64_t{64} << 30;
  /// How long the client may leave a full ring of replies as it is; up to an hour.
  std::chrono::nanoseconds reply_patience = std::chrono::seconds(1);
};

class ChannelServer {
 public:
  /// `line`: readable once the client is gone; see RemotePeer. Errors: InvalidArgument (an option
  /// out of range, queues that don't fit, replies with an event doorbell, by which the client could
  /// block us).
  [[nodiscard]] static hal::Result<std::unique_ptr<ChannelServer>> create(
      Channel& channel, RemoteRequests requests, RemoteReplies replies, hal::UniqueFd line,
      const ServerOptions& options = {});
  ChannelServer(const ChannelServer&) = delete;
  ChannelServer& operator=(const ChannelServer&) = delete;
  /// As close() without a deadline: memory can't go while an engine works on it.
  ~ChannelServer();

  // ---- memory -----------------------------------------------------------------------------------

  /// Lets the client's descriptors use this memory, by the id returned. Errors: those of
  /// RemoteMemory::map() and Channel::attach_buffer(), CapacityExceeded (beyond the options),
  /// Disconnected (given up or closed).
  [[nodiscard]] hal::Result<BufferId> attach(hal::UniqueFd memory, Access access);
  /// Ends that, and unmaps. Errors: StaleHandle (none of this client's), InUse (a descriptor in
  /// flight refers to it).
  hal::Result<void> detach(BufferId buffer);

  // ---- serving ----------------------------------------------------------------------------------

  /// Handles requests until `deadline`. Errors, which stay once the client is given up:
  /// Disconnected (it is gone, or this is closed), TimedOut (it does not take its replies), System
  /// with EBADMSG (it wrote over a ring's indices). Destroy the server then, or close() it first.
  hal::Result<void> serve(Channel::Clock::time_point deadline);
  /// For event loops: handles what is there, at most 64 requests, and returns how many. Never
  /// waits. Call it when request_queue().bell() is readable (and prepare_wait() was called before),
  /// and every kPeerLook at least. Errors: as serve().
  [[nodiscard]] hal::Result<std::size_t> serve_some();
  [[nodiscard]] hal::Queue& request_queue() noexcept { return requests_.queue(); }

  /// Cancels what the client has in flight, waits until the engine has stopped, detaches and unmaps
  /// its memory, and hangs up. May be repeated. Errors: TimedOut (nothing was unmapped).
  hal::Result<void> close(Channel::Clock::time_point deadline);

 private:
  struct Key {};  ///< only create() has one

 public:
  ChannelServer(Key, Channel& channel, RemoteRequests requests, RemoteReplies replies,
                hal::UniqueFd line, const ServerOptions& options);

 private:
  /// What a batch's callback needs, which may come after the server's end.
  struct Session;
  struct Buffer {
    BufferId id;
    RemoteMemory memory;
  };

  /// Handles what is there. Never waits.
  hal::Result<std::size_t> pump();
  /// Waits for a request, and handles it, or for room for replies.
  hal::Result<void> sleep(Channel::Clock::time_point deadline);
  void handle(const wire::Request& request);
  hal::Result<void> submit(const wire::Request& request);
  [[nodiscard]] wire::Reply cancel(std::uint64_t tag);
  [[nodiscard]] wire::Reply hello(std::uint64_t tag) const;
  /// Stops, and says no more to the client. Returns the first reason.
  std::unexpected<hal::Error> give_up(hal::Error why);
  /// Cancels what is in flight, and takes no more.
  void stop(hal::Error why);
  /// REQUIRES: the session's mutex.
  [[nodiscard]] bool is_attached(BufferId buffer) const noexcept;
  [[nodiscard]] std::vector<Ticket> in_flight() const;

  Channel& channel_;
  const ServerOptions options_;
  RemoteRequests requests_;
  RemotePeer peer_;
  wire::BatchDecoder decoder_;
  std::shared_ptr<Session> session_;
  // Guarded by the session's mutex, so that nothing is detached while a batch is being submitted.
  std::vector<Buffer> buffers_;
  std::optional<hal::Error> over_;  ///< why the client is not served any more
};

}  // namespace drivers::dma
