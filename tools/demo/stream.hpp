// SPDX-License-Identifier: Apache-2.0
//
// Stream: the hardware that a producer uses, wherever its drivers run.
//
// What it is: a timer, a DMA channel, and the memory that the channel was given. What it is not: a
// hold on any frame. Lifetime: what it was opened from outlives it; its end disarms the timer and
// lets go. Thread-safety: one thread at a time.
//
//   stream->timer().arm_after(0ms, 1ms);
//   auto ticket = stream->submit(work, number);
//   if (auto done = stream->channel().wait(*ticket, deadline); !done)
//   stream->recover(done.error());
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "drivers/dma/channel.hpp"
#include "drivers/timer/timer.hpp"
#include "tools/demo/failure.hpp"

namespace demo {

class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  [[nodiscard]] drivers::timer::Timer& timer() noexcept { return *parts_.timer; }
  /// Another one after recover().
  [[nodiscard]] drivers::dma::Channel& channel() noexcept { return *parts_.channel; }
  /// Memory of one frame that the file is read into, and its name on the channel.
  [[nodiscard]] std::span<std::byte> window() noexcept { return parts_.window; }
  [[nodiscard]] drivers::dma::BufferId window_id() const noexcept { return parts_.window_id; }
  /// A frame's name on the channel.
  [[nodiscard]] drivers::dma::BufferId frame_id(std::size_t index) const {
    return parts_.frame_ids[index];
  }

  /// As Channel::submit(); `number` is the frame's.
  [[nodiscard]] virtual hal::Result<drivers::dma::Ticket> submit(
      std::span<const drivers::dma::Descriptor> work, std::uint64_t number);
  /// Brings the channel back after `why`, so that the frame can be sent again. Fails where that is
  /// beyond it, as for a driver of this process.
  [[nodiscard]] virtual Outcome<void> recover(const hal::Error& why);

 protected:
  struct Parts {
    drivers::timer::Timer* timer = nullptr;
    drivers::dma::Channel* channel = nullptr;
    std::span<std::byte> window;
    drivers::dma::BufferId window_id;
    std::vector<drivers::dma::BufferId> frame_ids;
  };
  Parts parts_;
};

/// Opens it on the thread that will use it.
using OpenStream = std::function<Outcome<std::unique_ptr<Stream>>()>;

}  // namespace demo
