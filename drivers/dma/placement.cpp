// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/placement.hpp"

#include <numa.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace drivers::dma {
namespace {

/// Pages asked about for each buffer: enough for a majority, few enough for one short system call.
constexpr std::size_t kSamples = 16;

struct FreeMask {
  void operator()(bitmask* mask) const noexcept { ::numa_bitmask_free(mask); }
};

class SystemPlacement final : public Placement {
 public:
  SystemPlacement() {
    if (::numa_available() < 0 || ::numa_max_node() == 0) return;
    // Binding must not let a thread out of what taskset or a cpuset allows.
    CPU_ZERO(&allowed_);
    usable_ = ::sched_getaffinity(0, sizeof(allowed_), &allowed_) == 0;
    page_ = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  }

  int node_of(std::span<const std::byte> memory) const override {
    if (!usable_ || memory.empty()) return kNoNode;
    const auto first = reinterpret_cast<std::uintptr_t>(memory.data()) / page_;
    const auto last = (reinterpret_cast<std::uintptr_t>(memory.data()) + memory.size() - 1) / page_;
    const std::size_t pages = last - first + 1;
    const std::size_t count = std::min(pages, kSamples);
    std::array<void*, kSamples> addresses{};
    std::array<int, kSamples> nodes{};
    for (std::size_t i = 0; i < count; ++i) {
      // The kernel only looks the page up; it takes the address without const.
      // NOLINTNEXTLINE(performance-no-int-to-ptr): an address to ask about, never followed
      addresses[i] = reinterpret_cast<void*>((first + pages / count * i) * page_);
    }
    if (::numa_move_pages(0, count, addresses.data(), nullptr, nodes.data(), 0) != 0) {
      return kNoNode;
    }
    NodeVote vote;
    // Pages that were never touched have a negative errno for a node.
    for (std::size_t i = 0; i < count; ++i) vote.add(nodes[i], 1);
    return vote.winner();
  }

  bool run_on(pthread_t thread, int node) const override {
    if (!usable_ || node < 0 || node > ::numa_max_node()) return false;
    const std::unique_ptr<bitmask, FreeMask> cpus(::numa_allocate_cpumask());
    if (!cpus || ::numa_node_to_cpus(node, cpus.get()) != 0) return false;
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (::numa_bitmask_isbitset(cpus.get(), cpu) != 0 && CPU_ISSET(cpu, &allowed_)) {
        CPU_SET(cpu, &wanted);
      }
    }
    return CPU_COUNT(&wanted) > 0 && ::pthread_setaffinity_np(thread, sizeof(wanted), &wanted) == 0;
  }

 private:
  bool usable_ = false;
  std::size_t page_ = 0;
  cpu_set_t allowed_{};
};

}  // namespace

Placement::~Placement() = default;

std::shared_ptr<const Placement> Placement::system() {
  return std::make_shared<const SystemPlacement>();
}

void NodeVote::add(int node, std::uint64_t bytes) {
  if (node < 0) return;
  const auto index = static_cast<std::size_t>(node);
  if (index >= bytes_.size()) bytes_.resize(index + 1);
  bytes_[index] += bytes;
}

int NodeVote::winner() const noexcept {
  const auto best = std::ranges::max_element(bytes_);
  if (best == bytes_.end() || *best == 0) return kNoNode;
  return static_cast<int>(std::distance(bytes_.begin(), best));
}

}  // namespace drivers::dma
