// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/types.hpp"

#include <array>
#include <cstddef>

namespace resmgr {
namespace {

template <std::size_t N, typename E>
std::string_view pick(const std::array<std::string_view, N>& names, E value) noexcept {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : std::string_view("unknown");
}

constexpr std::array<std::string_view, 6> kTypes{"hardware",      "memory",   "performance",
                                                 "communication", "platform", "custom"};
constexpr std::array<std::string_view, 5> kPriorities{"background", "low", "normal", "high",
                                                      "critical"};
constexpr std::array<std::string_view, 6> kPatterns{"unspecified", "sequential", "random",
                                                    "read-mostly", "write-once", "streaming"};
constexpr std::array<std::string_view, 4> kModes{"non-blocking", "blocking", "timeout",
                                                 "emergency"};
constexpr std::array<std::string_view, 8> kStates{"deallocated", "allocated",  "ready",
                                                  "active",      "locked",     "pending-cleanup",
                                                  "orphaned",    "quarantined"};

}  // namespace

std::string_view to_string(ResourceType type) noexcept { return pick(kTypes, type); }
std::string_view to_string(ResourcePriority priority) noexcept {
  return pick(kPriorities, priority);
}
std::string_view to_string(AccessPattern pattern) noexcept { return pick(kPatterns, pattern); }
std::string_view to_string(AcquisitionMode mode) noexcept { return pick(kModes, mode); }
std::string_view to_string(Lifecycle state) noexcept { return pick(kStates, state); }

}  // namespace resmgr
