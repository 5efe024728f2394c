// SPDX-License-Identifier: Apache-2.0
//
// Checker: reads each frame and compares its CRC32C with that of the file.
//
// What it is: a thread that goes round the pool behind the producer, each frame held shared, the
// next one acquired before the last is let go (see producer.hpp). The file's CRC comes from a
// second reading of the file, by tables; the frame's from the buffer as the checker sees it; the
// engine's was computed by the DMA engine. What it is not: a second look at the same memory.
// Lifetime: pool, buffers and file outlive it; the producer must be told to end before it is
// destroyed. Thread-safety: one thread uses it; its own thread works.
//
//   checker.start();         // returns when the checker has its place in the pool
//   auto result = checker.finish();
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include <hal/refs.hpp>

#include "drivers/gpu/buffer.hpp"
#include "tools/demo/acquirer.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/input_file.hpp"
#include "tools/demo/options.hpp"
#include "tools/demo/pool.hpp"

namespace demo {

struct WrongFrame {
  FrameNote note;
  std::uint32_t file_crc = 0;
  std::uint32_t buffer_crc = 0;
};

struct CheckResult {
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
  std::uint64_t wrong = 0;
  std::vector<WrongFrame> first_wrong;  ///< at most kShown of them
  std::uint64_t hiccups = 0;
  std::uint64_t waits = 0;
  static constexpr std::size_t kShown = 8;
};

class Checker {
 public:
  using Buffers = std::span<const std::shared_ptr<drivers::gpu::Buffer>>;

  /// Works for the driver `role`. `buffers`: those of the pool.
  Checker(const Pool& pool, Buffers buffers, hal::DriverId role, const InputFile& file,
          const Options& options, Latencies& latencies);
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;
  /// Waits for the end of the frames.
  ~Checker();

  Outcome<void> start();
  /// Waits for the end of the frames.
  [[nodiscard]] Outcome<CheckResult> finish();
  /// Becomes true when the checker gives up before the end.
  [[nodiscard]] bool gave_up() const noexcept { return gave_up_.load(std::memory_order_relaxed); }

 private:
  void run(std::promise<Outcome<void>> started);
  Outcome<hal::ScopedResource> take_place();
  Outcome<void> check_frames(hal::ScopedResource hold);
  Outcome<void> check(std::size_t index, const hal::ScopedResource& hold);
  void maybe_hiccup();

  const Pool& pool_;
  Buffers buffers_;
  hal::DriverId role_;
  const InputFile& file_;
  const Options& options_;
  Acquirer acquirer_;

  // Its own thread's, until that is joined.
  CheckResult result_;
  std::optional<Failure> failure_;
  std::vector<std::byte> again_;  ///< the piece of the file
  std::mt19937_64 chance_;

  std::atomic<bool> gave_up_{false};
  std::thread thread_;
};

}  // namespace demo
