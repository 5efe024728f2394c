// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the DMA channel share: a seed, memory, a channel, and an engine that waits to
// be let on.
//
// Thread-safety: Gate and GatedMover from any thread; the rest is one test's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <latch>
#include <memory>
#include <random>
#include <semaphore>
#include <span>
#include <vector>

#include "drivers/dma/channel.hpp"
#include "drivers/dma/mover.hpp"
#include "drivers/dma/software.hpp"

namespace drivers::dma {

/// From RESMGR_SEED, or anew; printed with the test's failures.
[[nodiscard]] std::uint64_t test_seed();

using Bytes = std::vector<std::byte>;
[[nodiscard]] Bytes random_bytes(std::size_t count, std::mt19937_64& random);

/// A channel, or the end of the test program with the error.
[[nodiscard]] std::unique_ptr<Channel> open_channel(const ChannelOptions& options = {},
                                                    SoftwareOptions software = {});

/// Long enough that reaching it is a failure on any machine.
[[nodiscard]] Channel::Clock::time_point soon();

/// The real engine, but each piece of copying waits until the test lets it on.
class GatedMover final : public Mover {
 public:
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) const noexcept override;
  void fill(std::span<std::byte> to, std::uint64_t pattern) const noexcept override;
  [[nodiscard]] std::uint32_t crc32c(std::uint32_t seed,
                                     std::span<const std::byte> data) const noexcept override;

  /// Waits until the engine is about to copy a piece.
  void wait_until_copying() const { arrived_.acquire(); }
  /// Lets it copy `pieces` pieces.
  void let_copy(std::ptrdiff_t pieces) const { let_.release(pieces); }

 private:
  std::shared_ptr<const Mover> real_ = Mover::system();
  mutable std::counting_semaphore<> arrived_{0};
  mutable std::counting_semaphore<> let_{0};
};

/// Keeps a channel's worker in a callback, so that what is submitted meanwhile stays queued.
class BlockedWorker {
 public:
  /// Returns once the worker is blocked.
  BlockedWorker(Channel& channel, const Descriptor& descriptor);
  BlockedWorker(const BlockedWorker&) = delete;
  BlockedWorker& operator=(const BlockedWorker&) = delete;
  ~BlockedWorker() { release(); }
  /// Lets the worker go on.
  void release();

 private:
  // The callback may outlive us by a moment.
  struct State {
    std::latch blocked{1};
    std::latch released{1};
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  bool released_ = false;
};

}  // namespace drivers::dma
