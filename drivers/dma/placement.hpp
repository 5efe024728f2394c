// SPDX-License-Identifier: Apache-2.0
//
// Placement: where memory lies, and where a thread may run: all that the software engine asks the
// system about NUMA.
//
// What it is: the seam that tests replace by a machine of their choice. What it is not: a policy;
// which node to prefer is decided by NodeVote. Where there is one node, or the kernel or container
// does not tell, every answer is "unknown", and nothing is bound.
//
// Thread-safety: all functions may be called from any thread.
//
//   const int node = placement.node_of(memory);
//   if (node != kNoNode) placement.run_on(worker.native_handle(), node);
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace drivers::dma {

inline constexpr int kNoNode = -1;

class Placement {
 public:
  Placement() = default;
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;
  virtual ~Placement();

  /// The node that most of `memory` is on, judged from some of its pages; kNoNode if none of these
  /// has been touched yet, or the machine does not tell. Touches nothing.
  [[nodiscard]] virtual int node_of(std::span<const std::byte> memory) const = 0;
  /// Confines `thread` to those CPUs of `node` that the process was allowed to use. False if there
  /// are none or the system refuses; the thread then runs where it ran.
  virtual bool run_on(pthread_t thread, int node) const = 0;

  /// libnuma's view of this machine.
  [[nodiscard]] static std::shared_ptr<const Placement> system();
};

/// Which node a channel should work on: the one with most of its attached memory. Not synchronised.
class NodeVote {
 public:
  /// Counts `bytes` of memory for `node`; kNoNode counts for none.
  void add(int node, std::uint64_t bytes);
  /// kNoNode without any memory of a known node. Of equals, the lowest.
  [[nodiscard]] int winner() const noexcept;

 private:
  std::vector<std::uint64_t> bytes_;  ///< by node
};

}  // namespace drivers::dma
