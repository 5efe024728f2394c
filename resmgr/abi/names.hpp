// SPDX-License-Identifier: Apache-2.0
//
// Names: which texts may name a resource, a class, a driver or the key of a pair.
//
// What it is: the alphabet [A-Za-z0-9._/-] and the lengths. What it is not: a look-up.
// Lifetime and thread-safety: pure functions.
//
//   if (!is_valid_name(name)) return fail(ErrorCode::InvalidName);
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "resmgr/abi/registry_layout.h"

namespace resmgr {

inline constexpr std::size_t kMaxNameBytes = RM_NAME_BYTES - 1;
inline constexpr std::size_t kMaxTagBytes = RM_TAG_BYTES - 1;
inline constexpr std::size_t kMaxKeyBytes = RM_PAIR_KEY_BYTES - 1;
inline constexpr std::size_t kMaxValueBytes = RM_PAIR_VALUE_BYTES - 1;

/// The name of a class or driver, zero-terminated.
using Tag = std::array<char, RM_TAG_BYTES>;

/// Whether all of `text` is in [A-Za-z0-9._/-].
[[nodiscard]] bool is_in_alphabet(std::string_view text) noexcept;

/// 1 to 95 bytes of the alphabet.
[[nodiscard]] bool is_valid_name(std::string_view name) noexcept;

/// 1 to 31 bytes of the alphabet.
[[nodiscard]] bool is_valid_tag(std::string_view tag) noexcept;

}  // namespace resmgr
