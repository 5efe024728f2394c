// SPDX-License-Identifier: Apache-2.0
//
// Small files in which the kernel tells something: /proc, /sys and cgroups.
//
// What it is: their text, and numbers in it. What it is not: told why something is not there: on
// machines that differ, what is missing or unreadable is not known, and none of it is an error.
// May throw std::bad_alloc. Thread-safety: all functions.
//
//   const auto limit = read_number(folder + "/memory.max");   // none: "max", or no such file
//   const auto total = number_of(read_text("/proc/meminfo"), "MemTotal:");
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace resmgr::budget {

/// The text of a file, its first MiB at most; empty if it can't be read.
[[nodiscard]] std::string read_text(const std::string& path);
/// The number that a text begins with, blanks aside; none if there is none or it is below 0.
[[nodiscard]] std::optional<std::uint64_t> leading_number(std::string_view text) noexcept;
/// That of a file.
[[nodiscard]] std::optional<std::uint64_t> read_number(const std::string& path);
/// The number behind the first of a line's words that is `key`.
[[nodiscard]] std::optional<std::uint64_t> number_of(std::string_view text,
                                                     std::string_view key) noexcept;

/// Cuts the first part off, up to `separator`, which goes too; all of it where there is none.
[[nodiscard]] std::string_view take_part(std::string_view& text, char separator) noexcept;
/// Whether one of the parts between separators is `part`.
[[nodiscard]] bool has_part(std::string_view text, char separator, std::string_view part) noexcept;

}  // namespace resmgr::budget
