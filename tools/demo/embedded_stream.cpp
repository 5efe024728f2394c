// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/embedded_stream.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace demo {

Outcome<std::unique_ptr<Stream>> EmbeddedStream::open(Hardware& hardware) {
  auto stream = std::make_unique<EmbeddedStream>(Key());
  if (auto acquired = stream->acquire(hardware); !acquired) {
    return std::unexpected(acquired.error());
  }
  if (auto attached = stream->attach(hardware); !attached) {
    return std::unexpected(attached.error());
  }
  return stream;
}

Outcome<void> EmbeddedStream::acquire(Hardware& hardware) {
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
  parts_.timer = *timer;
  auto channel = hardware.dma().open(part(hardware.dma().handles()[0]));
  if (!channel) return failed("opening the DMA channel", channel.error());
  parts_.channel = *channel;
  auto window = manager.map(hardware.window(), hardware.dma().id());
  if (!window) return failed("mapping the input window", window.error());
  parts_.window = *window;
  return {};
}

Outcome<void> EmbeddedStream::attach(Hardware& hardware) {
  auto window = parts_.channel->attach_source(parts_.window);
  if (!window) return failed("attaching the input window", window.error());
  parts_.window_id = *window;
  for (const auto& buffer : hardware.buffers()) {
    // By the rights that the GPU driver gave to the DMA driver.
    auto memory = hardware.manager().map(buffer->handle(), hardware.dma().id());
    if (!memory) return failed("mapping a frame", memory.error());
    auto id = parts_.channel->attach_buffer(*memory);
    if (!id) return failed("attaching a frame", id.error());
    parts_.frame_ids.push_back(*id);
  }
  return {};
}

EmbeddedStream::~EmbeddedStream() {
  // What fails here ends with the drivers.
  if (parts_.timer != nullptr) static_cast<void>(parts_.timer->disarm());
  if (parts_.channel == nullptr) return;
  static_cast<void>(parts_.channel->quiesce(drivers::dma::Channel::kForever));
  for (const auto id : parts_.frame_ids) static_cast<void>(parts_.channel->detach_buffer(id));
  if (parts_.window_id != drivers::dma::BufferId()) {
    static_cast<void>(parts_.channel->detach_buffer(parts_.window_id));
  }
}

}  // namespace demo
