// SPDX-License-Identifier: Apache-2.0
//
// Mover: what the software engine does to memory: copy, fill, CRC32C.
//
// What it is: the seam at which tests watch, hold up or fake the engine's work. What it is not:
// checked; callers pass memory that is theirs. Thread-safety: several workers may share one.
//
//   mover.copy(to, from, 65536);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace drivers::dma {

class Mover {
 public:
  Mover() = default;
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;
  virtual ~Mover();

  /// REQUIRES: the two do not overlap.
  virtual void copy(std::byte* to, const std::byte* from, std::size_t bytes) const noexcept = 0;
  /// Repeats the eight bytes of `pattern`, lowest first, the last time as far as there is room.
  virtual void fill(std::span<std::byte> to, std::uint64_t pattern) const noexcept = 0;
  /// As drivers::dma::crc32c().
  [[nodiscard]] virtual std::uint32_t crc32c(std::uint32_t seed,
                                             std::span<const std::byte> data) const noexcept = 0;

  /// The one that does it, by the fastest means of this processor.
  [[nodiscard]] static std::shared_ptr<const Mover> system();
};

}  // namespace drivers::dma
