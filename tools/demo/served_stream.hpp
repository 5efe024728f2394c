// SPDX-License-Identifier: Apache-2.0
//
// ServedStream: the stream where each driver is another process, one of which is killed.
//
// What it is: a hold on the aggregate demo/stream, with its timer borrowed and its window mapped,
// and a link to the DMA driver; and the demo's trick: at one frame the DMA driver is stopped, given
// the frame, and killed, so that this frame is under way for certain. recover() then takes over
// what the dead one held, starts another one, and links to that. What it is not: a cure for a
// driver that dies by itself: that is a failure. Lifetime: the hardware outlives it; its end
// disarms, hangs up and releases. Thread-safety: as Stream.
//
//   Fate fate{.frame = 12};
//   auto stream = ServedStream::open(hardware, fate, screen);
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include <hal/refs.hpp>

#include "tools/demo/borrowed_timer.hpp"
#include "tools/demo/screen.hpp"
#include "tools/demo/served_hardware.hpp"
#include "tools/demo/stream.hpp"

namespace demo {

/// The DMA driver's.
struct Fate {
  std::uint64_t frame = 0;                ///< at which it is killed
  std::uint64_t killed = 0;               ///< times; once at most
  std::chrono::nanoseconds recovered{0};  ///< from the kill until the channel was usable again
};

class ServedStream final : public Stream {
  struct Key {};  // only open() has one

 public:
  /// `fate` is told what happens, and outlives it, as `screen` does.
  [[nodiscard]] static Outcome<std::unique_ptr<Stream>> open(ServedHardware& hardware, Fate& fate,
                                                             Screen& screen);
  ServedStream(Key, ServedHardware& hardware, Fate& fate, Screen& screen) noexcept
      : hardware_(hardware), fate_(fate), screen_(screen) {}
  ~ServedStream() override;

  [[nodiscard]] hal::Result<drivers::dma::Ticket> submit(
      std::span<const drivers::dma::Descriptor> work, std::uint64_t number) override;
  [[nodiscard]] Outcome<void> recover(const hal::Error& why) override;

 private:
  Outcome<void> acquire();
  Outcome<void> connect();

  ServedHardware& hardware_;
  Fate& fate_;
  Screen& screen_;
  std::vector<hal::ScopedResource> holds_;
  std::unique_ptr<BorrowedTimer> timer_;
  std::chrono::steady_clock::time_point killed_at_;
};

}  // namespace demo
