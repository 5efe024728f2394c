// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/budgets.hpp"

namespace resmgr {

std::string_view to_string(ResourcePressure pressure) noexcept {
  switch (pressure) {
    case ResourcePressure::Low:
      return "low";
    case ResourcePressure::Medium:
      return "medium";
    case ResourcePressure::High:
      return "high";
    case ResourcePressure::Critical:
      return "critical";
  }
  return "unknown";
}

}  // namespace resmgr
