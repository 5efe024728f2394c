// SPDX-License-Identifier: Apache-2.0
//
// SharedText: a text that one process puts, and another one that it forked takes.
//
// What it is: the configuration that the keeper read, for its worker, so that both have the same
// one though the file changes. What it is not: a signal; who puts a text tells the other by one. A
// text that is taken while the next is put is left for that one's signal.
//
// Lifetime: owns the memory, which is copied by fork() with the object. Thread-safety: one thread a
// process.
//
//   auto shared = SharedText::create().value();     // then fork()
//   shared.put(text); kill(worker, SIGHUP);         // in the parent
//   if (auto text = shared.take()) use(*text);      // in the child, at the signal
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgr::daemon {

class SharedText {
 public:
  /// Errors: CapacityExceeded, System.
  [[nodiscard]] static Result<SharedText> create() noexcept;

  /// At most kMaxConfigBytes of the text are taken. Errors: System.
  Result<void> put(std::string_view text) noexcept;
  /// The latest text; nothing if this process put it or took it before, its parent had put it
  /// before the fork, or it is just being put. May throw std::bad_alloc.
  [[nodiscard]] std::optional<std::string> take();

 private:
  /// In front of the text.
  struct Head {
    std::uint64_t number = 0;  ///< of the text, counted from 1
    std::uint64_t bytes = 0;
    std::uint64_t hash = 0;
  };
  explicit SharedText(UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  UniqueFd fd_;
  std::uint64_t number_ = 0;  ///< of the text that is known
};

}  // namespace resmgr::daemon
