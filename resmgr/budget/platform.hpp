// SPDX-License-Identifier: Apache-2.0
//
// Platform: what a domain has to work with on this machine, as far as this process may use it.
//
// What it is: memory, control groups, processors, NUMA nodes and huge pages, as the kernel tells of
// them at one moment. What it is not: a choice of anything, see profile.hpp; nor kept up to date.
// What the kernel does not tell is 0 or empty, and no error. May throw std::bad_alloc.
//
// Lifetime and thread-safety: a plain value.
//
//   const Platform platform = detect_platform();
//   const Profile profile = make_profile(fitting_profile(platform), platform);
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/base/budgets.hpp"
#include "resmgr/budget/cgroup_folder.hpp"

namespace resmgr::budget {

struct NumaNode {
  std::uint32_t number = 0;
  std::uint64_t bytes = 0;
  std::uint64_t free_bytes = 0;

  friend bool operator==(const NumaNode&, const NumaNode&) noexcept = default;
};

/// Pages that an administrator set aside.
struct HugePages {
  std::uint64_t page_bytes = 0;
  std::uint64_t pages = 0;
  std::uint64_t free_pages = 0;

  friend bool operator==(const HugePages&, const HugePages&) noexcept = default;
};

/// Whether the kernel joins pages by itself.
enum class TransparentHugePages : std::uint8_t {
  Absent,   ///< this kernel can't
  Never,    ///< it does not
  Advised,  ///< where madvise(2) asks for it
  Always,   ///< wherever it can
};
[[nodiscard]] std::string_view to_string(TransparentHugePages pages) noexcept;

struct Platform {
  std::uint64_t physical_bytes = 0;
  std::uint64_t available_bytes = 0;  ///< without pushing anything out
  std::optional<CgroupVersion> cgroup = {};
  std::uint64_t cgroup_bytes = kUnlimited;  ///< limit of the control groups around this process
  std::uint32_t processors = 0;             ///< that this process may run on
  /// Thousandths of a processor's time that its control groups let it have; 0: as much as it wants.
  std::uint64_t processor_quota = 0;
  std::vector<NumaNode> nodes = {};        ///< that have memory, by number
  std::vector<HugePages> huge_pages = {};  ///< by size
  TransparentHugePages transparent = TransparentHugePages::Absent;
  bool tells_stalls = false;  ///< see PressureStall

  /// What there is to share out: the limit, or all there is.
  [[nodiscard]] std::uint64_t memory_bytes() const noexcept;
  /// How many can run at a time, on the average; 1 at least.
  [[nodiscard]] std::uint32_t usable_processors() const noexcept;

  friend bool operator==(const Platform&, const Platform&) noexcept = default;
};

/// `root` stands before every path, for tests; the processors are always this machine's.
[[nodiscard]] Platform detect_platform(const std::string& root = {});

}  // namespace resmgr::budget
