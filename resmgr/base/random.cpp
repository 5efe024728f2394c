// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/random.hpp"

#include <sys/random.h>

#include "resmgr/base/clock.hpp"

namespace resmgr {

std::uint64_t random_id() noexcept {
  std::uint64_t id = 0;
  // Without entropy (early boot) the time tells domains of one machine apart.
  if (::getrandom(&id, sizeof(id), GRND_NONBLOCK) != sizeof(id)) id = monotonic_ns();
  return id;
}

}  // namespace resmgr
