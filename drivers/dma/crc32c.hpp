// SPDX-License-Identifier: Apache-2.0
//
// CRC32C (Castagnoli, as in RFC 3720, iSCSI, ext4 and NVMe), by the processor where it can.
//
// What it is: one function, and the two ways behind it for tests to compare. What it is not:
// protection from someone who means harm. Thread-safety: all functions are pure.
//
//   std::uint32_t crc = crc32c(0, first);
//   crc = crc32c(crc, rest);   // the same as over both at once
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace drivers::dma {

/// The CRC32C of what had the CRC32C `seed`, followed by `data`. 0 is that of nothing.
[[nodiscard]] std::uint32_t crc32c(std::uint32_t seed, std::span<const std::byte> data) noexcept;

/// By tables; works everywhere.
[[nodiscard]] std::uint32_t crc32c_by_table(std::uint32_t seed,
                                            std::span<const std::byte> data) noexcept;
/// By SSE4.2's instruction. REQUIRES: crc32c_has_hardware().
[[nodiscard]] std::uint32_t crc32c_by_hardware(std::uint32_t seed,
                                               std::span<const std::byte> data) noexcept;
[[nodiscard]] bool crc32c_has_hardware() noexcept;

}  // namespace drivers::dma
