// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/cgroup_memory.hpp"

#include <algorithm>
#include <string_view>

#include "resmgr/budget/kernel_text.hpp"

namespace resmgr::budget {
namespace {

// From here on a number is no limit: version 1 says "none" by the largest one that it has.
constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 62;

// The names of what is the same in both versions.
struct Files {
  std::string_view used;
  std::string_view dropped_first;  // a key of memory.stat
};
constexpr Files kVersionOne{"/memory.usage_in_bytes", "total_inactive_file"};
constexpr Files kVersionTwo{"/memory.current", "inactive_file"};

std::uint64_t limit_of(std::optional<std::uint64_t> number) noexcept {
  return !number || *number >= kNoLimit ? kUnlimited : *number;
}

Fill fill_of(const std::string& folder, CgroupVersion version) {
  const Files& files = version == CgroupVersion::One ? kVersionOne : kVersionTwo;
  const std::string statistics = read_text(folder + "/memory.stat");
  Fill fill;
  const std::uint64_t all = read_number(folder + std::string(files.used)).value_or(0);
  fill.used = all - std::min(all, number_of(statistics, files.dropped_first).value_or(0));
  if (version == CgroupVersion::One) {
    fill.limit = std::min(limit_of(read_number(folder + "/memory.limit_in_bytes")),
                          limit_of(number_of(statistics, "hierarchical_memory_limit")));
  } else {
    fill.limit = std::min(limit_of(read_number(folder + "/memory.max")),
                          limit_of(read_number(folder + "/memory.high")));
  }
  return fill;
}

}  // namespace

Result<CgroupMemory> CgroupMemory::find(const std::string& root) {
  auto folder = CgroupFolder::find("memory", root);
  if (!folder) return std::unexpected(std::move(folder.error()));
  return CgroupMemory(std::move(*folder));
}

CgroupMemoryState CgroupMemory::read() const {
  CgroupMemoryState state;
  bool is_innermost = true;
  folder_.each([&](const std::string& folder) {
    const Fill fill = fill_of(folder, folder_.version);
    if (is_innermost) state.used = fill.used;
    is_innermost = false;
    state.limit = std::min(state.limit, fill.limit);
    if (fill.is_fuller_than(state.fullest)) state.fullest = fill;
  });
  return state;
}

}  // namespace resmgr::budget
