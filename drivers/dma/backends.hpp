// SPDX-License-Identifier: Apache-2.0
//
// The backends that were built in, in one visible array.
//
// What it is: the list, best first, and a lookup by name. What it is not: a registry; nothing adds
// itself. Thread-safety: constants.
//
//   const Backend* backend = find_backend("software");
#pragma once

#include <span>
#include <string_view>

#include "drivers/dma/backend.hpp"

namespace drivers::dma {

[[nodiscard]] std::span<const Backend* const> backends() noexcept;
/// Null if there is none of that name.
[[nodiscard]] const Backend* find_backend(std::string_view name) noexcept;

}  // namespace drivers::dma
