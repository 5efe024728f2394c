// SPDX-License-Identifier: Apache-2.0
#include "tests/drivers/dma/support.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <utility>

namespace drivers::dma {

std::uint64_t test_seed() {
  static const std::uint64_t used = [] {
    std::uint64_t seed = std::random_device()();
    if (const char* given = std::getenv("RESMGR_SEED")) {
      std::from_chars(given, given + std::strlen(given), seed);
    }
    std::cout << "RESMGR_SEED=" << seed << '\n';
    return seed;
  }();
  return used;
}

Bytes random_bytes(std::size_t count, std::mt19937_64& random) {
  Bytes bytes(count);
  std::ranges::generate(bytes, [&random] { return static_cast<std::byte>(random()); });
  return bytes;
}

std::unique_ptr<Channel> open_channel(const ChannelOptions& options, SoftwareOptions software) {
  // A mover that waits for the test would keep it from going on.
  if (software.mover) software.in_place_bytes = 0;
  auto channel = SoftwareChannel::create(options, std::move(software));
  if (!channel) {
    std::cerr << "no channel: " << channel.error().message() << '\n';
    std::exit(EXIT_FAILURE);
  }
  return *std::move(channel);
}

Channel::Clock::time_point soon() { return Channel::Clock::now() + std::chrono::seconds(60); }

void GatedMover::copy(std::byte* to, const std::byte* from, std::size_t bytes) const noexcept {
  arrived_.release();
  let_.acquire();
  real_->copy(to, from, bytes);
}

void GatedMover::fill(std::span<std::byte> to, std::uint64_t pattern) const noexcept {
  real_->fill(to, pattern);
}

std::uint32_t GatedMover::crc32c(std::uint32_t seed,
                                 std::span<const std::byte> data) const noexcept {
  return real_->crc32c(seed, data);
}

BlockedWorker::BlockedWorker(Channel& channel, const Descriptor& descriptor) {
  const auto ticket = channel.submit({&descriptor, 1}, [state = state_](const Ticket&) noexcept {
    state->blocked.count_down();
    state->released.wait();
  });
  if (!ticket) {
    std::cerr << "the worker can't be blocked: " << ticket.error().message() << '\n';
    std::exit(EXIT_FAILURE);
  }
  state_->blocked.wait();
}

void BlockedWorker::release() {
  if (!std::exchange(released_, true)) state_->released.count_down();
}

}  // namespace drivers::dma
