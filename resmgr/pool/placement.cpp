// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/placement.hpp"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "resmgr/abi/description.hpp"
#include "resmgr/base/mapping.hpp"

namespace resmgr::pool {
namespace {

constexpr std::size_t kNodes = kMaxNumaNode + 1;
constexpr std::uintptr_t kPage = 4096;

class SystemCalls final : public MemoryCalls {
 public:
  int bind(std::span<std::byte> memory, int mode,
           std::span<const std::uint64_t> nodes) noexcept override {
    // The kernel counts one bit less than it is told.
    const std::size_t bits = nodes.empty() ? 0 : nodes.size() * 64 + 1;
    return outcome(::syscall(SYS_mbind, memory.data(), memory.size(), mode, nodes.data(), bits, 0));
  }
  int advise(std::span<std::byte> memory, int advice) noexcept override {
    return outcome(::madvise(memory.data(), memory.size(), advice));
  }
  int lock(std::span<std::byte> memory) noexcept override {
    return outcome(::mlock(memory.data(), memory.size()));
  }
  void unlock(std::span<std::byte> memory) noexcept override {
    (void)::munlock(memory.data(), memory.size());
  }
  int nodes_of(std::span<void* const> pages, std::span<int> nodes) noexcept override {
    return outcome(
        ::syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, nodes.data(), 0));
  }

 private:
  static int outcome(long result) noexcept { return result == 0 ? 0 : errno; }
};

int mode_of(NumaPolicy policy) noexcept {
  switch (policy) {
    case NumaPolicy::Prefer:
      return MPOL_PREFERRED;
    case NumaPolicy::Bind:
      return MPOL_BIND;
    case NumaPolicy::Interleave:
      return MPOL_INTERLEAVE;
    case NumaPolicy::Local:
      break;
  }
  return MPOL_LOCAL;
}

// Whole pages that have a byte in `memory`.
std::span<std::byte> pages_around(std::span<std::byte> memory) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::size_t before = begin % kPage;
  const std::size_t bytes = (before + memory.size() + kPage - 1) / kPage * kPage;
  return {memory.data() - before, bytes};
}

}  // namespace

MemoryCalls& MemoryCalls::of_the_system() noexcept {
  static SystemCalls calls;
  return calls;
}

Result<void> check_placement(const Placement& placement) noexcept {
  const std::size_t count = placement.nodes.size();
  const bool good_count = placement.numa == NumaPolicy::Local    ? count == 0
                          : placement.numa == NumaPolicy::Prefer ? count == 1
                                                                 : count != 0;
  const bool good_nodes = std::ranges::all_of(placement.nodes, [](std::int32_t node) {
    return node >= 0 && static_cast<std::size_t>(node) < kNodes;
  });
  if (!good_count || !good_nodes) {
    return fail(ErrorCode::InvalidArgument, "NUMA nodes of a pool");
  }
  return {};
}

Result<HugePages> apply_policy(std::span<std::byte> memory, const Placement& placement,
                               bool reserved, MemoryCalls& calls) noexcept {
  if (auto good = check_placement(placement); !good)
    return std::unexpected(std::move(good.error()));
  // Local is how the kernel does it by itself.
  if (placement.numa != NumaPolicy::Local) {
    std::array<std::uint64_t, kNodes / 64> nodes{};
    for (const std::int32_t node : placement.nodes) {
      const auto number = static_cast<std::size_t>(node);
      nodes[number / 64] |= std::uint64_t{1} << number % 64;
    }
    const int error = calls.bind(memory, mode_of(placement.numa), nodes);
    // What prefers a place takes another one where the kernel knows no places.
    const bool forgiven = error == ENOSYS && placement.numa != NumaPolicy::Bind;
    if (error == EINVAL) return fail(ErrorCode::InvalidArgument, "no such NUMA node");
    if (error != 0 && !forgiven) return fail_errno(error, "mbind");
  }
  if (reserved) return HugePages::Reserved;
  if (placement.huge_pages == HugePages::None) return HugePages::None;
  return calls.advise(memory, MADV_HUGEPAGE) == 0 ? HugePages::Transparent : HugePages::None;
}

// In this order, and after the policy: pages stay where they were made.
Result<void> make_ready(std::span<std::byte> memory, const Placement& placement,
                        MemoryCalls& calls) noexcept {
  if (memory.empty() || (!placement.prefault && !placement.lock)) return {};
  const std::span<std::byte> pages = pages_around(memory);
  // A hint to old kernels, which leave it to the faults.
  const int error = calls.advise(pages, MADV_POPULATE_WRITE);
  if (error != 0 && error != EINVAL) return fail_errno(error, "MADV_POPULATE_WRITE");
  if (!placement.lock) return {};
  if (const int refused = calls.lock(pages); refused != 0) return fail_errno(refused, "mlock");
  return {};
}

Result<NodePages> count_pages(std::span<std::byte> memory, MemoryCalls& calls) {
  constexpr std::size_t kAtOnce = 1024;
  NodePages counted;
  std::vector<void*> pages;
  std::vector<int> nodes;
  const std::span<std::byte> whole = pages_around(memory);
  for (std::size_t at = 0; at < whole.size();) {
    pages.clear();
    for (; at < whole.size() && pages.size() < kAtOnce; at += kPage) {
      pages.push_back(whole.data() + at);
    }
    nodes.assign(pages.size(), -ENOENT);
    if (const int error = calls.nodes_of(pages, nodes); error != 0) {
      return fail_errno(error, "move_pages");
    }
    for (const int node : nodes) {
      if (node < 0) {
        ++counted.untouched;
        continue;
      }
      const auto number = static_cast<std::size_t>(node);
      if (number >= counted.by_node.size()) counted.by_node.resize(number + 1);
      ++counted.by_node[number];
    }
  }
  return counted;
}

}  // namespace resmgr::pool
