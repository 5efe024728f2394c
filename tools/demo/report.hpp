// SPDX-License-Identifier: Apache-2.0
//
// Report: what came of a run, whether all is well, and how to tell.
//
// What it is: the figures, as lines for people (show) and as one JSON object (to_json).
// Lifetime and thread-safety: a plain value.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/demo/options.hpp"
#include "tools/demo/refusals.hpp"
#include "tools/demo/screen.hpp"
#include "tools/demo/transfer.hpp"

namespace demo {

/// What happened to the DMA driver of a served run.
struct Killed {
  std::uint64_t times = 0;
  std::uint64_t promised = 0;             ///< how often it was to be
  std::chrono::nanoseconds recovered{0};  ///< from the kill until its channel was usable again
};

struct Report {
  Options options;
  std::optional<std::uint64_t> input_bytes = {};
  std::uint64_t frame_bytes = 0;
  TransferResult transfer = {};
  std::optional<Refusals> refusals = {};  ///< with --show-deadlock
  std::optional<Killed> killed = {};      ///< with --served
  std::vector<std::string> leaks = {};    ///< one line each
  std::vector<std::string> reports = {};  ///< other lines that the managers reported

  [[nodiscard]] bool crc_ok() const noexcept { return transfer.checked.wrong == 0; }
  [[nodiscard]] bool all_well() const;
  /// 0 for a run without frames.
  [[nodiscard]] double bytes_per_second() const noexcept;
};

void show(const Report& report, Screen& screen);
/// Without a line end.
[[nodiscard]] std::string to_json(const Report& report);

}  // namespace demo
