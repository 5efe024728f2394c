// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "drivers/gpu/backend.hpp"

namespace drivers::gpu {
namespace {

constexpr std::array<const Backend*, 1> kBackends{
    &kMemfdBackend,
};

}  // namespace

Storage::~Storage() = default;

std::span<const Backend* const> backends() noexcept { return kBackends; }

hal::Result<const Backend*> choose_backend(std::string_view name) {
  for (const Backend* backend : kBackends) {
    if (name.empty() ? backend->probe().has_value() : backend->name == name) return backend;
  }
  if (name.empty()) return resmgr::fail(hal::ErrorCode::Unsupported, "no buffers on this machine");
  return resmgr::fail(hal::ErrorCode::NotFound, "no buffer backend of that name");
}

}  // namespace drivers::gpu
