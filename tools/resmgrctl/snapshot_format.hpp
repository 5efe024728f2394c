// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a snapshot file.
//
// What it is: structures with fixed offsets, little-endian like the regions. The file is: the
// header; a byte (enum Process) for each client of the first look, then of the second; records of
// pages until `pages` of them were there; an eight-byte checksum of all before it, by
// SnapshotSum. Lifetime and thread-safety: plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "resmgr/base/hash.hpp"

namespace resmgrctl {

/// "RMSNAP01", readable in a hex dump.
inline constexpr std::array<char, 8> kSnapshotMagic{'R', 'M', 'S', 'N', 'A', 'P', '0', '1'};
inline constexpr std::uint32_t kSnapshotVersion = 1;

struct SnapshotHeader {
  std::array<char, 8> magic = kSnapshotMagic;
  std::uint32_t version = kSnapshotVersion;
  std::uint32_t clients = 0;
  std::uint64_t registry_bytes = 0;
  std::uint64_t lock_bytes = 0;
  std::uint64_t pages = 0;
  std::uint64_t taken_at_utc = 0;           ///< s since 1970
  std::array<std::uint64_t, 2> taken_at{};  ///< ns, CLOCK_MONOTONIC; of each look
  std::array<std::uint64_t, 2> resident{};  ///< bytes
  std::array<std::uint32_t, 2> unsettled{};
  std::array<char, 128> place{};  ///< zero-terminated, as the next
  std::array<char, 128> daemon_version{};
};
static_assert(sizeof(SnapshotHeader) == 344);

/// Stands before the bytes of each page; the last page of a region may be shorter than kPageBytes.
struct SnapshotPage {
  std::uint32_t look = 0;    ///< 0: of the first, and of the second unless that has its own
  std::uint32_t region = 0;  ///< 0: the registry, 1: the lock region
  std::uint64_t number = 0;
};

/// A checksum of parts, in their order.
class SnapshotSum {
 public:
  void add(std::span<const std::byte> part) noexcept {
    const std::string_view text(reinterpret_cast<const char*>(part.data()), part.size());
    value_ = resmgr::hash_bytes(text, value_);
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0x534e4150u;
};

}  // namespace resmgrctl
