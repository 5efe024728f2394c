// SPDX-License-Identifier: Apache-2.0
//
// Hardware: a resource manager with a driver of each kind, and the pool of frames.
//
// What it is: timer0/channel/0, dma0/channel/0 and the frames' buffers, each registered by its
// driver; the frames shared with the DMA driver, which writes them, and with the checker, which
// reads them; demo/input, a window of memory that the file is read into; and demo/stream, an
// aggregate of all that a producer needs as a whole: timer, channel and window. What it is not: who
// uses it; see embedded_stream.hpp and checker.hpp.
//
// Lifetime: ends after all holds and users. Thread-safety: as the manager; create() and close() by
// one thread.
//
//   auto hardware = Hardware::create(options, collector.sink());
//   ... work ...
//   for (const std::string& line : (*hardware)->close()) complain(line);
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <hal/resource.hpp>
#include <hal/resource_manager.hpp>

#include "drivers/dma/dma_driver.hpp"
#include "drivers/gpu/buffer.hpp"
#include "drivers/gpu/gpu_driver.hpp"
#include "drivers/timer/timer_driver.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/options.hpp"
#include "tools/demo/pool.hpp"
#include "tools/demo/screen.hpp"

namespace demo {

class Hardware {
  struct Key {};  // only create() has one

 public:
  [[nodiscard]] static Outcome<std::unique_ptr<Hardware>> create(const Options& options,
                                                                 hal::LogSink log);
  Hardware(Key, std::unique_ptr<hal::ResourceManager> manager) noexcept;
  Hardware(const Hardware&) = delete;
  Hardware& operator=(const Hardware&) = delete;
  ~Hardware() = default;

  [[nodiscard]] hal::ResourceManager& manager() noexcept { return *manager_; }
  [[nodiscard]] drivers::timer::TimerDriver& timers() noexcept { return *timers_; }
  [[nodiscard]] drivers::dma::DmaDriver& dma() noexcept { return *dma_; }
  /// The role that checks.
  [[nodiscard]] hal::DriverId checker() const noexcept { return checker_; }
  /// The frames' buffers.
  [[nodiscard]] std::span<const std::shared_ptr<drivers::gpu::Buffer>> buffers() const noexcept {
    return buffers_;
  }
  /// Bytes of each.
  [[nodiscard]] std::uint64_t frame_bytes() const noexcept {
    return buffers_.front()->layout().size_bytes;
  }
  [[nodiscard]] Pool pool();
  [[nodiscard]] hal::Handle window() const noexcept { return window_; }
  [[nodiscard]] hal::Handle stream() const noexcept { return stream_; }
  void describe(const Options& options, Screen& screen) const;

  /// Unregisters everything and closes the manager. Returns a line for each hold, and for each
  /// resource, that was left.
  [[nodiscard]] std::vector<std::string> close();

 private:
  /// The registered name; for people.
  [[nodiscard]] std::string name_of(hal::Handle handle) const;
  /// The driver that registered it; for people.
  [[nodiscard]] std::string driver_of(hal::Handle handle) const;
  Outcome<void> open_drivers();
  Outcome<void> add_frames(const Options& options);
  Outcome<void> add_stream();

  // In this order: drivers end before their manager does, and users before what they use.
  std::unique_ptr<hal::ResourceManager> manager_;
  hal::DriverId checker_;
  std::unique_ptr<drivers::timer::TimerDriver> timers_;
  std::unique_ptr<drivers::gpu::GpuDriver> gpu_;
  std::unique_ptr<drivers::dma::DmaDriver> dma_;
  std::vector<std::shared_ptr<drivers::gpu::Buffer>> buffers_;
  std::vector<FrameNote> notes_;  // of each, guarded by the hold on it
  hal::Handle window_;
  hal::Handle stream_;
};

}  // namespace demo
