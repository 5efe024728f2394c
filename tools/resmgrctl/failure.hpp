// SPDX-License-Identifier: Apache-2.0
//
// Failure: why resmgrctl can't do what it was asked for, as one line that names the next step.
//
// What it is: the text behind "resmgrctl: ". What it is not: a finding about a domain, see
// doctor.hpp. Lifetime and thread-safety: a plain value.
//
//   if (!file) return failed_errno(path, errno);
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <system_error>

#include "resmgr/base/error.hpp"

namespace resmgrctl {

struct Failure {
  std::string text;
};

template <typename T>
using Outcome = std::expected<T, Failure>;

[[nodiscard]] inline std::unexpected<Failure> failed(std::string text) {
  return std::unexpected(Failure{std::move(text)});
}
[[nodiscard]] inline std::unexpected<Failure> failed(std::string_view what, std::string_view why) {
  return failed(std::string(what) + ": " + std::string(why));
}
[[nodiscard]] inline std::unexpected<Failure> failed(std::string_view what,
                                                     const resmgr::Error& error) {
  return failed(what, error.message());
}
[[nodiscard]] inline std::unexpected<Failure> failed_errno(std::string_view what, int errno_value) {
  return failed(what, std::generic_category().message(errno_value));
}

}  // namespace resmgrctl
