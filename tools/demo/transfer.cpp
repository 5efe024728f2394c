// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/transfer.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tools/demo/producer.hpp"

namespace demo {
namespace {

using Clock = std::chrono::steady_clock;

Outcome<void> add_contention(Hardware& hardware, TransferResult& result) {
  for (const Frame& frame : hardware.frames()) {
    const auto stats = hardware.manager().get_resource_stats(frame.buffer->handle());
    if (!stats) return failed("asking for statistics", stats.error());
    result.contended += stats->contended;
    result.longest_wait_ns = std::max(result.longest_wait_ns, stats->longest_wait_ns);
  }
  return {};
}

}  // namespace

Outcome<TransferResult> transfer(Hardware& hardware, const InputFile& file, const Options& options,
                                 Interrupt& interrupt, Screen& screen) {
  TransferResult result;
  Latencies latencies;
  Checker checker(hardware, file, options, latencies);
  // Behind the checker, so that it ends first: the checker's end waits for that.
  Producer producer(hardware, file, options, interrupt, latencies, checker.gave_up());

  if (auto begun = producer.begin(); !begun) return std::unexpected(std::move(begun.error()));
  if (auto started = checker.start(); !started) return std::unexpected(std::move(started.error()));
  const auto begin = Clock::now();
  const auto moved = producer.run(screen);
  auto checked = checker.finish();
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (!moved) return std::unexpected(moved.error());
  if (!checked) return std::unexpected(std::move(checked.error()));

  result.checked = std::move(*checked);
  result.interrupted = producer.interrupted();
  result.producer_waits = producer.waits();
  result.acquired_at_once = latencies.at_once();
  result.waited = latencies.waited();
  result.ticks = producer.ticks();
  if (auto added = add_contention(hardware, result); !added) {
    return std::unexpected(std::move(added.error()));
  }
  return result;
}

}  // namespace demo
