// SPDX-License-Identifier: Apache-2.0
//
// EmbeddedStream: the stream where all drivers are in this process, acquired as a whole.
//
// What it is: a hold on the aggregate demo/stream with its timer, its DMA channel and its input
// window, all or nothing, and the memory that the channel was given. Lifetime: the hardware
// outlives it; its end disarms, detaches and releases. Thread-safety: as Stream.
//
//   auto stream = EmbeddedStream::open(hardware);
//   (*stream)->timer().arm_after(0ms, 1ms);
#pragma once

#include <memory>
#include <vector>

#include <hal/refs.hpp>

#include "tools/demo/hardware.hpp"
#include "tools/demo/stream.hpp"

namespace demo {

class EmbeddedStream final : public Stream {
  struct Key {};  // only open() has one

 public:
  [[nodiscard]] static Outcome<std::unique_ptr<Stream>> open(Hardware& hardware);
  explicit EmbeddedStream(Key) noexcept {}
  ~EmbeddedStream() override;

 private:
  Outcome<void> acquire(Hardware& hardware);
  Outcome<void> attach(Hardware& hardware);

  std::vector<hal::ScopedResource> holds_;
};

}  // namespace demo
