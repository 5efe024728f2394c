// SPDX-License-Identifier: Apache-2.0
//
// TypedQueue<T>: a Queue whose messages are values of T.
//
// What it is: a Queue that was checked to carry messages of T's size and of the expected protocol
// number. What it is not: a check of what a peer wrote: any bytes can arrive, so T must be a type
// of which any bytes are a value, and its fields are to be judged like any input. Lifetime and
// thread-safety: those of hal::Queue.
//
//   struct Request { std::uint64_t from, to; std::uint32_t bytes; std::uint32_t tag; };
//   using Requests = hal::TypedQueue<Request, 0x646d6100'00000001>;   // "dma", version 1
//   auto requests = Requests::create(manager, "dma0/requests", {.capacity = 64}).value();
//   requests.try_push({.from = a, .to = b, .bytes = 4096, .tag = 7});
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <hal/queue.hpp>

namespace hal {

/// `Protocol` tells apart types of one size, and versions of one type; both sides name the same.
template <typename T, std::uint64_t Protocol = 0>
class TypedQueue {
  static_assert(std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T>,
                "T travels as bytes: it must be trivially copyable");
  static_assert(!std::is_pointer_v<T>, "an address means nothing in another process");
  static_assert(sizeof(T) <= Queue::kMaxMessageBytes, "T is larger than a message can be");

 public:
  using TimePoint = Queue::TimePoint;

  /// As Queue::create; message_bytes and protocol of the options are set from T and Protocol.
  [[nodiscard]] static Result<TypedQueue> create(ResourceManager& manager, std::string_view name,
                                                 QueueOptions options = {}) {
    options.message_bytes = sizeof(T);
    options.protocol = Protocol;
    return checked(Queue::create(manager, name, options));
  }
  /// As Queue::open. Errors: InvalidArgument also for messages of another size or protocol.
  [[nodiscard]] static Result<TypedQueue> open(ResourceManager& manager, std::string_view name,
                                               DriverId driver = {}) {
    return checked(Queue::open(manager, name, driver));
  }
  /// As Queue::attach. Errors: InvalidArgument also for messages of another size or protocol.
  [[nodiscard]] static Result<TypedQueue> attach(UniqueFd memory, UniqueFd bell = {}) {
    return checked(Queue::attach(std::move(memory), std::move(bell)));
  }

  /// As Queue::try_push.
  Result<void> try_push(const T& value) noexcept { return queue_.try_push(bytes_of(value)); }
  /// As Queue::push.
  Result<void> push(const T& value, TimePoint deadline) noexcept {
    return queue_.push(bytes_of(value), deadline);
  }
  /// As Queue::try_pop.
  [[nodiscard]] Result<T> try_pop() noexcept {
    T value{};
    return with(value, queue_.try_pop(bytes_of(value)));
  }
  /// As Queue::pop.
  [[nodiscard]] Result<T> pop(TimePoint deadline) noexcept {
    T value{};
    return with(value, queue_.pop(bytes_of(value), deadline));
  }

  /// The queue itself: doorbell, stalled slots, descriptors.
  [[nodiscard]] Queue& queue() noexcept { return queue_; }
  [[nodiscard]] const Queue& queue() const noexcept { return queue_; }

 private:
  explicit TypedQueue(Queue queue) noexcept : queue_(std::move(queue)) {}

  static Result<TypedQueue> checked(Result<Queue> queue) {
    if (!queue) return std::unexpected(std::move(queue.error()));
    if (queue->message_bytes() != sizeof(T)) {
      return resmgr::fail(ErrorCode::InvalidArgument, "queue with messages of another size");
    }
    if (queue->protocol() != Protocol) {
      return resmgr::fail(ErrorCode::InvalidArgument, "queue of another protocol");
    }
    return TypedQueue(std::move(*queue));
  }
  static Result<T> with(const T& value, Result<void> outcome) noexcept {
    if (!outcome) return std::unexpected(std::move(outcome.error()));
    return value;
  }
  static std::span<const std::byte> bytes_of(const T& value) noexcept {
    return std::as_bytes(std::span(&value, 1));
  }
  static std::span<std::byte> bytes_of(T& value) noexcept {
    return std::as_writable_bytes(std::span(&value, 1));
  }

  Queue queue_;
};

}  // namespace hal
