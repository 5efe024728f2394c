// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/thread_contexts.hpp"

#include <algorithm>
#include <utility>

#include "resmgr/client/domain.hpp"

namespace resmgr::client {

ThreadContexts& ThreadContexts::of_this_thread() {
  static thread_local ThreadContexts contexts;
  return contexts;
}

ThreadContexts::~ThreadContexts() {
  for (const Entry& entry : entries_) {
    if (const auto domain = entry.owner.lock()) {
      domain->close_context(*entry.context, "its thread ended");
    }
  }
  last_context = {};
}

lock::Context* ThreadContexts::find(std::uint64_t domain) const noexcept {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.domain == domain; });
  return found == entries_.end() ? nullptr : found->context;
}

void ThreadContexts::add(std::uint64_t domain, std::weak_ptr<Domain> owner,
                         lock::Context* context) {
  std::erase_if(entries_, [](const Entry& entry) { return entry.owner.expired(); });
  entries_.push_back({domain, std::move(owner), context});
}

}  // namespace resmgr::client
