// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/transfer.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tools/demo/embedded_stream.hpp"

namespace demo {
namespace {

using Clock = std::chrono::steady_clock;

Outcome<void> add_contention(const Pool& pool, TransferResult& result) {
  for (const hal::Handle frame : pool.frames) {
    const auto stats = pool.manager.get_resource_stats(frame);
    if (!stats) return failed("asking for statistics", stats.error());
    result.contended += stats->contended;
    result.longest_wait_ns = std::max(result.longest_wait_ns, stats->longest_wait_ns);
  }
  return {};
}

}  // namespace

Outcome<TransferResult> transfer(Hardware& hardware, const InputFile& file, const Options& options,
                                 Interrupt& interrupt, Screen& screen) {
  const Pool pool = hardware.pool();
  Latencies latencies;
  Checker checker(pool, hardware.buffers(), hardware.checker(), file, options, latencies);
  // Behind the checker, so that it ends first: the checker's end waits for that.
  Producer producer(
      pool, hardware.dma().id(), [&] { return EmbeddedStream::open(hardware); }, file, options,
      interrupt, latencies, [&] { return checker.gave_up(); });

  if (auto begun = producer.begin(); !begun) return std::unexpected(std::move(begun.error()));
  if (auto started = checker.start(); !started) return std::unexpected(std::move(started.error()));
  const auto begin = Clock::now();
  const auto moved = producer.run(screen);
  auto checked = checker.finish();
  const std::chrono::duration<double> time = Clock::now() - begin;
  if (!moved) return std::unexpected(moved.error());
  if (!checked) return std::unexpected(std::move(checked.error()));
  auto result = sum_up(producer, std::move(*checked), latencies, pool);
  if (result) result->seconds = time.count();
  return result;
}

Outcome<TransferResult> sum_up(const Producer& producer, CheckResult checked,
                               const Latencies& latencies, const Pool& pool) {
  TransferResult result;
  result.checked = std::move(checked);
  result.interrupted = producer.interrupted();
  result.producer_waits = producer.waits();
  result.acquired_at_once = latencies.at_once();
  result.waited = latencies.waited();
  result.ticks = producer.ticks();
  if (auto added = add_contention(pool, result); !added) {
    return std::unexpected(std::move(added.error()));
  }
  return result;
}

}  // namespace demo
