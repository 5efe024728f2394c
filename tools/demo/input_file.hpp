// SPDX-License-Identifier: Apache-2.0
//
// InputFile: the file that is moved, read at offsets.
//
// What it is: anything that gives the same bytes when it is read again: files and disks. What it is
// not: a mapping; a file that is cut while we read it gives fewer bytes, and no signal.
// Lifetime: closes with its scope. Thread-safety: reading from any thread.
//
//   auto file = InputFile::open("libhal.so");
//   std::size_t count = file->read(offset, into).value();
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <hal/resource.hpp>

#include "tools/demo/failure.hpp"

namespace demo {

class InputFile {
 public:
  /// Fails for what can't be opened, directories, and what can be read only once.
  [[nodiscard]] static Outcome<InputFile> open(const std::string& path);

  /// How many bytes it gave: fewer than asked for at the end of the file only.
  [[nodiscard]] Outcome<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Bytes, when it was opened; empty where only reading to the end would tell.
  [[nodiscard]] std::optional<std::uint64_t> size() const noexcept { return size_; }

 private:
  InputFile(std::string path, hal::UniqueFd fd, std::optional<std::uint64_t> size) noexcept;

  std::string path_;
  hal::UniqueFd fd_;
  std::optional<std::uint64_t> size_;
};

}  // namespace demo
