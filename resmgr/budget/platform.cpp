// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/platform.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "resmgr/budget/cgroup_memory.hpp"
#include "resmgr/budget/kernel_text.hpp"
#include "resmgr/budget/pressure_stall.hpp"

namespace resmgr::budget {
namespace {

constexpr std::uint64_t kKilo = 1024;
constexpr std::uint64_t kThousandths = 1000;

// A line of /proc/meminfo and its like, in bytes.
std::uint64_t bytes_of(std::string_view text, std::string_view key) noexcept {
  return number_of(text, key).value_or(0) * kKilo;
}

// The number between two parts of a name; none if it is not all of what is between them.
std::optional<std::uint64_t> number_in(std::string_view name, std::string_view before,
                                       std::string_view after = {}) noexcept {
  if (!name.starts_with(before) || !name.ends_with(after)) return std::nullopt;
  name.remove_prefix(before.size());
  name.remove_suffix(std::min(name.size(), after.size()));
  std::uint64_t number = 0;
  const auto read = std::from_chars(name.data(), name.data() + name.size(), number);
  if (read.ec != std::errc{} || read.ptr != name.data() + name.size()) return std::nullopt;
  return number;
}

// Calls with each entry of a folder that has a number in its name, and that number.
template <typename Call>
void each_numbered(const std::string& folder, std::string_view before, std::string_view after,
                   const Call& call) {
  std::error_code gone;
  for (std::filesystem::directory_iterator at(folder, gone), end; !gone && at != end;
       at.increment(gone)) {
    const std::string path = at->path().string();
    const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
    if (const auto number = number_in(name, before, after)) call(path, *number);
  }
}

std::vector<NumaNode> nodes_below(const std::string& root) {
  std::vector<NumaNode> nodes;
  each_numbered(root + "/sys/devices/system/node", "node", {},
                [&](const std::string& path, std::uint64_t number) {
                  const std::string text = read_text(path + "/meminfo");
                  const NumaNode node{.number = static_cast<std::uint32_t>(number),
                                      .bytes = bytes_of(text, "MemTotal:"),
                                      .free_bytes = bytes_of(text, "MemFree:")};
                  if (node.bytes != 0) nodes.push_back(node);
                });
  std::ranges::sort(nodes, {}, &NumaNode::number);
  return nodes;
}

std::vector<HugePages> huge_pages_below(const std::string& root) {
  std::vector<HugePages> sizes;
  each_numbered(
      root + "/sys/kernel/mm/hugepages", "hugepages-", "kB",
      [&](const std::string& path, std::uint64_t kilobytes) {
        sizes.push_back({.page_bytes = kilobytes * kKilo,
                         .pages = read_number(path + "/nr_hugepages").value_or(0),
                         .free_pages = read_number(path + "/free_hugepages").value_or(0)});
      });
  std::ranges::sort(sizes, {}, &HugePages::page_bytes);
  return sizes;
}

TransparentHugePages transparent_below(const std::string& root) {
  const std::string text = read_text(root + "/sys/kernel/mm/transparent_hugepage/enabled");
  if (text.contains("[always]")) return TransparentHugePages::Always;
  if (text.contains("[madvise]")) return TransparentHugePages::Advised;
  return text.empty() ? TransparentHugePages::Absent : TransparentHugePages::Never;
}

std::uint32_t own_processors() noexcept {
  // For more processors than a fixed set has room for, the call fails.
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    return static_cast<std::uint32_t>(CPU_COUNT(&set));
  }
  return static_cast<std::uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

// Of one group, in thousandths of a processor; 0: none.
std::uint64_t quota_of(const std::string& folder, CgroupVersion version) {
  std::optional<std::uint64_t> quota;
  std::optional<std::uint64_t> period;
  if (version == CgroupVersion::One) {
    quota = read_number(folder + "/cpu.cfs_quota_us");  // -1 says none
    period = read_number(folder + "/cpu.cfs_period_us");
  } else {
    const std::string text = read_text(folder + "/cpu.max");
    std::string_view rest = text;
    quota = leading_number(take_part(rest, ' '));
    period = leading_number(rest);
  }
  if (!quota || !period || *period == 0) return 0;
  return std::max<std::uint64_t>(1, *quota * kThousandths / *period);
}

std::uint64_t tightest_quota(const std::string& root) {
  std::uint64_t tightest = 0;
  if (const auto folder = CgroupFolder::find("cpu", root)) {
    folder->each([&](const std::string& group) {
      const std::uint64_t quota = quota_of(group, folder->version);
      if (quota != 0 && (tightest == 0 || quota < tightest)) tightest = quota;
    });
  }
  return tightest;
}

}  // namespace

std::string_view to_string(TransparentHugePages pages) noexcept {
  switch (pages) {
    case TransparentHugePages::Absent:
      return "absent";
    case TransparentHugePages::Never:
      return "never";
    case TransparentHugePages::Advised:
      return "madvise";
    case TransparentHugePages::Always:
      return "always";
  }
  return "unknown";
}

std::uint64_t Platform::memory_bytes() const noexcept {
  return std::min(physical_bytes, cgroup_bytes);
}

std::uint32_t Platform::usable_processors() const noexcept {
  const std::uint64_t bought = (processor_quota + kThousandths - 1) / kThousandths;
  const std::uint64_t usable =
      bought == 0 ? processors : std::min<std::uint64_t>(processors, bought);
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(1, usable));
}

Platform detect_platform(const std::string& root) {
  Platform platform;
  const std::string memory = read_text(root + "/proc/meminfo");
  platform.physical_bytes = bytes_of(memory, "MemTotal:");
  platform.available_bytes = bytes_of(memory, "MemAvailable:");
  if (const auto cgroup = CgroupMemory::find(root)) {
    platform.cgroup = cgroup->folder().version;
    platform.cgroup_bytes = cgroup->read().limit;
  }
  platform.processors = own_processors();
  platform.processor_quota = tightest_quota(root);
  platform.nodes = nodes_below(root);
  platform.huge_pages = huge_pages_below(root);
  platform.transparent = transparent_below(root);
  platform.tells_stalls = ::access(stall_file(root).c_str(), F_OK) == 0;
  return platform;
}

}  // namespace resmgr::budget
