// SPDX-License-Identifier: Apache-2.0
//
// Control groups that a test makes for its children.
//
// What they are: a group with little memory, and one whose processes the kernel watches for
// standing still. What they are not: for a process that is already there: it enters, and its
// children are inside. Lifetime: the folder goes with the object; processes must have left it by
// then. Thread-safety: none.
//
//   const auto group = MemoryGroup::make(16 * kMiB);
//   if (!group) GTEST_SKIP() << ...
//   if (fork() == 0) { group->enter() ...
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

namespace hal::test {

inline constexpr std::uint64_t kMiB = 1024 * 1024;

inline bool write_to(const std::string& file, const std::string& text) {
  std::ofstream out(file);
  out << text << std::flush;
  return out.good();
}

/// A folder of the control groups' file system.
class GroupFolder {
 public:
  /// A group of this process's name under `root`; none where it can't be made.
  static std::optional<GroupFolder> make(const std::string& root) {
    std::string folder = root + "/resmgr-test-" + std::to_string(::getpid());
    if (::mkdir(folder.c_str(), 0755) != 0) return {};
    return GroupFolder(std::move(folder));
  }
  GroupFolder(GroupFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  GroupFolder& operator=(GroupFolder&&) = delete;
  ~GroupFolder() {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool enter() const {
    return write_to(path_ + "/cgroup.procs", std::to_string(::getpid()));
  }

 private:
  explicit GroupFolder(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

/// A group that may use so much memory and no more.
class MemoryGroup {
 public:
  static std::optional<MemoryGroup> make(std::uint64_t bytes) {
    // Of version 2 only where the controller is handed down to the root's children.
    for (const Version& version : kVersions) {
      auto folder = GroupFolder::make(version.root);
      if (folder && std::filesystem::exists(folder->path() + version.limit) &&
          write_to(folder->path() + version.limit, std::to_string(bytes))) {
        return MemoryGroup(std::move(*folder), version);
      }
    }
    return {};
  }
  [[nodiscard]] bool enter() const { return folder_.enter(); }
  [[nodiscard]] std::uint64_t used() const {
    std::uint64_t bytes = ~std::uint64_t{0};
    std::ifstream(folder_.path() + version_->usage) >> bytes;
    return bytes;
  }
  /// Whether a process may be in here and in a group of version 2 apart from it.
  [[nodiscard]] bool is_of_version_1() const { return version_ == &kVersions[0]; }

 private:
  struct Version {
    const char* root;
    const char* limit;
    const char* usage;
  };
  static constexpr Version kVersions[] = {
      {"/sys/fs/cgroup/memory", "/memory.limit_in_bytes", "/memory.usage_in_bytes"},
      {"/sys/fs/cgroup", "/memory.max", "/memory.current"},
  };
  MemoryGroup(GroupFolder folder, const Version& version)
      : folder_(std::move(folder)), version_(&version) {}

  GroupFolder folder_;
  const Version* version_;
};

/// A group of version 2 without limits, of which the kernel tells when its processes stand still.
inline std::optional<GroupFolder> make_pressure_group() {
  for (const char* root : {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"}) {
    auto folder = GroupFolder::make(root);
    if (folder && std::filesystem::exists(folder->path() + "/memory.pressure")) return folder;
  }
  return {};
}

}  // namespace hal::test
