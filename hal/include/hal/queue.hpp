// SPDX-License-Identifier: Apache-2.0
//
// Queue: messages of one size between threads or processes, through a ring in shared memory.
//
// What it is: a bounded ring for one consumer and one producer, or many producers, that is
// registered as a Communication resource (class "queue") with the ring's memory as its file. A
// message costs no system call and, with a single producer, no locked instruction, unless the other
// side sleeps and has to be rung for. What it is not: a broadcast, a priority queue, or for several
// consumers at a time.
//
// Trust: nothing in the memory is believed. Sizes are read once, checked, and kept aside; every
// index is masked. A hostile peer can garble, drop or repeat messages and stall the flow; it can't
// make these functions read outside of the ring or outlast their deadlines. What an eventfd
// doorbell adds: whoever has it can fill it so that it blocks who rings, so give it only to peers
// you trust.
//
// Killed peers: a single producer, or a consumer, can be killed at any instruction; the next one in
// its place goes on (a message in the hands of a dying consumer is delivered again). One of many
// producers that is killed between its claim and its publication leaves a stalled slot, at which
// the consumer stops until stalled() and skip_stalled() have got it over that.
//
// Lifetime: the memory lives as long as any Queue, descriptor or resource of it. A Queue does not
// touch the manager again after it was made, and may outlive it; who created it unregisters
// handle(), by ResourceManager::teardown(), which takes the doorbell with it. After fork() the
// child attaches anew. Thread-safety: one consumer thread at a time, for each ring and not only for
// each Queue (hold the resource exclusively to be the one); one producer thread at a time, or with
// MultiProducer any number. Both sides may use one Queue object at the same time; close(),
// assignment and destruction need it to be idle.
//
//   auto queue = hal::Queue::create(manager, "dma0/requests", {.message_bytes = 64}).value();
//   queue.push(request, hal::Queue::Clock::now() + 5ms);          // here, and elsewhere:
//   auto other = hal::Queue::attach(std::move(received_fd)).value();
//   other.pop(request, hal::Queue::kForever);
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include <hal/export.hpp>
#include <hal/resource.hpp>

namespace hal {

class ResourceManager;

enum class QueueKind : std::uint32_t {
  SingleProducer = 0,
  MultiProducer = 1,  ///< a push costs three locked instructions
};

struct QueueOptions {
  std::uint32_t message_bytes = 64;  ///< 1 to Queue::kMaxMessageBytes
  std::uint32_t capacity = 256;      ///< messages; a power of two, 2 to Queue::kMaxCapacity
  QueueKind kind = QueueKind::SingleProducer;
  /// Also makes an eventfd that producers write to when the consumer waits by prepare_wait(): for
  /// consumers that live in an event loop. It is registered beside the queue, as NAME/bell.
  bool event_doorbell = false;
  std::uint64_t protocol = 0;  ///< the author's mark for what the messages mean; kept, not read
  DriverId driver = {};        ///< the owner of the resource
};

/// A slot that a producer claimed and did not publish yet.
struct StalledSlot {
  std::uint64_t position = 0;      ///< how many messages were claimed before it
  std::uint32_t producer_pid = 0;  ///< as the producer sees itself in its PID namespace
};

/// What the caller of skip_stalled() knows of the producer.
enum class StalledProducer : std::uint8_t {
  Dead,     ///< it can't write any more: the slot is used again
  MayLive,  ///< it may wake up and write: the slot is given up, and the ring is one shorter
};

class HAL_EXPORT Queue {
 public:
  using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC
  using TimePoint = Clock::time_point;
  static constexpr TimePoint kForever = TimePoint::max();
  static constexpr std::uint32_t kMaxMessageBytes = 1u << 16;
  static constexpr std::uint32_t kMaxCapacity = 1u << 20;
  static constexpr std::uint64_t kMaxMemoryBytes = std::uint64_t{1} << 30;

  /// Makes and registers a queue; its memory is allocated here. Errors: InvalidArgument (an option
  /// out of range, or more than kMaxMemoryBytes), InvalidName (also one too long for "/bell" to
  /// follow), AlreadyExists, CapacityExceeded, Disconnected, System. Nothing is left registered
  /// then.
  [[nodiscard]] static Result<Queue> create(ResourceManager& manager, std::string_view name,
                                            const QueueOptions& options = {});
  /// Opens a queue of this domain on behalf of `driver` (as ResourceManager::fd). Errors: NotFound,
  /// InvalidName, InvalidArgument (not a queue), NotPermitted, Disconnected, as attach().
  [[nodiscard]] static Result<Queue> open(ResourceManager& manager, std::string_view name,
                                          DriverId driver = {});
  /// Attaches to a queue made elsewhere. `memory` comes from memory_fd(), and `bell`, for a queue
  /// with an event doorbell, from bell_fd(). Errors: InvalidArgument (not the memory of a queue,
  /// not sealed against resizing, damaged, or the doorbell is missing, unexpected or no eventfd; to
  /// who does not see /proc one whose counter is full looks like none), VersionMismatch,
  /// NotPermitted (not writable), System. Both descriptors are closed then.
  [[nodiscard]] static Result<Queue> attach(UniqueFd memory, UniqueFd bell = {});

  /// An empty Queue, as after close(): every call returns Disconnected.
  Queue() noexcept;
  Queue(Queue&&) noexcept;
  Queue& operator=(Queue&&) noexcept;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue();

  /// Unmaps the ring. Idempotent. The resource stays registered.
  void close() noexcept;
  [[nodiscard]] explicit operator bool() const noexcept { return impl_ != nullptr; }

  // ---- producers ----------------------------------------------------------------------------

  /// Appends a message of exactly message_bytes(). Errors: WouldBlock (the ring is full, or a
  /// thousand other producers were faster), InvalidArgument (size), Cancelled (the consumer skipped
  /// this message as stalled; see skip_stalled), System with EBADMSG (a peer wrote nonsense over
  /// the ring's indices), Disconnected.
  Result<void> try_push(std::span<const std::byte> message) noexcept;
  /// As try_push, but waits for room until `deadline`. Errors: TimedOut in place of WouldBlock. A
  /// deadline that has passed still tries once.
  Result<void> push(std::span<const std::byte> message, TimePoint deadline) noexcept;

  // ---- the consumer -------------------------------------------------------------------------

  /// Takes the oldest message into `message`, of exactly message_bytes(). Errors: WouldBlock (none
  /// is there, or the next slot is stalled), InvalidArgument (size), System with EBADMSG (a peer
  /// wrote nonsense over the ring's indices), Disconnected.
  Result<void> try_pop(std::span<std::byte> message) noexcept;
  /// As try_pop, but waits for a message until `deadline`. Errors: TimedOut in place of WouldBlock.
  Result<void> pop(std::span<std::byte> message, TimePoint deadline) noexcept;

  /// MultiProducer: the slot at which the consumer stands, if a producer claimed and did not yet
  /// publish it. That is a matter of nanoseconds unless the producer was preempted, stopped or
  /// killed; whether to wait on is the caller's decision. Always empty for SingleProducer.
  [[nodiscard]] std::optional<StalledSlot> stalled() noexcept;
  /// Goes on without the message of a stalled slot. With StalledProducer::Dead the slot is used
  /// again: should the producer be alive after all, it may write over a later message. With MayLive
  /// the slot is never used again, and the producer's push, should it go on, returns Cancelled.
  /// Errors: NotFound (the slot is not stalled, or not any more: pop it), InvalidArgument (unknown
  /// `producer`), Disconnected.
  Result<void> skip_stalled(const StalledSlot& slot, StalledProducer producer) noexcept;

  /// For an event loop: empties the doorbell, announces that the consumer sleeps, and looks again.
  /// True: a message is there, don't sleep. False: bell() becomes readable after the next push.
  /// A producer that is killed between its push and its ring leaves the bell silent, so poll with a
  /// time limit. Errors: Unsupported (no event doorbell), Disconnected.
  [[nodiscard]] Result<bool> prepare_wait() noexcept;
  /// The eventfd to poll, -1 if there is none. Owned by the Queue.
  [[nodiscard]] int bell() const noexcept;

  // ---- what it is ---------------------------------------------------------------------------

  /// 0 for an empty Queue, as all below.
  [[nodiscard]] std::uint32_t message_bytes() const noexcept;
  [[nodiscard]] std::uint32_t capacity() const noexcept;
  [[nodiscard]] QueueKind kind() const noexcept;
  [[nodiscard]] std::uint64_t protocol() const noexcept;
  /// The resource; null for one that was attached.
  [[nodiscard]] Handle handle() const noexcept;
  /// A duplicate of the ring's memory, for another process to attach(). Errors: Disconnected,
  /// System, CapacityExceeded (descriptors).
  [[nodiscard]] Result<UniqueFd> memory_fd() const;
  /// A duplicate of the eventfd. Errors: Unsupported (no event doorbell), as memory_fd().
  [[nodiscard]] Result<UniqueFd> bell_fd() const;

 private:
  struct Impl;
  explicit Queue(std::unique_ptr<Impl> impl) noexcept;

  std::unique_ptr<Impl> impl_;
};

}  // namespace hal
