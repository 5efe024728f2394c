// SPDX-License-Identifier: Apache-2.0
//
// Selection: the resources of a manager's domain of which any will do.
//
// What it is: a Selector, and the list of what it describes, which is made anew when resources were
// registered or unregistered since: a look at all of them then, one load otherwise. What it is not:
// a hold, or a promise that there will be one.
//
// Lifetime: made by ResourceManager::select(); may outlive the manager, and selects nothing then.
// Thread-safety: none; one for each thread, or a lock.
//
//   auto channels = manager->select({.class_name = "dma-channel", .numa_node = 1}).value();
//   auto hold = manager->acquire_any(channels, {.mode = hal::AcquisitionMode::Blocking});
//   use(hold->handle());                                  // one of them
#pragma once

#include <memory>
#include <vector>

#include <hal/export.hpp>
#include <hal/resource.hpp>

#include "resmgr/base/selector.hpp"

namespace resmgr::client {
class Candidates;
}  // namespace resmgr::client

namespace hal {

using resmgr::SelectionOrder;
using resmgr::Selector;

class HAL_EXPORT Selection {
 public:
  Selection(Selection&&) noexcept;
  Selection& operator=(Selection&&) noexcept;
  Selection(const Selection&) = delete;
  Selection& operator=(const Selection&) = delete;
  ~Selection();

  /// What it describes now, in the order in which they are tried. Errors: Disconnected, System
  /// (ENOMEM).
  [[nodiscard]] Result<std::vector<Handle>> candidates();

 private:
  friend class AsyncAcquire;
  friend class ResourceManager;
  explicit Selection(std::unique_ptr<resmgr::client::Candidates> candidates) noexcept;

  std::unique_ptr<resmgr::client::Candidates> candidates_;
};

}  // namespace hal
