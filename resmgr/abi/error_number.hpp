// SPDX-License-Identifier: Apache-2.0
//
// Error codes as they travel: a number, 0 where nothing went wrong.
//
// What it is: how messages write and read a code. What it is not: a check; a number that is no code
// stays one, for the message's own check() to refuse. Thread-safety: pure functions.
//
//   part.code = error_to_wire(reply.error);
//   reply.error = error_from_wire(part.code, frame.is_newer());
#pragma once

#include <cstdint>
#include <optional>

#include "resmgr/base/error.hpp"

namespace resmgr::wire {

[[nodiscard]] constexpr bool is_error_code(ErrorCode code) noexcept {
  return static_cast<int>(code) >= 1 && static_cast<int>(code) <= kErrorCodes;
}

[[nodiscard]] constexpr std::uint32_t error_to_wire(std::optional<ErrorCode> error) noexcept {
  return error ? static_cast<std::uint32_t>(*error) : 0;
}

/// A newer minor may have codes that we can't name.
[[nodiscard]] constexpr std::optional<ErrorCode> error_from_wire(std::uint32_t code,
                                                                 bool newer) noexcept {
  if (code == 0) return std::nullopt;
  const auto error = static_cast<ErrorCode>(code);
  return newer && !is_error_code(error) ? ErrorCode::System : error;
}

}  // namespace resmgr::wire
