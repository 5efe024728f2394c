// SPDX-License-Identifier: Apache-2.0
//
// ReplyLine: replies on their way to one client, who may not be taking any.
//
// What it is: a ring of replies with a bounded waiting room behind it, so that who has something to
// say never waits: neither the channel's thread, on which other clients depend, nor who serves.
// What it is not: unlimited patience: when a full ring has not moved for too long, the line fails
// for good.
//
// Lifetime: owns its queue. Thread-safety: send() and shut() from any thread; flush() and idle()
// from the one that serves. The ring has one producer at a time: senders while nothing waits, else
// flush().
//
//   line.send(reply);
//   if (auto flushed = line.flush(deadline); !flushed) give_up(flushed.error());
#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <vector>

#include <hal/resource.hpp>

#include "drivers/dma/channel.hpp"
#include "drivers/dma/remote_wire.hpp"

namespace drivers::dma {

class ReplyLine {
 public:
  /// At most `room` replies may wait at a time: see send().
  ReplyLine(RemoteReplies queue, std::size_t room, std::chrono::nanoseconds patience);

  /// Sends, or lets the reply wait; drops it if the line has failed. Never waits. REQUIRES: fewer
  /// than `room` wait.
  void send(const wire::Reply& reply) noexcept;
  /// Sends what waits, as room comes up until `deadline`. Returns whether nothing waits any more.
  /// Errors, which stay: TimedOut (no room came up within the patience), those of hal::Queue.
  [[nodiscard]] hal::Result<bool> flush(Channel::Clock::time_point deadline) noexcept;
  /// Whether nothing waits.
  [[nodiscard]] bool idle() const noexcept;
  /// Drops what waits and what comes.
  void shut() noexcept;

 private:
  using Clock = Channel::Clock;

  const std::chrono::nanoseconds patience_;
  RemoteReplies queue_;  ///< pushed to as the mutex, or flush(), says

  mutable std::mutex mutex_;  ///< guards the rest
  std::vector<wire::Reply> waiting_;
  Clock::time_point stuck_since_{};  ///< while some wait
  std::optional<hal::Error> failure_;
};

}  // namespace drivers::dma
