// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/crc32c.hpp"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace drivers::dma {
namespace {

/// Castagnoli's polynomial with bit 31 as the coefficient of x^0: the order in which bytes arrive.
constexpr std::uint32_t kPolynomial = 0x82f63b78;
constexpr std::uint32_t kOne = std::uint32_t{1} << 31;

/// Tables that take eight bytes a step: table[k][b] is the CRC of byte b followed by k zero bytes.
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    for (std::size_t k = 1; k < tables.size(); ++k) {
      const std::uint32_t shorter = tables[k - 1][byte];
      tables[k][byte] = (shorter >> 8) ^ tables[0][shorter & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

std::uint64_t load_word(const std::byte* from) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

}  // namespace

std::uint32_t crc32c_by_table(std::uint32_t seed, std::span<const std::byte> data) noexcept {
  std::uint32_t crc = ~seed;
  const std::byte* at = data.data();
  std::size_t left = data.size();
  static_assert(std::endian::native == std::endian::little, "words are taken lowest byte first");
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word = load_word(at) ^ crc;
    std::uint32_t next = 0;
    for (std::size_t k = 8; k > 0; --k, word >>= 8) next ^= kTables[k - 1][word & 0xff];
    crc = next;
  }
  for (; left > 0; ++at, --left) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<std::uint32_t>(*at)) & 0xff];
  }
  return ~crc;
}

#if defined(__x86_64__)

namespace {

/// Product of two polynomials modulo kPolynomial.
constexpr std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (std::uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b >> 1) ^ ((b & 1) != 0 ? kPolynomial : 0);
  }
  return product;
}

/// x^(8 * bytes) modulo kPolynomial: what `bytes` zero bytes multiply a CRC by.
constexpr std::uint32_t power_of_bytes(std::size_t bytes) {
  std::uint32_t result = kOne;
  std::uint32_t square = kOne >> 8;  // x^8
  for (; bytes != 0; bytes >>= 1) {
    if ((bytes & 1) != 0) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

/// Appends a fixed number of zero bytes to a CRC by four lookups.
class Shift {
 public:
  explicit constexpr Shift(std::size_t bytes) {
    const std::uint32_t factor = power_of_bytes(bytes);
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      for (std::uint32_t k = 0; k < 4; ++k) tables_[k][byte] = multiply(byte << (8 * k), factor);
    }
  }
  [[nodiscard]] std::uint32_t operator()(std::uint64_t crc) const noexcept {
    return tables_[0][crc & 0xff] ^ tables_[1][(crc >> 8) & 0xff] ^ tables_[2][(crc >> 16) & 0xff] ^
           tables_[3][(crc >> 24) & 0xff];
  }

 private:
  std::array<std::array<std::uint32_t, 256>, 4> tables_{};
};

// The instruction takes 3 cycles but starts every cycle: three independent thirds keep it busy.
// Long blocks make joining the thirds cheap, short ones serve what is left.
constexpr std::size_t kLong = 4096;
constexpr std::size_t kShort = 256;
constexpr Shift kLongShift(kLong);
constexpr Shift kShortShift(kShort);

/// Takes as many times three blocks of `block` bytes as there are; moves `at` and `left` on.
__attribute__((target("sse4.2"))) std::uint64_t take_thirds(std::uint64_t crc, const std::byte*& at,
                                                            std::size_t& left, std::size_t block,
                                                            const Shift& shift) noexcept {
  while (left >= 3 * block) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (const std::byte* const end = at + block; at < end; at += 8) {
      crc = _mm_crc32_u64(crc, load_word(at));
      second = _mm_crc32_u64(second, load_word(at + block));
      third = _mm_crc32_u64(third, load_word(at + 2 * block));
    }
    crc = shift(crc) ^ second;
    crc = shift(crc) ^ third;
    at += 2 * block;
    left -= 3 * block;
  }
  return crc;
}

}  // namespace

__attribute__((target("sse4.2"))) std::uint32_t crc32c_by_hardware(
    std::uint32_t seed, std::span<const std::byte> data) noexcept {
  std::uint64_t crc = ~seed;
  const std::byte* at = data.data();
  std::size_t left = data.size();
  crc = take_thirds(crc, at, left, kLong, kLongShift);
  crc = take_thirds(crc, at, left, kShort, kShortShift);
  for (; left >= 8; at += 8, left -= 8) crc = _mm_crc32_u64(crc, load_word(at));
  for (; left > 0; ++at, --left) {
    crc = _mm_crc32_u8(static_cast<std::uint32_t>(crc), static_cast<unsigned char>(*at));
  }
  return ~static_cast<std::uint32_t>(crc);
}

bool crc32c_has_hardware() noexcept { return __builtin_cpu_supports("sse4.2") != 0; }

#else

std::uint32_t crc32c_by_hardware(std::uint32_t seed, std::span<const std::byte> data) noexcept {
  return crc32c_by_table(seed, data);
}

bool crc32c_has_hardware() noexcept { return false; }

#endif

std::uint32_t crc32c(std::uint32_t seed, std::span<const std::byte> data) noexcept {
  return crc32c_has_hardware() ? crc32c_by_hardware(seed, data) : crc32c_by_table(seed, data);
}

}  // namespace drivers::dma
