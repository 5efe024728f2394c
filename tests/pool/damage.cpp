// SPDX-License-Identifier: Apache-2.0
#include "tests/pool/damage.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "resmgr/pool/block_pool.hpp"
#include "resmgr/pool/pool_recovery.hpp"
#include "tests/fuzz/region_damage.hpp"

namespace resmgr::pool::test {
namespace {

using resmgr::test::Script;

constexpr Owner kOwners = 4;

/// A file with that header and as many bytes, which may be none that a pool has.
UniqueFd file_with(const rm_pool_header& header, std::uint64_t bytes) {
  UniqueFd fd(::memfd_create("damage", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return {};
  if (::pwrite(fd.get(), &header, sizeof header, 0) < 0) return {};
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) return {};
  return fd;
}

/// What a peer may have written there: some fields, and mostly a checksum that fits.
rm_pool_header damaged(rm_pool_header header, Script& script) {
  std::array<std::byte, sizeof header> bytes{};
  std::memcpy(bytes.data(), &header, sizeof header);
  for (std::size_t count = script.next_below(4); count != 0; --count) {
    const std::size_t place = script.next_below(sizeof header / 4) * 4;
    // A neighbour of what stood there leads further than any other number.
    std::uint32_t number = 0;
    std::memcpy(&number, &bytes.at(place), sizeof number);
    switch (script.next_below(4)) {
      case 0:
        number = static_cast<std::uint32_t>(script.next()) << 8 * script.next_below(4);
        break;
      case 1:
        number += script.next();
        break;
      case 2:
        number -= script.next();
        break;
      default:
        number = ~number;
        break;
    }
    std::memcpy(&bytes.at(place), &number, sizeof number);
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (script.next_below(4) != 0) header.checksum = header_checksum(header);
  return header;
}

class Play {
 public:
  Play(int file, std::span<std::byte> tables) : file_(file), tables_(tables) {
    for (Owner owner = 1; owner <= kOwners; ++owner) {
      auto pool = BlockPool::attach(copy(), {.owner = owner, .thread_safe = false});
      if (pool) pools_.push_back(std::move(*pool));
    }
  }
  ~Play() {
    for (const auto& pool : pools_) pool->close();
  }

  [[nodiscard]] bool began() const { return pools_.size() == kOwners; }

  void call(Script& script) {
    if (script.next_below(2) != 0 && !tables_.empty()) script.scribble(tables_);
    BlockPool& pool = *pools_[script.next_below(pools_.size())];
    const auto number = static_cast<std::uint32_t>(script.next());
    switch (script.next_below(12)) {
      case 0:
        return pool.flush();
      case 1:
        (void)pool.shrink(number);
        return;
      case 2:
        (void)pool.recover(static_cast<Owner>(number % (kOwners + 2)));
        return;
      case 3:
        return bury(static_cast<Owner>(number % (kOwners + 2)));
      case 4:
        (void)pool.statistics();
        return;
      case 5:
        (void)pool.reserve(number);
        return;
      case 6:
        (void)pool.adopt(had(number));
        return;
      case 7:
        (void)pool.adapt();
        return;
      case 8:
      case 9:
        (void)pool.try_free(had(number));
        return;
      default:
        return allocate(pool, number);
    }
  }

 private:
  [[nodiscard]] UniqueFd copy() const { return UniqueFd(::fcntl(file_, F_DUPFD_CLOEXEC, 0)); }
  void* had(std::uint32_t number) { return had_.empty() ? this : had_[number % had_.size()]; }

  void bury(Owner owner) {
    auto recovery = PoolRecovery::begin(copy(), owner);
    while (recovery && !recovery->step(1)) {
    }
  }

  void allocate(BlockPool& pool, std::uint32_t count) {
    const auto blocks = pool.region().blocks();
    const std::uint64_t stride = pool.region().geometry().stride;
    for (; count % 64 != 0; --count) {
      auto* const block = static_cast<std::byte*>(pool.try_allocate());
      if (!block) return;
      const auto offset = static_cast<std::uint64_t>(block - blocks.data());
      if (offset >= blocks.size() || offset % stride != 0) std::abort();
      block[0] = std::byte{1};
      had_.push_back(block);
    }
  }

  int file_;
  std::span<std::byte> tables_;
  std::vector<std::shared_ptr<BlockPool>> pools_;
  std::vector<void*> had_;
};

}  // namespace

std::size_t play_damage(std::span<const std::uint8_t> bytes) {
  Script script(bytes);
  const std::array<std::uint32_t, 3> sizes{40, 100, 3000};
  const PoolShape shape{.block_bytes = script.next_below(2) == 0 ? 64u : 100u,
                        .max_blocks = sizes.at(script.next_below(sizes.size()))};
  const bool damages_header = script.next_below(2) != 0;
  if (script.over()) return 0;
  const auto geometry = make_geometry(shape);
  if (!geometry) std::abort();
  rm_pool_header header = make_header(*geometry, 7);
  std::uint64_t size = geometry->pool_bytes;
  if (damages_header) {
    header = damaged(header, script);
    if (script.next_below(2) != 0) size = 4096 * script.next_below(100);
  }
  const UniqueFd file = file_with(header, size);
  if (!file) return 0;
  // All that others may write to and that is not theirs as blocks. The header too, now and then.
  Mapping mapping;
  std::span<std::byte> tables;
  if (auto mapped = Mapping::map_file(file.get(), size, Mapping::Access::ReadWrite)) {
    mapping = std::move(*mapped);
    const std::uint64_t end = std::min(size, geometry->blocks_offset);
    const std::uint64_t begin = std::min<std::uint64_t>(RM_POOL_CONTROL_OFFSET, end);
    tables = mapping.bytes().subspan(begin, end - begin);
  }
  Play play(file.get(), tables);
  if (!play.began()) return 0;
  std::size_t calls = 0;
  for (; !script.over(); ++calls) play.call(script);
  return calls;
}

}  // namespace resmgr::pool::test
