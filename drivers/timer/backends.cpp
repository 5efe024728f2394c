// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "drivers/timer/backend.hpp"

namespace drivers::timer {
namespace {

constexpr std::array<const Backend*, 1> kBackends{
    &kTimerfdBackend,
};

}  // namespace

Device::~Device() = default;

std::span<const Backend* const> backends() noexcept { return kBackends; }

hal::Result<const Backend*> choose_backend(System& system, std::string_view name) {
  for (const Backend* backend : kBackends) {
    if (name.empty() ? backend->probe(system).has_value() : backend->name == name) return backend;
  }
  if (name.empty()) return resmgr::fail(hal::ErrorCode::Unsupported, "no timer on this machine");
  return resmgr::fail(hal::ErrorCode::NotFound, "no timer backend of that name");
}

}  // namespace drivers::timer
