// SPDX-License-Identifier: Apache-2.0
//
// What tests of sockets and processes share: a folder of their own, and a count of descriptors.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <string>

#include "resmgr/base/error.hpp"

namespace resmgr::test {

/// The code of a failed result; no code (0) of one that succeeded.
ErrorCode code_of(const auto& result) { return result ? ErrorCode{} : result.error().code(); }

/// How many descriptors this process has open; the one that counting takes is always among them.
inline std::ptrdiff_t open_fds() {
  using Folder = std::filesystem::directory_iterator;
  return std::distance(Folder("/proc/self/fd"), Folder());
}

/// A new folder, which goes with everything in it. Only this user can look into it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = std::filesystem::temp_directory_path() / "resmgr-test-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace resmgr::test
