// SPDX-License-Identifier: Apache-2.0
//
// What the tests of queues share: the ring's memory seen from outside, messages, and a seed.
//
// What it is: a hostile peer's view: a second mapping in which every byte can be read and written.
// Lifetime: RingMemory keeps its mapping. Thread-safety: none of its own.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include <hal/queue.hpp>
#include <hal/resource_manager.hpp>

#include "hal/src/queue_layout.hpp"
#include "tests/base/seed.hpp"

namespace hal::test {

using namespace std::chrono_literals;

inline Queue::TimePoint in(std::chrono::nanoseconds time) { return Queue::Clock::now() + time; }
/// Long enough for anything that is going to happen, short enough for a test that fails.
inline Queue::TimePoint patience() { return in(30s); }

inline std::unique_ptr<ResourceManager> make_manager() {
  return ResourceManager::create({.name = "queue-test"}).value();
}

using resmgr::test::seed;

/// A message of N bytes that are all told by its number.
template <std::size_t N>
std::array<std::byte, N> message(std::uint64_t number) {
  std::array<std::byte, N> bytes{};
  for (std::size_t i = 0; i < N; ++i) {
    bytes[i] = static_cast<std::byte>((number * 0x9e3779b97f4a7c15u + i) >> 24);
  }
  std::memcpy(bytes.data(), &number, N < sizeof(number) ? N : sizeof(number));
  return bytes;
}
template <std::size_t N>
std::uint64_t number_of(const std::array<std::byte, N>& bytes) {
  std::uint64_t number = 0;
  std::memcpy(&number, bytes.data(), N < sizeof(number) ? N : sizeof(number));
  return number;
}

class RingMemory {
 public:
  explicit RingMemory(const Queue& queue) : fd_(queue.memory_fd().value()) {
    struct stat status{};
    if (::fstat(fd_.get(), &status) != 0) std::abort();
    size_ = static_cast<std::size_t>(status.st_size);
    void* address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (address == MAP_FAILED) std::abort();
    data_ = static_cast<std::byte*>(address);
  }
  RingMemory(const RingMemory&) = delete;
  RingMemory& operator=(const RingMemory&) = delete;
  ~RingMemory() { ::munmap(data_, size_); }

  std::span<std::byte> bytes() const { return {data_, size_}; }
  ring::Control& control() const { return *reinterpret_cast<ring::Control*>(data_); }
  ring::Header& header() const { return control().header; }
  /// The word of a slot of a MultiProducer ring.
  std::uint64_t& word(std::uint64_t position) const {
    const std::uint64_t slot = position & (header().capacity - 1);
    return *reinterpret_cast<std::uint64_t*>(data_ + sizeof(ring::Control) +
                                             slot * header().slot_bytes);
  }
  std::uint64_t lap(std::uint64_t position) const { return position / header().capacity; }

 private:
  UniqueFd fd_;
  std::size_t size_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace hal::test
