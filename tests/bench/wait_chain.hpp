// SPDX-License-Identifier: Apache-2.0
//
// Waits without threads: contexts whose wait nodes stand in a lock region as those of sleeping
// threads do, so that chains of any length can be walked by one thread.
//
// What it is: a lock region, an engine, and helpers that publish a node the way a waiting acquire
// does (fields, the context's list, the word, the queue, the WAITERS flag). What it is not: a
// replacement for waiting; nobody here is ever granted anything. It stands on the engine itself,
// because the public interface has no wait without a thread. Lifetime: all its contexts end with
// it. Thread-safety: one thread.
//
//   WaitRegion region(1'000'000);
//   auto* first = region.chain(16);            // waits through 16 edges
//   region.graph().find_cycle(first->scratch, first->id);
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "resmgr/lock/context_table.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/region.hpp"

namespace bench {

class WaitRegion {
 public:
  /// A region with so many registered resources, none held. Throws std::runtime_error.
  explicit WaitRegion(std::uint32_t resources);
  WaitRegion(const WaitRegion&) = delete;
  WaitRegion& operator=(const WaitRegion&) = delete;
  ~WaitRegion();

  /// A context that waits for one that waits ... for one that does not: so many edges, over
  /// resources that lie anywhere in the table. Returns the first.
  [[nodiscard]] resmgr::lock::Context& chain(std::uint32_t edges);
  /// So many contexts that wait in queues of `each`, apart from all chains.
  void crowd(std::uint32_t waiters, std::uint32_t each);

  [[nodiscard]] resmgr::lock::WaitGraph& graph() noexcept { return engine_->graph(); }

 private:
  class Silent;
  [[nodiscard]] resmgr::lock::Context& open_context();
  [[nodiscard]] resmgr::Handle next_resource();
  void hold(resmgr::lock::Context& context, resmgr::Handle handle);
  void wait(resmgr::lock::Context& context, resmgr::Handle handle);

  std::unique_ptr<Silent> names_;
  std::unique_ptr<resmgr::lock::LockRegion> region_;
  std::unique_ptr<resmgr::lock::LockEngine> engine_;
  std::unique_ptr<resmgr::lock::ContextTable> contexts_;
  std::vector<std::uint32_t> unused_;  ///< resources, in random order
};

}  // namespace bench
