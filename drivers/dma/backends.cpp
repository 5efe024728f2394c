// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/backends.hpp"

#include <algorithm>
#include <array>

#include "drivers/dma/software.hpp"

namespace drivers::dma {
namespace {

constexpr std::array kBackends = {
    &kSoftwareBackend,
};

}  // namespace

std::span<const Backend* const> backends() noexcept { return kBackends; }

const Backend* find_backend(std::string_view name) noexcept {
  const auto* const found = std::ranges::find(kBackends, name, &Backend::name);
  return found == kBackends.end() ? nullptr : *found;
}

}  // namespace drivers::dma
