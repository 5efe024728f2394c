// SPDX-License-Identifier: Apache-2.0
//
// Profile: how large a domain is made on a machine: tables, budgets, pools.
//
// What it is: a pure function of a Platform, and one table of what it chooses by, at the top of
// profile.cpp. What it is not: applied to anything here; nor a limit: who knows better says so,
// value by value. An empty domain of the tiny profile and its daemon have room in 16 MiB. The
// static profile has the tables of whichever other one can be paid for as a whole: all of it is
// allocated when the domain starts, and nothing afterwards.
//
// Lifetime and thread-safety: plain values.
//
//   const Platform platform = detect_platform();
//   const Profile profile = make_profile(fitting_profile(platform), platform);
//   auto region = LockRegion::create(profile.capacities, identity);
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/base/budgets.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/budget/platform.hpp"

namespace resmgr::budget {

enum class ProfileKind : std::uint8_t { Tiny = 0, Small = 1, Medium = 2, Large = 3, Static = 4 };
inline constexpr unsigned kProfileKinds = 5;

/// Lower case: tiny, small, medium, large, static.
[[nodiscard]] std::string_view to_string(ProfileKind kind) noexcept;
[[nodiscard]] std::optional<ProfileKind> profile_named(std::string_view name) noexcept;

/// What a pool of blocks is like whose maker says nothing else.
struct PoolChoice {
  std::uint64_t block_bytes = 0;
  std::uint64_t first_blocks = 0;  ///< that it begins with
  std::uint64_t most_blocks = 0;   ///< that it may grow to
  bool huge_pages = false;         ///< blocks lie in huge pages, where there are any left
  bool by_node = false;            ///< blocks of each NUMA node are kept apart

  friend bool operator==(const PoolChoice&, const PoolChoice&) noexcept = default;
};

struct Profile {
  ProfileKind kind = ProfileKind::Small;
  Capacities capacities = {};
  std::array<ResourceBudget, kResourceTypes> budgets = {};  ///< by number of ResourceType
  PoolChoice pool = {};
  bool allocates_at_start = false;  ///< and never afterwards

  [[nodiscard]] const ResourceBudget& budget(ResourceType type) const noexcept {
    return budgets[static_cast<std::size_t>(type)];
  }
  friend bool operator==(const Profile&, const Profile&) = default;
};

/// The one of tiny to large that is meant for so much memory.
[[nodiscard]] ProfileKind fitting_profile(const Platform& platform) noexcept;

[[nodiscard]] Profile make_profile(ProfileKind kind, const Platform& platform) noexcept;

/// What the maker of a domain says: no profile, the one that fits the machine, or which.
enum class ProfileChoice : std::uint8_t { None, Auto, Tiny, Small, Medium, Large, Static };
/// Nothing for None.
[[nodiscard]] std::optional<Profile> make_profile(ProfileChoice choice,
                                                  const Platform& platform) noexcept;

/// Memory that the tables of both regions take when every entry is in use, without headers.
[[nodiscard]] std::uint64_t table_bytes(const Capacities& capacities) noexcept;

}  // namespace resmgr::budget
