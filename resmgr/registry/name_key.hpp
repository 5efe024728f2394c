// SPDX-License-Identifier: Apache-2.0
//
// NameKey: a name as the index has it: the words of its cell, and the hash that says where.
//
// What it is: three words that overlap where the name is short, so that two or three loads from the
// name are all the work, and one multiplication that folds them (the construction of wyhash and its
// kin, its upper half turned so that the upper bits, which name the home, are the well-mixed ones
// of both halves). What it is not: the name, if that has more than 24 bytes; then `middle` is a
// hash, and equal keys only mean "compare the names". Nor is it safe from those who know the
// domain's number: they can make names collide, so searches must stay right when all do.
//
// Lifetime and thread-safety: plain values.
//
//   const NameKey key = name_key("gpu0/frame/3", tables.secrets);
//   cell = state.home(key.hash);
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "resmgr/base/hash.hpp"
#include "resmgr/registry/records.hpp"

namespace resmgr::registry {

/// Names of so many bytes are in the words `first` and `last` of a cell.
inline constexpr std::size_t kTwoWordBytes = 2 * kWordBytes;
/// Names of so many bytes are in a cell; of longer ones the entry has the middle.
inline constexpr std::size_t kCellNameBytes = 3 * kWordBytes;

/// What the words are mixed with, different in every domain: in one domain or another, some plain
/// names would be the zero that a product can't recover from.
struct NameSecrets {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t middle = 0;

  [[nodiscard]] static NameSecrets of_domain(std::uint64_t domain_id) noexcept {
    return {.first = hash_bytes("first", domain_id),
            .last = hash_bytes("last", domain_id),
            .middle = hash_bytes("middle", domain_id)};
  }
};

struct NameKey {
  Word first = 0;
  Word last = 0;
  Word middle = 0;
  std::uint64_t hash = 0;
};

[[nodiscard]] inline std::uint64_t mix_names(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__x86_64__)
  // As below; g++ would keep the product in a pair of registers that have to be saved first.
  // NOLINTNEXTLINE(misc-const-correctness): the asm writes it
  std::uint64_t high = 0;
  asm("mulq %[b]" : "+a"(a), "=d"(high) : [b] "r"(b) : "cc");
  return a ^ std::rotl(high, 32);
#else
  const WideProduct product = static_cast<WideProduct>(a) * b;
  return static_cast<std::uint64_t>(product) ^
         std::rotl(static_cast<std::uint64_t>(product >> 64), 32);
#endif
}

/// The hash that goes with the words of a name of `bytes`.
[[nodiscard]] inline std::uint64_t name_hash(Word first, Word last, Word middle, std::size_t bytes,
                                             const NameSecrets& secrets) noexcept {
  const std::uint64_t ends = mix_names(first ^ secrets.first, last ^ secrets.last);
  return bytes <= kTwoWordBytes ? ends : mix_names(ends ^ middle, secrets.middle);
}

/// Whether a name fits into so many words: 8 to 16 bytes into 2, 17 to 24 into 3.
template <int Words>
[[nodiscard]] inline bool is_of_words(std::string_view name) noexcept {
  constexpr std::size_t kLeast = Words == 2 ? kWordBytes : kTwoWordBytes + 1;
  return name.size() - kLeast <= Words * kWordBytes - kLeast;
}

/// Of a name that does. REQUIRES: is_of_words<Words>(name).
template <int Words>
[[nodiscard, gnu::always_inline]] inline NameKey short_key(std::string_view name,
                                                           const NameSecrets& secrets) noexcept {
  NameKey key;
  key.first = load_word(name.data());
  key.last = load_word(name.data() + name.size() - kWordBytes);
  if constexpr (Words == 3) key.middle = load_word(name.data() + kWordBytes);
  key.hash = name_hash(key.first, key.last, key.middle, Words * kWordBytes, secrets);
  return key;
}

/// Of a name of any length. REQUIRES: not empty.
[[nodiscard]] inline NameKey name_key(std::string_view name, const NameSecrets& secrets) noexcept {
  const std::size_t bytes = name.size();
  if (is_of_words<2>(name)) return short_key<2>(name, secrets);
  if (is_of_words<3>(name)) return short_key<3>(name, secrets);
  NameKey key;
  if (bytes < kWordBytes) {
    key.first = load_last_word(name.data(), bytes);
    key.last = key.first;
  } else {
    key.first = load_word(name.data());
    key.last = load_word(name.data() + bytes - kWordBytes);
    key.middle = hash_bytes(name.substr(kWordBytes, bytes - 2 * kWordBytes), secrets.middle);
  }
  key.hash = name_hash(key.first, key.last, key.middle, bytes, secrets);
  return key;
}

}  // namespace resmgr::registry
