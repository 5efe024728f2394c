// SPDX-License-Identifier: Apache-2.0
//
// SharedBlock: an object that a test's processes have in common.
//
// What it is: anonymous memory that children of fork() share, at the same address, with a T in it.
// What it is not: known to children that were forked before. Lifetime: the T goes with the block of
// the process that made it; children end by _exit(). Thread-safety: T's own.
//
//   const SharedBlock<std::atomic<int>> count;
//   fork() ...  ++*count;
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace resmgr::test {

template <typename T>
class SharedBlock {
 public:
  SharedBlock() {
    void* const memory =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    object_ = ::new (memory) T();
  }
  ~SharedBlock() {
    object_->~T();
    ::munmap(object_, sizeof(T));
  }
  SharedBlock(const SharedBlock&) = delete;
  SharedBlock& operator=(const SharedBlock&) = delete;

  [[nodiscard]] T& operator*() const noexcept { return *object_; }
  [[nodiscard]] T* operator->() const noexcept { return object_; }
  [[nodiscard]] T* get() const noexcept { return object_; }

 private:
  T* object_ = nullptr;
};

}  // namespace resmgr::test
