// SPDX-License-Identifier: Apache-2.0
//
// Failure: why the demo can't go on, as one line for the person who started it.
//
// What it is: what was being done, and what came of it. What it is not: an error to handle; the
// program prints it and ends. Lifetime and thread-safety: a plain value.
//
//   auto hold = manager.try_acquire(handle);
//   if (!hold) return failed("acquiring a frame", hold.error());
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <system_error>

#include <hal/resource.hpp>

namespace demo {

struct Failure {
  std::string text;
};

template <typename T>
using Outcome = std::expected<T, Failure>;

[[nodiscard]] inline std::unexpected<Failure> failed(std::string_view what, std::string_view why) {
  return std::unexpected(Failure{std::string(what) + ": " + std::string(why)});
}
[[nodiscard]] inline std::unexpected<Failure> failed(std::string_view what,
                                                     const hal::Error& error) {
  return failed(what, error.message());
}
[[nodiscard]] inline std::unexpected<Failure> failed_errno(std::string_view what, int errno_value) {
  return failed(what, std::generic_category().message(errno_value));
}

}  // namespace demo
