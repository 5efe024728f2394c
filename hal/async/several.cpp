// SPDX-License-Identifier: Apache-2.0
//
// Several at once on a ring: the steps of AsyncAcquireAll, each of which is a wait of the ring's.
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include <hal/ring.hpp>

#include "hal/async/all_steps.hpp"

namespace hal {

using resmgr::fail;

Ring::Several::Several(Ring& ring, ResourceManager& manager, std::span<const Wanted> wanted,
                       const AcquireOptions& options, std::source_location where) noexcept
    : steps_(AsyncAcquireAll::Steps::make(manager, wanted, options, where, ring.path(), wait)) {}

Ring::Several::~Several() = default;

bool Ring::Several::is_all() noexcept { return !steps_ || !steps_->goes_on(wait); }

void Ring::Several::cancel() noexcept {
  if (steps_) steps_->cancelled = true;
  (void)wait.cancel();
}

Result<std::vector<ScopedResource>> Ring::Several::take() noexcept {
  if (!is_all()) return fail(ErrorCode::WouldBlock, "it waits");
  if (!steps_) return resmgr::fail_errno(ENOMEM, "acquire_all");
  return steps_->take();
}

}  // namespace hal
