// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/candidates.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "resmgr/base/numa.hpp"
#include "resmgr/client/domain.hpp"

namespace resmgr::client {
namespace {

// Of names that have 95 bytes at most nothing longer says more.
constexpr std::size_t kLongestPattern = 1024;

}  // namespace

Result<Candidates> Candidates::make(std::shared_ptr<Domain> domain, Selector selector) {
  if (selector.order > SelectionOrder::LeastUsed) {
    return fail(ErrorCode::InvalidArgument, "order of a selection");
  }
  if (selector.type && *selector.type > ResourceType::Custom) {
    return fail(ErrorCode::InvalidArgument, "type of a selection");
  }
  if (selector.numa_node < -1) return fail(ErrorCode::InvalidArgument, "NUMA node of a selection");
  if (selector.name_pattern.size() > kLongestPattern) {
    return fail(ErrorCode::InvalidArgument, "pattern of a selection");
  }
  return Candidates(std::move(domain), std::move(selector));
}

Candidates::Candidates(std::shared_ptr<Domain> domain, Selector selector) noexcept
    : domain_(std::move(domain)), selector_(std::move(selector)) {}

std::span<const Handle> Candidates::list() {
  if (domain_->view().changes() != made_at_) [[unlikely]]
    make_list();
  return list_;
}

std::span<const Handle> Candidates::sorted() {
  (void)list();
  if (selector_.order == SelectionOrder::LeastUsed) {
    // Read once each: they change while we sort.
    std::vector<std::pair<std::uint32_t, Handle>> used;
    used.reserve(list_.size());
    for (const Handle handle : list_) {
      const rm_slot* const slot = domain_->engine().tables().slot(handle.slot());
      used.emplace_back(slot ? load_relaxed(slot->acquisitions) : ~std::uint32_t{0}, handle);
    }
    std::ranges::sort(used, {},
                      [](const auto& one) { return std::pair(one.first, one.second.slot()); });
    std::ranges::transform(used, list_.begin(), [](const auto& one) { return one.second; });
  }
  return list_;
}

// What changes while we look makes the list old at once: the next call makes another one.
void Candidates::make_list() {
  const registry::RegistryView& view = domain_->view();
  const std::uint32_t before = view.changes();
  made_at_.reset();
  list_.clear();
  // Of a class that nobody named yet there is nothing: no entry has 0.
  const auto class_id = view.classes().find(selector_.class_name);
  const std::int32_t preferred = selector_.numa_node >= 0 ? selector_.numa_node : current_node();
  const std::vector<unsigned> distances = node_distances(preferred);
  struct Place {
    unsigned tier;  // on the node, on none, elsewhere
    unsigned distance;
    Handle handle;
  };
  std::vector<Place> places;
  view.for_each([&](const registry::EntryCopy& entry) {
    if (!fits(entry, class_id.value_or(0))) return true;
    const unsigned tier = entry.numa_node == preferred ? 0 : entry.numa_node < 0 ? 1 : 2;
    places.push_back({tier, tier == 2 ? distance_to(distances, entry.numa_node) : 0, entry.handle});
    return true;
  });
  std::ranges::sort(places, {}, [](const Place& place) {
    return std::tuple(place.tier, place.distance, place.handle.slot());
  });
  list_.reserve(places.size());
  for (const Place& place : places) list_.push_back(place.handle);
  if (before % 2 == 0) made_at_ = before;
}

bool Candidates::fits(const registry::EntryCopy& entry, std::uint32_t class_id) const {
  if (!selector_.class_name.empty() && entry.class_id != class_id) return false;
  if (selector_.type && entry.type != *selector_.type) return false;
  if (entry.size_bytes < selector_.size_bytes) return false;
  if (!selector_.name_pattern.empty() &&
      ::fnmatch(selector_.name_pattern.c_str(), entry.name.data(), 0) != 0) {
    return false;
  }
  return selector_.pairs.empty() || has_pairs(entry.handle);
}

bool Candidates::has_pairs(Handle handle) const {
  const auto pairs = domain_->view().pairs(handle);
  if (!pairs) return false;
  return std::ranges::all_of(selector_.pairs, [&](const auto& wanted) {
    return std::ranges::any_of(*pairs, [&](const registry::PairCopy& pair) {
      return wanted.first == pair.key.data() && wanted.second == pair.value.data();
    });
  });
}

}  // namespace resmgr::client
