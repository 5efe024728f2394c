// SPDX-License-Identifier: Apache-2.0
//
// Hashes of bytes: one that is fast (`hash_bytes`), one that never changes (`fnv1a`).
//
// What they are: `hash_bytes` takes a text as 8-byte words, the last one filled up with zeros, and
// folds each pair of them into a 128-bit product (the construction of wyhash and its kin). Those
// who have the words at hand feed a WordHash with them and get the same number. `fnv1a` is FNV-1a,
// 64 bits, for checksums in fixed layouts that other programs recompute. What they are not:
// cryptographic. Whoever knows the seed can make names collide, so a table keyed by them must stay
// correct, and its searches bounded, when all of them do.
//
// Lifetime and thread-safety: pure functions and a plain value.
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

/// The last word of a text: its final 1 to 8 bytes, then zeros. Reads nothing outside the text.
/// REQUIRES: `bytes` is above 0, and `text` has so many.
[[nodiscard]] inline std::uint64_t load_last_word(const char* text, std::size_t bytes) noexcept {
  // The shift drops what belongs to earlier words: 0 to 56 bits.
  if (bytes >= 8) return load_word(text + bytes - 8) >> ((0 - 8 * bytes) & 63);
  // 1 to 7 bytes in all: two halves that may overlap, or three single bytes that may coincide.
  if (bytes >= 4) {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::memcpy(&low, text, sizeof low);
    std::memcpy(&high, text + bytes - 4, sizeof high);
    return low | std::uint64_t{high} << (8 * (bytes - 4));
  }
  const auto byte = [text](std::size_t i) {
    return std::uint64_t{static_cast<unsigned char>(text[i])} << (8 * i);
  };
  return byte(0) | byte(bytes / 2) | byte(bytes - 1);
}

/// Hashes a text given as words: pair() for each two of them, last() for one that is left over.
class WordHash {
 public:
  WordHash(std::uint64_t seed, std::size_t bytes) noexcept : hash_(seed ^ bytes) {}
  void pair(std::uint64_t first, std::uint64_t second) noexcept {
    hash_ = fold(first ^ kPair, second ^ hash_);
  }
  void last(std::uint64_t word) noexcept { hash_ = fold(word ^ kLast, hash_); }
  /// The upper bits are the best ones; tables take theirs from there.
  [[nodiscard]] std::uint64_t value() const noexcept { return hash_ * kSpread; }

 private:
  // Half of their bits set, no byte printable: no plain text cancels them out.
  static constexpr std::uint64_t kPair = 0x8bb84b93962eacc9u;
  static constexpr std::uint64_t kLast = 0x9e3779b97f4a7c15u;
  // One folded product leaves the upper bits of similar texts too regular: buckets of counted-up
  // names were up to 40 % more often overfull than random ones. This makes it 3 %.
  static constexpr std::uint64_t kSpread = 0x9fb21c651e98df25u;

  static std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
    const WideProduct product = static_cast<WideProduct>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }

  std::uint64_t hash_;
};

/// Hashes a text of any length.
[[nodiscard]] inline std::uint64_t hash_bytes(std::string_view text, std::uint64_t seed) noexcept {
  WordHash hash(seed, text.size());
  const char* p = text.data();
  std::size_t left = text.size();
  for (; left > 16; p += 16, left -= 16) hash.pair(load_word(p), load_word(p + 8));
  if (left > 8) {
    hash.pair(load_word(p), load_last_word(p, left));
  } else if (left > 0) {
    hash.last(load_last_word(p, left));
  }
  return hash.value();
}

/// FNV-1a, 64 bits.
[[nodiscard]] constexpr std::uint64_t fnv1a(std::span<const unsigned char> bytes) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3u;
  return hash;
}

}  // namespace resmgr
