// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/hash.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace resmgr {
namespace {

constexpr std::uint64_t kSeed = 0x243f6a8885a308d3;

// The text as words, done the slow way.
std::vector<std::uint64_t> words_of(const std::string& text) {
  std::vector<std::uint64_t> words((text.size() + 7) / 8);
  for (std::size_t i = 0; i < text.size(); ++i) {
    words[i / 8] |= std::uint64_t{static_cast<unsigned char>(text[i])} << (8 * (i % 8));
  }
  return words;
}

std::string text_of(std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(0x81 + i * 7));
  return text;
}

TEST(LastWord, HasTheFinalBytesAndZeros) {
  for (std::size_t bytes = 1; bytes <= 40; ++bytes) {
    // On the heap in its exact size: a sanitizer sees each byte read outside of it.
    const std::vector<char> exact = [&] {
      const std::string text = text_of(bytes);
      return std::vector<char>(text.begin(), text.end());
    }();
    EXPECT_EQ(load_last_word(exact.data(), bytes), words_of(text_of(bytes)).back()) << bytes;
  }
}

TEST(Hash, IsTheSameFedWithWords) {
  for (std::size_t bytes = 0; bytes <= 100; ++bytes) {
    const std::string text = text_of(bytes);
    const auto words = words_of(text);
    WordHash hash(kSeed, bytes);
    for (std::size_t i = 0; i + 1 < words.size(); i += 2) hash.pair(words[i], words[i + 1]);
    if (words.size() % 2 != 0) hash.last(words.back());
    EXPECT_EQ(hash_bytes(text, kSeed), hash.value()) << bytes;
  }
}

TEST(Hash, EachBitOfTheTextChangesAboutHalfOfIt) {
  for (const std::size_t bytes : {1u, 3u, 5u, 8u, 9u, 16u, 17u, 24u, 33u, 64u, 95u}) {
    const std::string text = text_of(bytes);
    const std::uint64_t hash = hash_bytes(text, kSeed);
    int changed = 0;
    for (std::size_t bit = 0; bit < bytes * 8; ++bit) {
      std::string other = text;
      other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << (bit % 8)));
      const auto upper = static_cast<std::uint32_t>((hash ^ hash_bytes(other, kSeed)) >> 32);
      EXPECT_NE(upper, 0u) << "bit " << bit << " of " << bytes << " bytes";
      changed += std::popcount(upper);
    }
    const double share = changed / (32.0 * static_cast<double>(bytes) * 8);
    EXPECT_NEAR(share, 0.5, bytes < 8 ? 0.15 : 0.06) << bytes;
  }
}

TEST(Hash, TellsZerosOfDifferentLengthApart) {
  std::set<std::uint64_t> hashes;
  for (std::size_t bytes = 0; bytes <= 64; ++bytes) {
    hashes.insert(hash_bytes(std::string(bytes, '\0'), kSeed));
  }
  EXPECT_EQ(hashes.size(), 65u);
}

TEST(Hash, DependsOnTheSeed) {
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 0; seed < 100; ++seed) hashes.insert(hash_bytes("gpu0/frame/3", seed));
  EXPECT_EQ(hashes.size(), 100u);
}

TEST(Fnv1a, GivesThePublishedValues) {
  const auto of = [](std::string_view text) {
    const std::vector<unsigned char> bytes(text.begin(), text.end());
    return fnv1a(bytes);
  };
  EXPECT_EQ(of(""), 0xcbf29ce484222325u);
  EXPECT_EQ(of("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(of("foobar"), 0x85944171f73967e8u);
}

}  // namespace
}  // namespace resmgr
