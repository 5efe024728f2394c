// SPDX-License-Identifier: Apache-2.0
//
// Channel: one DMA engine's queue of descriptors, the same for every backend.
//
// What it is: attach memory once, submit batches of descriptors that refer to it, and learn of
// their end in any of three ways: wait(), a callback, or an eventfd. Every address that an engine
// gets was checked against attached memory first. What it is not: an owner of memory, and no lock;
// who may use a channel is decided by the resource that stands for it (see dma_driver.hpp).
//
// Order: a channel works in the order of submission, one descriptor after another, each seeing what
// the ones before it wrote, unless Limits::in_order is false.
// Lifetime: attached memory must stay mapped until it is detached or the channel is gone. Tickets
// may outlive the channel. A backend whose device has storage of its own attaches that by itself
// and says in its header under which BufferId.
// Thread-safety: all functions may be called from any thread; destruction is the exception.
//
//   BufferId in = channel.attach_source(file).value();
//   BufferId out = channel.attach_buffer(frame).value();
//   const Descriptor work[] = {Descriptor::copy({in, 0, n}, {out, 0, n}),
//                              Descriptor::crc32c({out, 0, n})};
//   Ticket ticket = channel.submit(work).value();
//   channel.wait(ticket, Channel::Clock::now() + 10ms);
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include <hal/resource.hpp>

#include "drivers/dma/descriptor.hpp"
#include "drivers/dma/ticket.hpp"

namespace drivers::dma {

/// What a channel can do. Figures beyond these are CapacityExceeded, misalignment InvalidArgument.
struct Limits {
  /// Bytes, a power of two: address and length of each segment are multiples of it. (The slot of a
  /// CRC32C result needs 4 instead.)
  std::uint64_t alignment = 1;
  std::uint64_t max_length = 0;    ///< bytes of one descriptor, all segments together
  std::uint32_t max_segments = 0;  ///< in one list
  std::uint32_t ring_entries = 0;  ///< descriptors in flight
  std::uint32_t max_buffers = 0;   ///< attached at a time
  bool in_order = true;            ///< see Order above
};

class Channel {
 public:
  /// CLOCK_MONOTONIC, for deadlines.
  using Clock = std::chrono::steady_clock;
  /// A deadline that never comes.
  static constexpr Clock::time_point kForever = Clock::time_point::max();

  Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  /// As close(), then waits for callbacks to return. REQUIRES: no other thread is inside a call,
  /// and the caller is not a callback of this channel.
  virtual ~Channel();

  [[nodiscard]] virtual const Limits& limits() const noexcept = 0;

  // ---- memory -----------------------------------------------------------------------------------

  /// Lets descriptors read and write `memory`. The same memory may be attached more than once.
  /// Errors: InvalidArgument (null, empty, or wraps around the address space), CapacityExceeded,
  /// Disconnected (closed); those of the device's IOMMU where there is one.
  [[nodiscard]] virtual hal::Result<BufferId> attach_buffer(std::span<std::byte> memory) = 0;
  /// Lets descriptors read `memory`; as a destination it is NotPermitted. Errors: as above.
  [[nodiscard]] virtual hal::Result<BufferId> attach_source(std::span<const std::byte> memory) = 0;
  /// Ends that; the id is stale from then on. Errors: StaleHandle, InUse (a descriptor that is
  /// queued or running refers to it: wait or cancel first).
  virtual hal::Result<void> detach_buffer(BufferId buffer) = 0;

  // ---- work -------------------------------------------------------------------------------------

  /// Submits all of `batch`, or nothing. Never waits, but an engine may do a little work at once,
  /// in the calling thread, if that is the shorter way. Memory is read and written between the
  /// start of this call and the batch's end only.
  ///
  /// `on_done` is called once, on the channel's own thread, when every outcome is final, however
  /// the batch ended; under no lock. It may call any function of this channel but the destructor.
  /// While it runs the channel does nothing else. Where submit() fails, it is dropped without a
  /// call.
  ///
  /// Errors, with the number of the descriptor and segment in detail():
  ///   InvalidArgument   an empty batch; an unknown operation; a list of segments missing, or there
  ///                     where none may be; a length of 0; a segment that reaches out of
  ///                     its buffer; totals that differ; source and destination that overlap in
  ///                     memory; misalignment; a result slot that is not one segment of 4 bytes
  ///   StaleHandle       a BufferId that names nothing attached
  ///   NotPermitted      a destination in memory attached for reading
  ///   CapacityExceeded  beyond limits(), with requested() and available()
  ///   WouldBlock        the ring has no room now
  ///   Disconnected      closed
  [[nodiscard]] virtual hal::Result<Ticket> submit(std::span<const Descriptor> batch,
                                                   Callback on_done = {}) = 0;
  /// Submits, waits, and returns the finished ticket: the shortest way for work that is waited for,
  /// because the engine may do it at once in the calling thread. When this returns, the memory is
  /// at rest. It counts for completion_fd() as any batch. Errors: those of submit(); TimedOut (the
  /// rest was cancelled, and has stopped); those of Ticket::result(); Deadlock (called from a
  /// callback of this channel).
  [[nodiscard]] virtual hal::Result<Ticket> run(std::span<const Descriptor> batch,
                                                Clock::time_point deadline);
  /// Cancels what is left of a batch. Descriptors that have not begun will never touch memory, and
  /// are final when this returns, though they leave the ring and are told of in their turn; one
  /// that runs is asked to stop, and becomes Cancelled, or Done if it was at its end. Returns how
  /// many were kept from beginning. Errors: InvalidArgument (empty ticket, or of another channel).
  virtual hal::Result<std::size_t> cancel(const Ticket& ticket) = 0;
  /// Waits until every outcome is final, then returns Ticket::result(). The batch's callback may
  /// still be about to run. A deadline that has passed looks once. Errors: TimedOut (nothing
  /// changes; wait again or cancel), Deadlock (called from a callback of this channel for work
  /// behind it), InvalidArgument (empty ticket, or of another channel), and those of
  /// Ticket::result().
  virtual hal::Result<void> wait(const Ticket& ticket, Clock::time_point deadline) = 0;
  /// An eventfd, nonblocking, to poll or read: each batch that finishes after the first call of
  /// this adds one, after its callback returned. The channel owns it. Errors: System.
  [[nodiscard]] virtual hal::Result<int> completion_fd() = 0;

  // ---- stopping ---------------------------------------------------------------------------------

  /// Waits until everything submitted before is finished. Errors: TimedOut, Deadlock (called from a
  /// callback of this channel while there is work behind it).
  virtual hal::Result<void> drain(Clock::time_point deadline) = 0;
  /// Cancels everything submitted before and waits until the engine touches no memory for it. The
  /// channel can be used again afterwards. Errors: TimedOut (a descriptor still runs).
  virtual hal::Result<void> quiesce(Clock::time_point deadline) = 0;
  /// Cancels everything and refuses further work with Disconnected. Waits for the engine to stop,
  /// except when called from a callback. Idempotent.
  virtual void close() noexcept = 0;

 protected:
  /// The end of run(): waits, or cancels at the deadline.
  [[nodiscard]] hal::Result<Ticket> finish(Ticket ticket, Clock::time_point deadline);
};

}  // namespace drivers::dma
