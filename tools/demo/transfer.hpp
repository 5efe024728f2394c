// SPDX-License-Identifier: Apache-2.0
//
// Transfer: the whole run, from opened hardware to figures.
//
// What it is: starts producer and checker, waits for both, and collects what they, the timer and
// the manager counted. What it is not: a judge; see report.hpp. Lifetime and thread-safety: a
// function.
#pragma once

#include <cstdint>

#include "drivers/timer/timer.hpp"
#include "tools/demo/acquirer.hpp"
#include "tools/demo/checker.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/hardware.hpp"
#include "tools/demo/input_file.hpp"
#include "tools/demo/interrupt.hpp"
#include "tools/demo/options.hpp"
#include "tools/demo/pool.hpp"
#include "tools/demo/producer.hpp"
#include "tools/demo/screen.hpp"

namespace demo {

struct TransferResult {
  CheckResult checked;
  double seconds = 0;
  bool interrupted = false;
  std::uint64_t producer_waits = 0;
  Latencies::Summary acquired_at_once;
  Latencies::Summary waited;
  /// As the manager counted them, over all frames.
  std::uint64_t contended = 0;
  std::uint64_t longest_wait_ns = 0;
  drivers::timer::TimerStatistics ticks;
};

/// Everything that was acquired is released when it returns.
[[nodiscard]] Outcome<TransferResult> transfer(Hardware& hardware, const InputFile& file,
                                               const Options& options, Interrupt& interrupt,
                                               Screen& screen);

/// What both sides counted, and the manager of the frames.
[[nodiscard]] Outcome<TransferResult> sum_up(const Producer& producer, CheckResult checked,
                                             const Latencies& latencies, const Pool& pool);

}  // namespace demo
