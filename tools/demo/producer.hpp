// SPDX-License-Identifier: Apache-2.0
//
// Producer: moves the file into the frames, one at each tick of the timer.
//
// What it is: reads a piece of the file into the input window, has the DMA engine copy it into the
// frame that it holds exclusively, takes the next frame, and only then lets go of the last. The
// checker goes round the pool in the same way, a frame or more behind. As each side always holds
// one, neither can overtake the other: who is faster waits, in the resource manager, for the other
// one's frame. (With three frames or more that never closes a circle.)
// Lifetime: pool, file and interrupt outlive it. Thread-safety: one thread, whose own context
// holds the frames.
//
//   producer.begin();   // has the first frame; now the checker may come
//   producer.run(screen);
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include <hal/refs.hpp>

#include "drivers/timer/timer.hpp"
#include "tools/demo/acquirer.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/input_file.hpp"
#include "tools/demo/interrupt.hpp"
#include "tools/demo/options.hpp"
#include "tools/demo/pool.hpp"
#include "tools/demo/screen.hpp"
#include "tools/demo/stream.hpp"

namespace demo {

/// Frames that will be moved, where that is known.
[[nodiscard]] std::optional<std::uint64_t> frames_to_move(const Options& options,
                                                          const InputFile& file,
                                                          std::uint64_t frame_bytes);

class Producer {
 public:
  /// Works for the driver `role`, and stops before its end when `stop` says so.
  Producer(const Pool& pool, hal::DriverId role, OpenStream open_stream, const InputFile& file,
           const Options& options, Interrupt& interrupt, Latencies& latencies,
           std::function<bool()> stop);
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;
  /// Tells the checker that nothing follows, if run() did not.
  ~Producer();

  /// Acquires the stream and the first frame.
  Outcome<void> begin();
  /// Moves all frames. The checker is told of the end in any case.
  Outcome<void> run(Screen& screen);

  [[nodiscard]] std::uint64_t waits() const noexcept { return acquirer_.waits(); }
  [[nodiscard]] bool interrupted() const noexcept { return interrupted_; }
  /// Of the timer, for this run. All zero before begin().
  [[nodiscard]] drivers::timer::TimerStatistics ticks() const noexcept;

 private:
  enum class Step { Go, End };

  Outcome<void> move_frames(Screen& screen);
  /// Waits for the frame's time, or the end.
  Outcome<Step> pace();
  /// Reads the next piece of the file into the window and sets the note's place in the file.
  Outcome<Step> read(FrameNote& note);
  /// Window to frame, and reads it back for its CRC; again where the stream had to recover.
  Outcome<void> transfer(FrameNote& note);
  /// That, once.
  hal::Result<std::uint32_t> run_engine(const FrameNote& note);
  Outcome<void> corrupt(const FrameNote& note);
  Outcome<void> take_next_frame();
  void end() noexcept;
  void show_progress(Screen& screen) const;

  const Pool& pool_;
  hal::DriverId role_;
  OpenStream open_stream_;
  const InputFile& file_;
  const Options& options_;
  Interrupt& interrupt_;
  std::function<bool()> stop_;
  Acquirer acquirer_;
  std::optional<std::uint64_t> total_;  ///< frames, where that is known

  std::unique_ptr<Stream> stream_;
  hal::ScopedResource hold_;  ///< on the frame at index_
  std::size_t index_ = 0;
  std::uint64_t number_ = 0;  ///< frames handed over
  std::uint64_t offset_ = 0;  ///< in the file
  std::uint64_t ticks_left_ = 0;
  bool interrupted_ = false;
  Screen::Clock::time_point started_;
};

}  // namespace demo
