// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/mover.hpp"

#include <algorithm>
#include <cstring>

#include "drivers/dma/crc32c.hpp"

namespace drivers::dma {
namespace {

/// Small enough to stay in the first cache while it is copied again and again; a multiple of 8, so
/// that each copy starts with the pattern's first byte.
constexpr std::size_t kFillBlock = 4096;

class SystemMover final : public Mover {
 public:
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) const noexcept override {
    std::memcpy(to, from, bytes);
  }

  void fill(std::span<std::byte> to, std::uint64_t pattern) const noexcept override {
    const std::uint64_t lowest = pattern & 0xff;
    if (pattern == lowest * 0x0101010101010101u) {
      std::memset(to.data(), static_cast<int>(lowest), to.size());
      return;
    }
    std::size_t done = std::min(to.size(), sizeof(pattern));
    std::memcpy(to.data(), &pattern, done);
    while (done < to.size()) {
      const std::size_t next = std::min({done, kFillBlock, to.size() - done});
      std::memcpy(to.data() + done, to.data(), next);
      done += next;
    }
  }

  std::uint32_t crc32c(std::uint32_t seed,
                       std::span<const std::byte> data) const noexcept override {
    return dma::crc32c(seed, data);
  }
};

}  // namespace

Mover::~Mover() = default;

std::shared_ptr<const Mover> Mover::system() { return std::make_shared<const SystemMover>(); }

}  // namespace drivers::dma
