// SPDX-License-Identifier: Apache-2.0
//
// Hashes of bytes: one that is fast (`hash_bytes`), one that never changes (`fnv1a`).
//
// What they are: `hash_bytes` reads 8-byte words and folds each pair of them into a 128-bit
// product (the construction of wyhash and its kin); with a random seed, two given names collide
// with the chance of random numbers. `fnv1a` is FNV-1a, 64 bits, for checksums in fixed layouts
// that other programs recompute. What they are not: cryptographic. Whoever knows the seed can make
// names collide, so a table keyed by them must stay correct, and bounded, when all of them do.
//
// Lifetime and thread-safety: pure functions.
//
//   const std::uint64_t hash = hash_bytes("gpu0/frame/3", domain_id);
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace resmgr {

__extension__ using WideProduct = unsigned __int128;  // of two 64-bit words

/// The 8 bytes at `p`; the project runs on little-endian machines only, see resmgr/abi/layout.h.
[[nodiscard]] inline std::uint64_t load_word(const char* p) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, p, sizeof word);
  return word;
}

/// The last, incomplete word of a text: its final `bytes % 8` bytes, then zeros. Reads nothing
/// outside the text.
/// REQUIRES: `bytes` is not a multiple of 8; `text` has `bytes` bytes.
[[nodiscard]] inline std::uint64_t load_tail(const char* text, std::size_t bytes) noexcept {
  const std::size_t rest = bytes % 8;
  if (bytes >= 8) return load_word(text + bytes - 8) >> (64 - 8 * rest);
  // 1 to 7 bytes in all: two halves that may overlap, or three single bytes that may coincide.
  if (rest >= 4) {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::memcpy(&low, text, sizeof low);
    std::memcpy(&high, text + rest - 4, sizeof high);
    return low | std::uint64_t{high} << (8 * (rest - 4));
  }
  const auto byte = [text](std::size_t i) {
    return std::uint64_t{static_cast<unsigned char>(text[i])};
  };
  return byte(0) | byte(rest / 2) << (8 * (rest / 2)) | byte(rest - 1) << (8 * (rest - 1));
}

/// Both halves of a 128-bit product, folded.
[[nodiscard]] inline std::uint64_t fold_product(std::uint64_t a, std::uint64_t b) noexcept {
  const WideProduct product = static_cast<WideProduct>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// Hashes a text of any length. All 64 bits are usable, the upper ones best.
[[nodiscard]] inline std::uint64_t hash_bytes(std::string_view text, std::uint64_t seed) noexcept {
  // Odd words with 32 bits set and no printable byte: no plain text cancels them out.
  constexpr std::uint64_t kFirst = 0x8bb84b93962eacc9u;
  constexpr std::uint64_t kSecond = 0x2d358dccaa6c78a5u;
  constexpr std::uint64_t kLast = 0x9e3779b97f4a7c15u;

  const char* p = text.data();
  std::size_t left = text.size();
  std::uint64_t hash = seed ^ kLast ^ left;
  while (left > 16) {
    hash = fold_product(load_word(p) ^ kFirst, load_word(p + 8) ^ hash);
    p += 16;
    left -= 16;
  }
  // The last 1 to 16 bytes as two words; for a text of 8 or more the second one overlaps what came
  // before, which costs no branch and loses no byte.
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  if (left >= 8) {
    first = load_word(p);
    second = load_word(p + left - 8);
  } else if (left > 0) {
    first = load_tail(p, left);
  }
  hash = fold_product(first ^ kSecond, second ^ hash);
  return fold_product(hash ^ kFirst, kLast ^ seed);
}

/// FNV-1a, 64 bits.
[[nodiscard]] constexpr std::uint64_t fnv1a(std::span<const unsigned char> bytes) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3u;
  return hash;
}

}  // namespace resmgr
