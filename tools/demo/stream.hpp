// SPDX-License-Identifier: Apache-2.0
//
// Stream: the hardware that a producer uses, acquired as a whole.
//
// What it is: a hold on the aggregate demo/stream with its timer, its DMA channel and its input
// window, all or nothing, and the memory that the channel was given. What it is not: a hold on any
// frame. Lifetime: the hardware outlives it; its end disarms, detaches and releases.
// Thread-safety: one thread at a time.
//
//   auto stream = Stream::open(hardware);
//   (*stream)->timer().arm_after(0ms, 1ms);
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <hal/refs.hpp>

#include "drivers/dma/channel.hpp"
#include "drivers/timer/timer.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/hardware.hpp"

namespace demo {

class Stream {
  struct Key {};  // only open() has one

 public:
  [[nodiscard]] static Outcome<std::unique_ptr<Stream>> open(Hardware& hardware);
  explicit Stream(Key) noexcept {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  [[nodiscard]] drivers::timer::Timer& timer() noexcept { return *timer_; }
  [[nodiscard]] drivers::dma::Channel& channel() noexcept { return *channel_; }
  /// Memory of one frame that the file is read into, and its name on the channel.
  [[nodiscard]] std::span<std::byte> window() noexcept { return window_; }
  [[nodiscard]] drivers::dma::BufferId window_id() const noexcept { return window_id_; }
  /// A frame's name on the channel.
  [[nodiscard]] drivers::dma::BufferId frame_id(std::size_t index) const {
    return frame_ids_[index];
  }

 private:
  Outcome<void> acquire(Hardware& hardware);
  Outcome<void> attach(Hardware& hardware);

  std::vector<hal::ScopedResource> holds_;
  drivers::timer::Timer* timer_ = nullptr;
  drivers::dma::Channel* channel_ = nullptr;
  std::span<std::byte> window_;
  drivers::dma::BufferId window_id_;
  std::vector<drivers::dma::BufferId> frame_ids_;
};

}  // namespace demo
