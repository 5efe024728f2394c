// SPDX-License-Identifier: Apache-2.0
#include "tests/lock/counting_new.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::uint64_t> allocations = 0;
std::atomic<bool> counting = false;

void* checked(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  if (counting.load(std::memory_order_relaxed)) {
    allocations.fetch_add(1, std::memory_order_relaxed);
  }
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return checked(std::malloc(bytes == 0 ? 1 : bytes)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto to = static_cast<std::size_t>(alignment);
  return checked(std::aligned_alloc(to, (bytes + to - 1) / to * to));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace resmgr::lock::test {

void start_counting_allocations() noexcept {
  allocations = 0;
  counting = true;
}

std::uint64_t stop_counting_allocations() noexcept {
  counting = false;
  return allocations.load();
}

}  // namespace resmgr::lock::test
