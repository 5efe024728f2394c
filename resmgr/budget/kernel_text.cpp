// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/kernel_text.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>

#include "resmgr/base/unique_fd.hpp"

namespace resmgr::budget {
namespace {

constexpr std::size_t kLongest = 1u << 20;
constexpr std::string_view kBlanks = " \t";

}  // namespace

std::string read_text(const std::string& path) {
  std::string text;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return text;
  std::array<char, 4096> part;
  while (text.size() < kLongest) {
    const ssize_t bytes = ::read(file.get(), part.data(), part.size());
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) break;
    text.append(part.data(), static_cast<std::size_t>(bytes));
  }
  return text;
}

std::optional<std::uint64_t> leading_number(std::string_view text) noexcept {
  const std::size_t start = text.find_first_not_of(kBlanks);
  if (start == std::string_view::npos) return std::nullopt;
  std::uint64_t number = 0;
  const auto read = std::from_chars(text.data() + start, text.data() + text.size(), number);
  if (read.ec != std::errc{}) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> read_number(const std::string& path) {
  return leading_number(read_text(path));
}

std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key) noexcept {
  while (!text.empty()) {
    std::string_view line = take_part(text, '\n');
    while (!line.empty()) {
      if (take_part(line, ' ') == key) return leading_number(line);
    }
  }
  return std::nullopt;
}

std::string_view take_part(std::string_view& text, char separator) noexcept {
  const std::string_view part = text.substr(0, text.find(separator));
  text.remove_prefix(part.size() < text.size() ? part.size() + 1 : part.size());
  return part;
}

bool has_part(std::string_view text, char separator, std::string_view part) noexcept {
  while (!text.empty()) {
    if (take_part(text, separator) == part) return true;
  }
  return false;
}

}  // namespace resmgr::budget
