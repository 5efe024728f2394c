// SPDX-License-Identifier: Apache-2.0
//
// Interrupt: Ctrl-C and a polite kill as something to look at, instead of a sudden end.
//
// What it is: SIGINT and SIGTERM, blocked and read from a descriptor, so that an interrupted demo
// lets go of what it holds and reports. Once seen they are unblocked: a second one ends the
// process. Lifetime: make it before the first thread, which then inherits what is blocked.
// Thread-safety: one thread at a time.
//
//   auto interrupt = Interrupt::create();
//   while (interrupt->wait_readable(timer.fd()).value_or(false)) tick();
#pragma once

#include <utility>

#include <hal/resource.hpp>

#include "tools/demo/failure.hpp"

namespace demo {

class Interrupt {
 public:
  [[nodiscard]] static Outcome<Interrupt> create();

  /// Whether there was one; never waits.
  [[nodiscard]] bool requested() noexcept;
  /// Waits until `fd` is readable. False: there was an interrupt instead.
  [[nodiscard]] Outcome<bool> wait_readable(int fd) noexcept;

 private:
  explicit Interrupt(hal::UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  hal::UniqueFd fd_;
  bool requested_ = false;
};

}  // namespace demo
