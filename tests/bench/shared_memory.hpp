// SPDX-License-Identifier: Apache-2.0
//
// Memory of a memfd, mapped shared: where the regions of a domain lie, and so what is compared with
// them.
//
// What it is: sole owner of one mapping, and Shared<T>, one object in such memory. What it is not:
// shared with anybody in fact. Thread-safety: the objects as plain values.
//
//   Shared<RobustMutex> mutex;
//   mutex->lock();
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace bench {

class SharedMemory {
 public:
  /// Zeroed. Throws std::system_error.
  explicit SharedMemory(std::size_t bytes);
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  [[nodiscard]] std::byte* data() const noexcept { return bytes_.data(); }

 private:
  std::span<std::byte> bytes_;
};

/// One T in shared memory of its own.
template <typename T>
class Shared {
 public:
  Shared() : object_(std::construct_at(reinterpret_cast<T*>(memory_.data()))) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { std::destroy_at(object_); }

  [[nodiscard]] T* operator->() const noexcept { return object_; }
  [[nodiscard]] T& operator*() const noexcept { return *object_; }

 private:
  SharedMemory memory_{sizeof(T)};
  T* object_;
};

}  // namespace bench
