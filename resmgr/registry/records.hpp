// SPDX-License-Identifier: Apache-2.0
//
// Records: typed access to one table of the registry region, word by word.
//
// What it is: how every field of the region is read and written: as aligned 64-bit words with
// acquire loads and release stores, so that readers in other processes may look at any time. What
// it is not: a check of what it reads; a link read from a record is looked up with `find()`, which
// knows the capacity. Lifetime: borrows the mapping. Thread-safety: any number of readers beside
// one writer; a store to a field rewrites its word, so there is one writer for a table.
//
//   const Records<rm_share> shares(words, header.share_records);
//   if (auto* record = shares.find(link)) use(load_record<rm_share>(record).driver);
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "resmgr/base/atomic.hpp"

namespace resmgr::registry {

using Word = std::uint64_t;
inline constexpr std::size_t kWordBytes = sizeof(Word);

/// Copies a whole record. The words are each current, the record as a whole need not be: callers
/// check afterwards that nothing changed.
template <typename T>
[[nodiscard]] T load_record(const Word* record) noexcept {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % kWordBytes == 0);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): each is written below
  std::array<Word, sizeof(T) / kWordBytes> words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = load_acquire(record[i]);
  return std::bit_cast<T>(words);
}

/// Writes a whole record, in the order of its words.
template <typename T>
void store_record(Word* record, const T& value) noexcept {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % kWordBytes == 0);
  const auto words = std::bit_cast<std::array<Word, sizeof(T) / kWordBytes>>(value);
  for (std::size_t i = 0; i < words.size(); ++i) store_release(record[i], words[i]);
}

/// Reads the unsigned field of type U at byte `offset` of a record.
template <typename U>
[[nodiscard]] U load_field(const Word* record, std::size_t offset) noexcept {
  static_assert(std::is_unsigned_v<U>);
  const Word word = load_acquire(record[offset / kWordBytes]);
  return static_cast<U>(word >> (8 * (offset % kWordBytes)));
}

/// Writes the unsigned field of type U at byte `offset` of a record; what shares its word is
/// written back unchanged.
template <typename U>
void store_field(Word* record, std::size_t offset, std::type_identity_t<U> value) noexcept {
  static_assert(std::is_unsigned_v<U>);
  const auto shift = 8 * (offset % kWordBytes);
  const Word mask = Word{static_cast<U>(~U{0})} << shift;
  Word& word = record[offset / kWordBytes];
  store_release(word, (load_relaxed(word) & ~mask) | (Word{value} << shift));
}

template <typename T>
class Records {
 public:
  Records() noexcept = default;
  /// `words` is the start of a table of `count` records.
  Records(Word* words, std::uint32_t count) noexcept : words_(words), count_(count) {}

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  /// The record of that index, null if there is none.
  [[nodiscard]] Word* at(std::uint32_t index) const noexcept {
    return index < count_ ? words_ + std::size_t{index} * kWords : nullptr;
  }
  /// The record a link names, null for "none" and for links that lead nowhere.
  [[nodiscard]] Word* find(std::uint32_t link) const noexcept { return at(link - 1); }

 private:
  static constexpr std::size_t kWords = sizeof(T) / kWordBytes;

  Word* words_ = nullptr;
  std::uint32_t count_ = 0;
};

}  // namespace resmgr::registry
