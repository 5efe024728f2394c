// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/profile.hpp"

#include <algorithm>
#include <cstddef>

#include "resmgr/abi/budget_layout.h"
#include "resmgr/abi/registry_layout.h"
#include "resmgr/abi/wait_layout.h"

namespace resmgr::budget {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;

// ---- everything that is chosen, in one place ---------------------------------

struct Choice {
  std::uint64_t memory_below;  ///< of the platform, for which it is meant
  Capacities capacities;
  std::uint64_t block_bytes;  ///< of a pool
  std::uint64_t first_blocks;
};

// In the order of ProfileKind, without Static.
constexpr std::array<Choice, 4> kChoices{{
    // Tiny
    {.memory_below = 128 * kMiB,
     .capacities = {.slots = 1024,
                    .contexts = 64,
                    .clients = 16,
                    .nodes = 256,
                    .cells = 512,
                    .classes = 64,
                    .drivers = 64,
                    .pairs = 1024,
                    .dependencies = 512,
                    .shares = 512},
     .block_bytes = 4 * kKiB,
     .first_blocks = 16},
    // Small
    {.memory_below = 2 * kGiB,
     .capacities = {.slots = 16 * 1024,
                    .contexts = 512,
                    .clients = 64,
                    .nodes = 4096,
                    .cells = 8192,
                    .classes = 256,
                    .drivers = 256,
                    .pairs = 16 * 1024,
                    .dependencies = 8192,
                    .shares = 8192},
     .block_bytes = 16 * kKiB,
     .first_blocks = 32},
    // Medium
    {.memory_below = 32 * kGiB,
     .capacities = {.slots = 256 * 1024,
                    .contexts = 4096,
                    .clients = 256,
                    .nodes = 32 * 1024,
                    .cells = 64 * 1024,
                    .classes = RM_MAX_CLASSES,
                    .drivers = 1024,
                    .pairs = 128 * 1024,
                    .dependencies = 128 * 1024,
                    .shares = 128 * 1024},
     .block_bytes = 64 * kKiB,
     .first_blocks = 32},
    // Large
    {.memory_below = ~std::uint64_t{0},
     .capacities = {.slots = 1024 * 1024,
                    .contexts = 16 * 1024,
                    .clients = 1024,
                    .nodes = 128 * 1024,
                    .cells = 256 * 1024,
                    .classes = RM_MAX_CLASSES,
                    .drivers = RM_MAX_DRIVERS,
                    .pairs = 512 * 1024,
                    .dependencies = 512 * 1024,
                    .shares = 512 * 1024},
     .block_bytes = 64 * kKiB,
     .first_blocks = 128},
}};

/// Percentages of the platform's memory for Memory, of the domain's slots for what is counted.
struct Share {
  unsigned most;
  unsigned reserve;
};
// In the order of ResourceType. A rate is nothing that a platform has: no budget of Performance.
constexpr std::array<Share, kResourceTypes> kShares{{
    {.most = 20, .reserve = 5},   // Hardware
    {.most = 60, .reserve = 10},  // Memory
    {.most = 0, .reserve = 0},    // Performance
    {.most = 20, .reserve = 5},   // Communication
    {.most = 20, .reserve = 5},   // Platform
    {.most = 20, .reserve = 5},   // Custom
}};

/// Of the budget of Memory, what one pool may grow to.
constexpr unsigned kPoolPercent = 25;
/// Of the platform's memory, what the tables of a static domain may take.
constexpr unsigned kStaticTablesPercent = 5;
/// Blocks of smaller machines lie in common pages: a huge one would be most of a pool.
constexpr ProfileKind kHugePagesFrom = ProfileKind::Medium;

// -------------------------------------------------------------------------------

constexpr std::array<std::string_view, kProfileKinds> kNames{"tiny", "small", "medium", "large",
                                                             "static"};

constexpr std::uint64_t part_of(std::uint64_t whole, unsigned percent) noexcept {
  return whole / 100 * percent + whole % 100 * percent / 100;
}

static_assert(static_cast<unsigned>(ProfileChoice::Static) -
                      static_cast<unsigned>(ProfileChoice::Tiny) ==
                  static_cast<unsigned>(ProfileKind::Static),
              "in the same order");

const Choice& choice_of(ProfileKind kind) noexcept {
  return kChoices[std::min(static_cast<std::size_t>(kind), kChoices.size() - 1)];
}

// The largest one whose tables can be paid for as a whole.
ProfileKind payable(std::uint64_t memory) noexcept {
  ProfileKind kind = ProfileKind::Large;
  while (kind != ProfileKind::Tiny &&
         table_bytes(choice_of(kind).capacities) > part_of(memory, kStaticTablesPercent)) {
    kind = static_cast<ProfileKind>(static_cast<std::uint8_t>(kind) - 1);
  }
  return kind;
}

bool has_huge_pages(const Platform& platform) noexcept {
  const bool set_aside = std::ranges::any_of(
      platform.huge_pages, [](const HugePages& size) { return size.free_pages != 0; });
  return set_aside || platform.transparent >= TransparentHugePages::Advised;
}

}  // namespace

std::string_view to_string(ProfileKind kind) noexcept {
  const auto number = static_cast<std::size_t>(kind);
  return number < kNames.size() ? kNames[number] : "unknown";
}

std::optional<ProfileKind> profile_named(std::string_view name) noexcept {
  const auto* const found = std::ranges::find(kNames, name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<ProfileKind>(found - kNames.begin());
}

ProfileKind fitting_profile(const Platform& platform) noexcept {
  const std::uint64_t memory = platform.memory_bytes();
  std::size_t kind = 0;
  while (kind + 1 < kChoices.size() && memory >= kChoices[kind].memory_below) ++kind;
  return static_cast<ProfileKind>(kind);
}

Profile make_profile(ProfileKind kind, const Platform& platform) noexcept {
  const std::uint64_t memory = platform.memory_bytes();
  const ProfileKind size = kind == ProfileKind::Static ? payable(memory) : kind;
  const Choice& choice = choice_of(size);
  Profile profile{.kind = kind,
                  .capacities = choice.capacities,
                  .budgets = {},
                  .pool = {},
                  .allocates_at_start = kind == ProfileKind::Static};
  for (unsigned type = 0; type < kResourceTypes; ++type) {
    const bool is_memory = static_cast<ResourceType>(type) == ResourceType::Memory;
    const std::uint64_t whole = is_memory ? memory : choice.capacities.slots;
    if (kShares[type].most == 0 || whole == 0) continue;
    profile.budgets[type].max = part_of(whole, kShares[type].most);
    profile.budgets[type].reserved = part_of(whole, kShares[type].reserve);
  }
  const std::uint64_t pool = part_of(
      part_of(memory, kShares[static_cast<std::size_t>(ResourceType::Memory)].most), kPoolPercent);
  const std::uint64_t most = std::max(pool / choice.block_bytes, choice.first_blocks);
  profile.pool = {.block_bytes = choice.block_bytes,
                  .first_blocks = profile.allocates_at_start ? most : choice.first_blocks,
                  .most_blocks = most,
                  .huge_pages = size >= kHugePagesFrom && has_huge_pages(platform),
                  .by_node = platform.nodes.size() > 1};
  return profile;
}

std::optional<Profile> make_profile(ProfileChoice choice, const Platform& platform) noexcept {
  if (choice == ProfileChoice::None) return {};
  if (choice == ProfileChoice::Auto) return make_profile(fitting_profile(platform), platform);
  constexpr auto kFirst = static_cast<unsigned>(ProfileChoice::Tiny);
  return make_profile(static_cast<ProfileKind>(static_cast<unsigned>(choice) - kFirst), platform);
}

std::uint64_t table_bytes(const Capacities& c) noexcept {
  constexpr std::uint64_t kBits = 8;
  const std::uint64_t slots =
      std::uint64_t{c.slots} *
          (sizeof(rm_slot) + sizeof(rm_entry) + sizeof(std::uint64_t) + sizeof(rm_slot_waits)) +
      std::uint64_t{2} * index_entries_for(c.slots) * sizeof(rm_index_cell);
  const std::uint64_t contexts =
      std::uint64_t{c.contexts} * (sizeof(rm_context) + RM_TRACE_RECORDS * sizeof(rm_trace_record));
  const std::uint64_t waits = std::uint64_t{c.nodes} * sizeof(rm_node) + 2 * (c.nodes / kBits) +
                              std::uint64_t{c.cells} * sizeof(rm_cell) + c.cells / kBits;
  const std::uint64_t order = std::uint64_t{RM_MAX_CLASSES} * (RM_MAX_CLASSES / kBits) +
                              std::uint64_t{RM_ORDER_EDGES} * sizeof(rm_order_edge);
  const std::uint64_t records = std::uint64_t{c.pairs} * sizeof(rm_pair) +
                                std::uint64_t{c.dependencies} * sizeof(rm_dependency) +
                                std::uint64_t{c.shares} * sizeof(rm_share);
  const std::uint64_t names = (std::uint64_t{c.classes} + c.drivers) * sizeof(rm_tag);
  const std::uint64_t clients =
      std::uint64_t{c.clients} * sizeof(rm_client) +
      std::uint64_t{accounts_for(c.clients)} * (sizeof(rm_account) + sizeof(rm_credits));
  const std::uint64_t budgets = std::uint64_t{c.drivers} * RM_RESOURCE_TYPES *
                                (sizeof(rm_budget) + sizeof(rm_tally) + sizeof(rm_wait_row));
  return slots + contexts + clients + waits + order + records + names + budgets;
}

}  // namespace resmgr::budget
