// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/region_damage.hpp"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <array>
#include <utility>

#include "resmgr/abi/region_header.hpp"
#include "resmgr/base/atomic.hpp"

namespace resmgr::test {
namespace {

constexpr std::uint64_t kGap = kTableAlignment;

void store_number(std::span<std::byte> bytes, std::size_t place, std::uint32_t number) {
  for (std::size_t i = 0; i < sizeof number; ++i) {
    store_relaxed(bytes[place + i], static_cast<std::byte>(number >> 8 * i));
  }
}

}  // namespace

std::uint8_t Script::next() {
  if (bytes_.empty()) return 0;
  const std::uint8_t byte = bytes_.front();
  bytes_ = bytes_.subspan(1);
  return byte;
}

std::size_t Script::next_below(std::size_t end) {
  std::size_t number = next();
  // A byte more only where it is needed, so that scripts stay short.
  for (std::size_t rest = (end - 1) >> 8; rest != 0; rest >>= 8) number = number << 8 | next();
  return number % end;
}

void Script::scribble(std::span<std::byte> table) {
  const std::size_t start = next_below(table.size());
  const std::size_t count = std::size_t{next()} % 24;
  for (std::size_t i = 0; i < count && start + i < table.size(); ++i) {
    store_relaxed(table[start + i], std::byte{next()});
  }
}

void Script::plant(std::span<std::byte> bytes, std::size_t place, const Capacities& bounds) {
  const std::array capacities{bounds.slots,   bounds.nodes, bounds.cells,        bounds.contexts,
                              bounds.classes, bounds.pairs, bounds.dependencies, bounds.shares};
  const std::uint8_t choice = next();
  std::uint32_t number = choice % 0x40u;
  switch (choice / 0x40) {
    case 0:
      break;
    case 1:
      number = capacities[number % capacities.size()] + number / 8 % 2;
      break;
    case 2:
      for (int i = 0; i < 3; ++i) number = number << 8 | next();
      break;
    default:
      number = 1u << number % 32;
  }
  store_number(bytes, place, number);
}

rm_region_header with_gaps(rm_region_header header) {
  std::uint64_t gaps = 0;
  for (std::uint64_t& offset : header.offset) {
    if (offset == 0) continue;  // there is no such table
    gaps += kGap;
    offset += gaps;
  }
  header.region_bytes += gaps + kGap;
  header.checksum = header_checksum(header);
  return header;
}

rm_region_header damaged(rm_region_header header, Script& script) {
  const auto bytes = bytes_of(&header, 1);
  const std::uint8_t choice = script.next();
  for (unsigned i = 0; i <= choice % 4u; ++i) {
    if ((choice & 0x10) != 0) {
      script.scribble(bytes);
    } else {
      script.plant(bytes, script.next_below(bytes.size() / 4) * 4, capacities_of(header));
    }
  }
  if ((choice & 0xe0) != 0) header.checksum = header_checksum(header);
  return header;
}

Fences::Fences(std::span<std::byte> region, std::vector<std::span<std::byte>> tables)
    : region_(region) {
  std::ranges::sort(tables, {}, [](std::span<std::byte> table) { return table.data(); });
  const std::byte* begin = region.data();
  const auto fence = [&begin](const std::byte* end) {
    if (begin < end) ASAN_POISON_MEMORY_REGION(begin, static_cast<std::size_t>(end - begin));
  };
  for (const std::span<std::byte> table : tables) {
    fence(table.data());
    begin = table.data() + table.size();
  }
  fence(region.data() + region.size());
}

Fences::~Fences() { ASAN_UNPOISON_MEMORY_REGION(region_.data(), region_.size()); }

}  // namespace resmgr::test
