// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/served_transfer.hpp"

#include <chrono>
#include <cstdint>
#include <span>
#include <utility>

#include "tools/demo/producer.hpp"
#include "tools/demo/served_messages.hpp"

namespace demo {
namespace {

using Clock = std::chrono::steady_clock;

// Of a file whose end nobody knows.
constexpr std::uint64_t kSomeFrames = 100;

CheckResult result_of(const Checked& checked) {
  CheckResult result{.frames = checked.frames,
                     .bytes = checked.bytes,
                     .wrong = checked.wrong,
                     .first_wrong = {},
                     .hiccups = checked.hiccups,
                     .waits = checked.waits};
  const auto shown = std::span(checked.first_wrong).first(checked.shown);
  result.first_wrong.assign(shown.begin(), shown.end());
  return result;
}

}  // namespace

Outcome<TransferResult> served_transfer(ServedHardware& hardware, const InputFile& file,
                                        const Options& options, Interrupt& interrupt,
                                        Screen& screen, Fate& fate) {
  const Pool pool = hardware.pool();
  fate.frame = frames_to_move(options, file, pool.frame_bytes).value_or(2 * kSomeFrames) / 2;
  RoleProcess& checker = hardware.checker();
  Latencies latencies;
  // It says nothing before the end, unless it gives up.
  Producer producer(
      pool, hardware.producer(), [&] { return ServedStream::open(hardware, fate, screen); }, file,
      options, interrupt, latencies, [&] { return checker.line().readable(); });

  if (auto begun = producer.begin(); !begun) return std::unexpected(std::move(begun.error()));
  if (auto told = checker.tell(Go()); !told) return std::unexpected(std::move(told.error()));
  if (auto started = checker.hear<Watching>(); !started) {
    return std::unexpected(std::move(started.error()));
  }
  const auto begin = Clock::now();
  const auto moved = producer.run(screen);
  const auto checked = checker.hear<Checked>();
  const std::chrono::duration<double> time = Clock::now() - begin;
  if (!moved) return std::unexpected(moved.error());
  if (!checked) return std::unexpected(checked.error());
  latencies.merge((*checked)->acquired_at_once, (*checked)->waited);
  auto result = sum_up(producer, result_of(**checked), latencies, pool);
  if (result) result->seconds = time.count();
  return result;
}

}  // namespace demo
