// SPDX-License-Identifier: Apache-2.0
//
// What the processes of a served demo call each other and what they share, and the messages between
// the coordinator and each of the others.
//
// What it is: names, and plain structs; see control_line.hpp. Lifetime and thread-safety: plain
// values.
//
//   coordinator                                   the others
//                        <-- Ready                each, once its resources are registered
//   Serve                -->                      DMA driver, for each new link
//                        <-- Serving
//   Go                   -->                      checker, once the first frame is taken
//                        <-- Watching
//                        <-- Checked              checker, after the last frame
//   Stop                 -->                      each, which then ends
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "drivers/timer/lateness.hpp"
#include "tools/demo/checker.hpp"
#include "tools/demo/options.hpp"

namespace demo {

// Drivers, as the domain knows them.
inline constexpr std::string_view kProducerDriver = "demo-producer";
inline constexpr std::string_view kCheckerDriver = "demo-checker";
inline constexpr std::string_view kDmaDriver = "dma-software";

// Resources that are found by name.
inline constexpr std::string_view kTimerName = "timer0/channel/0";
inline constexpr std::string_view kChannelName = "dma0/channel/0";
inline constexpr std::string_view kWindowName = "demo/input";
inline constexpr std::string_view kNotesName = "demo/notes";
[[nodiscard]] inline std::string frame_name(std::uint32_t index) {
  return "gpu0/buffer/" + std::to_string(index);
}
[[nodiscard]] inline std::string link_name(std::uint32_t link) {
  return "demo/link/" + std::to_string(link);
}
struct Ready {
  static constexpr std::uint32_t kKind = 2;
  std::uint64_t frame_bytes = 0;  ///< from who has the frames
};

struct Serve {
  static constexpr std::uint32_t kKind = 3;
  std::uint32_t link = 0;  ///< see link_name()
};

struct Serving {
  static constexpr std::uint32_t kKind = 4;
  std::uint64_t window = 0;                      ///< BufferId::bits
  std::array<std::uint64_t, kMaxPool> frames{};  ///< BufferId::bits, as many as there are
};

struct Go {
  static constexpr std::uint32_t kKind = 5;
  std::uint32_t nothing = 0;
};

struct Watching {
  static constexpr std::uint32_t kKind = 6;
  std::uint32_t nothing = 0;
};

struct Checked {
  static constexpr std::uint32_t kKind = 7;
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
  std::uint64_t wrong = 0;
  std::uint64_t hiccups = 0;
  std::uint64_t waits = 0;
  std::uint64_t shown = 0;  ///< of first_wrong
  std::array<WrongFrame, CheckResult::kShown> first_wrong{};
  drivers::timer::Lateness acquired_at_once = {};
  drivers::timer::Lateness waited = {};
};

struct Stop {
  static constexpr std::uint32_t kKind = 8;
  std::uint32_t nothing = 0;
};

}  // namespace demo
