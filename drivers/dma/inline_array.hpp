// SPDX-License-Identifier: Apache-2.0
//
// InlineArray: an array whose size is set once, and which needs no allocation up to N elements.
//
// What it is: room inside the object for the usual case, on the heap for the others; elements are
// never moved, so they may be atomics. What it is not: a container; it does not grow or shrink.
//
// Lifetime and thread-safety: as its elements.
//
//   InlineArray<Piece, 2> pieces(count);
#pragma once

#include <array>
#include <cstddef>
#include <memory>

namespace drivers::dma {

template <typename T, std::size_t N>
class InlineArray {
 public:
  /// `size` elements, as their default constructor makes them.
  explicit InlineArray(std::size_t size)
      : more_(size > N ? std::make_unique<T[]>(size) : nullptr),
        data_(more_ ? more_.get() : inline_.data()),
        size_(size) {}
  InlineArray(const InlineArray&) = delete;
  InlineArray& operator=(const InlineArray&) = delete;
  ~InlineArray() = default;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  /// REQUIRES: index < size().
  [[nodiscard]] T& operator[](std::size_t index) noexcept { return data_[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return data_[index]; }

 private:
  std::array<T, N> inline_{};
  std::unique_ptr<T[]> more_;
  T* data_;  ///< of one of the two above
  std::size_t size_;
};

}  // namespace drivers::dma
