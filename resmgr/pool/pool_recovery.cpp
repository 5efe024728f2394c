// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/pool_recovery.hpp"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <span>
#include <utility>

namespace resmgr::pool {
namespace {

template <typename T>
bool copy(int fd, std::uint64_t offset, std::span<T> into) noexcept {
  const std::span<std::byte> bytes = std::as_writable_bytes(into);
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t got =
        ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got <= 0) return false;
    done += static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

Result<PoolRecovery> PoolRecovery::begin(UniqueFd fd, Owner dead) {
  auto region = PoolRegion::attach(std::move(fd));
  if (!region) return std::unexpected(std::move(region.error()));
  return PoolRecovery(std::move(*region), dead);
}

PoolRecovery::PoolRecovery(PoolRegion region, Owner dead)
    : region_(std::move(region)),
      depot_(region_.tables()),
      dead_(dead),
      end_((depot_.high_water() + RM_POOL_GROUP_BLOCKS - 1) / RM_POOL_GROUP_BLOCKS),
      words_(kChunk),
      tags_(std::size_t{kChunk} * RM_POOL_GROUP_BLOCKS) {
  if (dead == 0 || dead > RM_POOL_MAX_OWNER) end_ = 0;
}

bool PoolRecovery::step(std::uint32_t groups) noexcept {
  const std::uint32_t stop = next_ + std::min(groups, end_ - next_);
  while (next_ < stop) {
    const std::uint32_t chunk = std::min(kChunk, end_ - next_);
    look_at(chunk);
    next_ += chunk;
  }
  return next_ == end_;
}

// The dead writes nothing more. What the copy says that he had may be somebody else's by now, which
// recover_group() sees; what is his still is in the copy.
void PoolRecovery::look_at(std::uint32_t groups) noexcept {
  const PoolGeometry& geometry = region_.geometry();
  if (!copy(region_.fd(), geometry.words_offset + next_ * sizeof(std::uint64_t),
            std::span(words_).first(groups))) {
    return;  // a sealed file that was attached can be read
  }
  const auto words = std::span(words_).first(groups);
  if (std::ranges::all_of(words, [](std::uint64_t word) {
        return taken_in(word) == 0 && claimant_of(word) == 0;
      })) {
    return;
  }
  const std::uint32_t first = next_ * RM_POOL_GROUP_BLOCKS;
  const std::uint32_t blocks =
      std::min(groups * RM_POOL_GROUP_BLOCKS, region_.tables().capacity - first);
  std::ranges::fill(tags_, std::uint16_t{0});
  if (!copy(region_.fd(), geometry.tags_offset + first * sizeof(std::uint16_t),
            std::span(tags_).first(blocks))) {
    return;
  }
  std::uint32_t recovered = 0;
  for (std::uint32_t place = 0; place < groups; ++place) {
    if (has_something(place)) recovered += depot_.recover_group(next_ + place, dead_);
  }
  if (recovered == 0) return;
  recovered_ += recovered;
  depot_.note_recovered(recovered);
}

bool PoolRecovery::has_something(std::uint32_t place) const noexcept {
  const std::uint64_t word = words_[place];
  if (claimant_of(word) == dead_) return true;
  for (std::uint32_t left = taken_in(word); left != 0; left &= left - 1) {
    const auto bit = static_cast<std::uint32_t>(std::countr_zero(left));
    if (owner_in(tags_[place * RM_POOL_GROUP_BLOCKS + bit]) == dead_) return true;
  }
  return false;
}

}  // namespace resmgr::pool
