// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/software.hpp"

#include <bit>
#include <utility>
#include <vector>

#include "drivers/dma/batch.hpp"
#include "drivers/dma/execute.hpp"
#include "drivers/dma/futex.hpp"
#include "drivers/dma/resolve.hpp"

namespace drivers::dma {
namespace {

/// A thread costs memory and, for a moment after each batch, a CPU.
constexpr std::uint32_t kMaxChannels = 64;
constexpr std::uint32_t kMaxSegments = 256;
constexpr std::uint32_t kMaxEntries = 1u << 16;
constexpr std::uint32_t kMaxBuffers = 1u << 16;
constexpr std::uint64_t kMaxAlignment = 4096;
/// Up to here run() works in place: some microseconds, what waiting for the worker would take too,
/// and not much for another thread to wait for the lock.
constexpr std::uint64_t kInPlaceBytes = 64 << 10;

hal::Result<void> check(const ChannelOptions& options, const SoftwareOptions& software) {
  const auto in_range = [](std::uint64_t value, std::uint64_t most) {
    return value > 0 && value <= most;
  };
  if (!std::has_single_bit(options.ring_entries) || options.ring_entries > kMaxEntries) {
    return fail(hal::ErrorCode::InvalidArgument, "ring_entries");
  }
  if (!in_range(options.max_buffers, kMaxBuffers)) {
    return fail(hal::ErrorCode::InvalidArgument, "max_buffers");
  }
  if (!std::has_single_bit(options.alignment) || options.alignment > kMaxAlignment) {
    return fail(hal::ErrorCode::InvalidArgument, "alignment");
  }
  if (options.max_length == 0) return fail(hal::ErrorCode::InvalidArgument, "max_length");
  if (options.numa_node < kNoNode) return fail(hal::ErrorCode::InvalidArgument, "numa_node");
  if (software.chunk_bytes == 0) return fail(hal::ErrorCode::InvalidArgument, "chunk_bytes");
  return {};
}

SoftwareOptions complete(SoftwareOptions software) {
  if (!software.mover) software.mover = Mover::system();
  if (!software.placement) software.placement = Placement::system();
  return software;
}

hal::Result<std::uint32_t> probe() { return kMaxChannels; }

hal::Result<std::unique_ptr<Channel>> open(std::uint32_t number, const ChannelOptions& options) {
  if (number >= kMaxChannels) return fail(hal::ErrorCode::InvalidArgument, "channel number");
  return SoftwareChannel::create(options);
}

}  // namespace

const Backend kSoftwareBackend = {
    .name = "software",
    .about = "a thread for each channel, memcpy, CRC32C by SSE4.2",
    .probe = probe,
    .open = open,
};

hal::Result<std::unique_ptr<SoftwareChannel>> SoftwareChannel::create(const ChannelOptions& options,
                                                                      SoftwareOptions software) {
  if (auto fine = check(options, software); !fine) return std::unexpected(fine.error());
  auto channel = std::make_unique<SoftwareChannel>(Key(), options, complete(std::move(software)));
  if (auto started = channel->start(options.name); !started) {
    return std::unexpected(started.error());
  }
  return channel;
}

SoftwareChannel::SoftwareChannel(Key, const ChannelOptions& options, SoftwareOptions software)
    : ThreadedChannel(software.spin),
      limits_{.alignment = options.alignment,
              .max_length = options.max_length,
              .max_segments = kMaxSegments,
              .ring_entries = options.ring_entries,
              .max_buffers = options.max_buffers,
              .in_order = true},
      software_(std::move(software)),
      fixed_node_(options.numa_node),
      buffers_(options.max_buffers),
      ring_(options.ring_entries) {}

SoftwareChannel::~SoftwareChannel() { close(); }

hal::Result<void> SoftwareChannel::start(const std::string& name) {
  if (auto started = ThreadedChannel::start(name, [this]() noexcept { work(); }); !started) {
    return started;
  }
  if (fixed_node_ != kNoNode) software_.placement->run_on(thread(), fixed_node_);
  return {};
}

hal::Result<BufferId> SoftwareChannel::attach_buffer(std::span<std::byte> memory) {
  return attach(memory, Access::ReadWrite);
}

hal::Result<BufferId> SoftwareChannel::attach_source(std::span<const std::byte> memory) {
  // Access::Read keeps it as constant as the type did.
  return attach({const_cast<std::byte*>(memory.data()), memory.size()}, Access::Read);
}

hal::Result<BufferId> SoftwareChannel::attach(std::span<std::byte> memory, Access access) {
  const int node = fixed_node_ == kNoNode ? software_.placement->node_of(memory) : kNoNode;
  const std::lock_guard lock(mutex_);
  if (closed_) return fail(hal::ErrorCode::Disconnected, "DMA channel");
  auto id = buffers_.attach({memory, access, node});
  if (id && fixed_node_ == kNoNode) follow_memory();
  return id;
}

void SoftwareChannel::follow_memory() {
  NodeVote vote;
  buffers_.for_each(
      [&vote](const AttachedBuffer& buffer) { vote.add(buffer.node, buffer.memory.size()); });
  const int node = vote.winner();
  if (node == kNoNode || node == node_) return;
  // Not closed, and the lock is held: the worker was not joined yet.
  if (software_.placement->run_on(thread(), node)) node_ = node;
}

hal::Result<void> SoftwareChannel::detach_buffer(BufferId buffer) {
  const std::lock_guard lock(mutex_);
  bool used = false;
  ring_.for_each([&](const std::shared_ptr<Batch>& batch) { used = used || batch->uses(buffer); });
  if (used) return fail(hal::ErrorCode::InUse, "a descriptor in flight refers to the buffer");
  return buffers_.detach(buffer);
}

hal::Result<Ticket> SoftwareChannel::submit(std::span<const Descriptor> batch, Callback on_done) {
  const std::lock_guard lock(mutex_);
  if (closed_) return fail(hal::ErrorCode::Disconnected, "DMA channel");
  auto resolved = resolve(this, batch, limits_, buffers_, std::move(on_done));
  if (!resolved) return std::unexpected(resolved.error());
  Ticket ticket(*std::move(resolved));
  // A callback is the worker's to call.
  if (!ticket.batch()->has_callback() && fits_in_place(*ticket.batch(), software_.in_place_bytes)) {
    perform(*ticket.batch(), false);
    tell(ticket.batch());
    return ticket;
  }
  if (auto pushed = push(ticket); !pushed) return std::unexpected(pushed.error());
  return ticket;
}

bool SoftwareChannel::fits_in_place(const Batch& batch, std::uint64_t most) const noexcept {
  // The worker has nothing, and gets nothing while the lock is held.
  return batch.length() <= most && ring_.empty();
}

hal::Result<Ticket> SoftwareChannel::run(std::span<const Descriptor> batch,
                                         Clock::time_point deadline) {
  if (on_thread()) return fail(hal::ErrorCode::Deadlock, "a callback waits for work behind it");
  std::unique_lock lock(mutex_);
  if (closed_) return fail(hal::ErrorCode::Disconnected, "DMA channel");
  auto resolved = resolve(this, batch, limits_, buffers_, {});
  if (!resolved) return std::unexpected(resolved.error());
  Ticket ticket(*std::move(resolved));

  if (fits_in_place(*ticket.batch(), kInPlaceBytes)) {
    perform(*ticket.batch(), false);
    tell(ticket.batch());
    lock.unlock();
    return finish(std::move(ticket), kForever);
  }
  if (auto pushed = push(ticket); !pushed) return std::unexpected(pushed.error());
  lock.unlock();
  return finish(std::move(ticket), deadline);
}

hal::Result<void> SoftwareChannel::push(const Ticket& ticket) {
  if (!ring_.has_room(ticket.size())) {
    return fail(hal::ErrorCode::WouldBlock, "the channel's ring is full");
  }
  ring_.push(ticket.batch());
  return {};
}

hal::Result<std::size_t> SoftwareChannel::cancel(const Ticket& ticket) {
  if (auto mine = check_owner(ticket); !mine) return std::unexpected(mine.error());
  return ticket.batch()->cancel();
}

std::vector<std::shared_ptr<Batch>> SoftwareChannel::in_flight() {
  std::vector<std::shared_ptr<Batch>> batches;
  const std::lock_guard lock(mutex_);
  ring_.for_each([&batches](const std::shared_ptr<Batch>& batch) { batches.push_back(batch); });
  return batches;
}

void SoftwareChannel::close() noexcept {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    ring_.for_each([](const std::shared_ptr<Batch>& batch) { batch->cancel(); });
    ring_.close();
  }
  join();
}

void SoftwareChannel::work() noexcept {
  while (const std::shared_ptr<Batch>* const front = ring_.front(spin())) {
    ring_.prefetch_next();
    perform(**front, true);
    tell(*front);
    ring_.retire();
  }
}

void SoftwareChannel::perform(Batch& batch, bool in_ring) noexcept {
  for (std::size_t index = 0; index < batch.size(); ++index) {
    batch.prefetch(index + 1);
    const bool claimed = batch.claim(index);
    Outcome outcome;
    if (claimed) outcome = execute(batch, index, *software_.mover, software_.chunk_bytes);
    batch.pass(batch.work(index).length - outcome.bytes);
    // First, so that who sees the outcome finds room in the ring.
    if (in_ring) ring_.leave();
    if (claimed) batch.settle(index, outcome);
  }
  // Every descriptor is decided, but who cancelled some may not have counted them yet.
  static_cast<void>(batch.wait(kForever, spin()));
}

}  // namespace drivers::dma
