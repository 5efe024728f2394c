// SPDX-License-Identifier: Apache-2.0
//
// FakeKernel: a folder in which a test writes what the kernel would tell.
//
// What it is: files below a temporary root, which goes with it. Lifetime: its own.
//
//   FakeKernel kernel;
//   kernel.say("/proc/self/cgroup", "0::/app\n");
//   CgroupMemory::find(kernel.root());
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "tests/base/support.hpp"

namespace resmgr::budget::test {

class FakeKernel {
 public:
  [[nodiscard]] std::string root() const { return folder_.path().string(); }

  void say(const std::string& path, std::string_view text) const {
    const std::filesystem::path file = root() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void make(const std::string& folder) const {
    std::filesystem::create_directories(root() + folder);
  }

 private:
  resmgr::test::TemporaryFolder folder_;
};

}  // namespace resmgr::budget::test
