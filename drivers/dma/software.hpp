// SPDX-License-Identifier: Apache-2.0
//
// The software engine: a DMA channel whose engine is a thread.
//
// What it is: the backend for machines without a DMA engine that is ours to use, and the reference
// for all others. One ring and one worker for each channel; the worker runs near the memory that
// is attached, spins a little before it sleeps, copies with memcpy, and looks for a cancel between
// chunks. A small batch that has nothing before it is done in the calling thread, by run() and,
// where it has no callback, by submit(): handing it to the worker and back would take longer. What
// it is not: containment. A page that can't be read or written (a file that was cut while it is
// mapped) hits the process with SIGBUS, as any access to it would.
//
// Lifetime and thread-safety: as Channel. Callbacks run on the worker.
//
//   auto channel = SoftwareChannel::create({.name = "copy", .ring_entries = 64}).value();
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <hal/resource.hpp>

#include "drivers/dma/backend.hpp"
#include "drivers/dma/buffer_table.hpp"
#include "drivers/dma/channel.hpp"
#include "drivers/dma/mover.hpp"
#include "drivers/dma/placement.hpp"
#include "drivers/dma/ring.hpp"
#include "drivers/dma/threaded_channel.hpp"

namespace drivers::dma {

extern const Backend kSoftwareBackend;

/// What only this backend has, and its seams.
struct SoftwareOptions {
  /// How long worker and waiters poll before they sleep. Ignored where there is only one CPU.
  std::chrono::nanoseconds spin = kUsualSpin;
  /// Bytes between two looks for a cancel: some 100 us of copying. With 256 KiB, large copies were
  /// seen to run at half the speed of memcpy for some buffers; why was not isolated.
  std::uint64_t chunk_bytes = std::uint64_t{1} << 20;
  /// Up to so many bytes submit() does at once where nothing is before them: copying them takes
  /// less of the caller's time than handing them over. 0: leaves all to the worker.
  std::uint64_t in_place_bytes = std::uint64_t{4} << 10;
  std::shared_ptr<const Mover> mover = {};          ///< null: Mover::system()
  std::shared_ptr<const Placement> placement = {};  ///< null: Placement::system()
};

class SoftwareChannel final : public ThreadedChannel {
 public:
  /// Errors: InvalidArgument (an option out of range), System (no thread).
  [[nodiscard]] static hal::Result<std::unique_ptr<SoftwareChannel>> create(
      const ChannelOptions& options, SoftwareOptions software = {});
  ~SoftwareChannel() override;

  [[nodiscard]] const Limits& limits() const noexcept override { return limits_; }
  [[nodiscard]] hal::Result<BufferId> attach_buffer(std::span<std::byte> memory) override;
  [[nodiscard]] hal::Result<BufferId> attach_source(std::span<const std::byte> memory) override;
  hal::Result<void> detach_buffer(BufferId buffer) override;
  [[nodiscard]] hal::Result<Ticket> submit(std::span<const Descriptor> batch,
                                           Callback on_done) override;
  [[nodiscard]] hal::Result<Ticket> run(std::span<const Descriptor> batch,
                                        Clock::time_point deadline) override;
  hal::Result<std::size_t> cancel(const Ticket& ticket) override;
  void close() noexcept override;

 private:
  struct Key {};  ///< only create() has one

 public:
  SoftwareChannel(Key, const ChannelOptions& options, SoftwareOptions software);

 private:
  hal::Result<void> start(const std::string& name);
  /// The worker's life.
  void work() noexcept;
  /// Whether the engine is the caller's, for work of at most so many bytes. REQUIRES: mutex_.
  [[nodiscard]] bool fits_in_place(const Batch& batch, std::uint64_t most) const noexcept;
  /// Does all of a batch that was not cancelled, and returns when it is finished. REQUIRES: the
  /// worker, or mutex_ and an empty ring.
  void perform(Batch& batch, bool in_ring) noexcept;

  hal::Result<BufferId> attach(std::span<std::byte> memory, Access access);
  // The next ones REQUIRE mutex_.
  void follow_memory();
  hal::Result<void> push(const Ticket& ticket);

  [[nodiscard]] std::vector<std::shared_ptr<Batch>> in_flight() override;

  const Limits limits_;
  const SoftwareOptions software_;
  const int fixed_node_;

  std::mutex mutex_;  ///< guards the next four, and the producers' side of the ring
  BufferTable buffers_;
  Ring ring_;
  bool closed_ = false;
  int node_ = kNoNode;  ///< where the worker was bound to
};

}  // namespace drivers::dma
