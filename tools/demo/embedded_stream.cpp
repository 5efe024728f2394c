// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/stream.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace demo {

Outcome<std::unique_ptr<Stream>> Stream::open(Hardware& hardware) {
  auto stream = std::make_unique<Stream>(Key());
  if (auto acquired = stream->acquire(hardware); !acquired) {
    return std::unexpected(acquired.error());
  }
  if (auto attached = stream->attach(hardware); !attached) {
    return std::unexpected(attached.error());
  }
  return stream;
}

Outcome<void> Stream::acquire(Hardware& hardware) {
  using namespace std::chrono_literals;
  hal::ResourceManager& manager = hardware.manager();
  auto holds = manager.acquire_aggregate(hardware.stream(),
                                         {.mode = hal::AcquisitionMode::Timeout, .timeout = 1s});
  if (!holds) return failed("acquiring the stream", holds.error());
  holds_ = std::move(*holds);
  const auto part = [&](hal::Handle handle) -> const hal::ScopedResource& {
    return *std::ranges::find(holds_, handle, &hal::ScopedResource::handle);
  };
  auto timer = hardware.timers().open(part(hardware.timers().handles()[0]));
  if (!timer) return failed("opening the timer", timer.error());
  timer_ = *timer;
  auto channel = hardware.dma().open(part(hardware.dma().handles()[0]));
  if (!channel) return failed("opening the DMA channel", channel.error());
  channel_ = *channel;
  auto window = manager.map(hardware.window(), hardware.dma().id());
  if (!window) return failed("mapping the input window", window.error());
  window_ = *window;
  return {};
}

Outcome<void> Stream::attach(Hardware& hardware) {
  auto window = channel_->attach_source(window_);
  if (!window) return failed("attaching the input window", window.error());
  window_id_ = *window;
  for (const Frame& frame : hardware.frames()) {
    // By the rights that the GPU driver gave to the DMA driver.
    auto memory = hardware.manager().map(frame.buffer->handle(), hardware.dma().id());
    if (!memory) return failed("mapping a frame", memory.error());
    auto id = channel_->attach_buffer(*memory);
    if (!id) return failed("attaching a frame", id.error());
    frame_ids_.push_back(*id);
  }
  return {};
}

Stream::~Stream() {
  // What fails here ends with the drivers.
  if (timer_ != nullptr) static_cast<void>(timer_->disarm());
  if (channel_ == nullptr) return;
  static_cast<void>(channel_->quiesce(drivers::dma::Channel::kForever));
  for (const auto id : frame_ids_) static_cast<void>(channel_->detach_buffer(id));
  if (window_id_ != drivers::dma::BufferId()) {
    static_cast<void>(channel_->detach_buffer(window_id_));
  }
}

}  // namespace demo
