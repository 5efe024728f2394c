// SPDX-License-Identifier: Apache-2.0
#include <hal/queue.hpp>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <variant>

#include <hal/resource_manager.hpp>

#include "hal/src/guard.hpp"
#include "hal/src/queue_bell.hpp"
#include "hal/src/queue_memory.hpp"
#include "hal/src/queue_ring.hpp"

namespace hal {
namespace {

using ring::Bell;
using ring::MpscRing;
using ring::Outcome;
using ring::SpscRing;

constexpr const char* kClass = "queue";
constexpr const char* kBellClass = "queue-bell";
constexpr const char* kBellSuffix = "/bell";

std::unexpected<Error> closed() noexcept { return resmgr::fail(ErrorCode::Disconnected, "queue"); }

Result<void> to_result(Outcome outcome, ErrorCode when_blocked) noexcept {
  switch (outcome) {
    case Outcome::Done:
      return {};
    case Outcome::Blocked:
      return resmgr::fail(when_blocked, "queue");
    case Outcome::Skipped:
      return resmgr::fail(ErrorCode::Cancelled, "queue: the consumer skipped the message");
    case Outcome::Damaged:
      break;
  }
  return resmgr::fail_errno(EBADMSG, "queue: a peer wrote over the ring's indices");
}

ResourceMetadata metadata_of(const ring::Geometry& geometry) {
  const bool single = geometry.kind == QueueKind::SingleProducer;
  return {.type = ResourceType::Communication,
          .class_name = kClass,
          .size_bytes = geometry.memory_bytes,
          .flags = ResourceFlags::Shareable,
          .pairs = {{"message_bytes", std::to_string(geometry.message_bytes)},
                    {"capacity", std::to_string(geometry.capacity)},
                    {"producers", single ? "one" : "many"}}};
}

}  // namespace

struct Queue::Impl {
  Impl(UniqueFd memory, UniqueFd bell, ring::OpenedMemory opened, bool reachable)
      : memory_fd(std::move(memory)),
        bell_fd(std::move(bell)),
        mapping(std::move(opened.mapping)),
        view{.memory = mapping.data(), .geometry = opened.geometry},
        messages(view.control().messages, reachable, bell_fd.get()),
        room(view.control().room, reachable, -1),
        messages_ring(SpscRing(view)) {
    if (view.geometry.kind == QueueKind::MultiProducer) {
      messages_ring = MpscRing(view, ::getpid());
    }
  }

  Outcome push(std::span<const std::byte> message) noexcept {
    SpscRing* single = std::get_if<SpscRing>(&messages_ring);
    const Outcome outcome =
        single ? single->push(message) : std::get_if<MpscRing>(&messages_ring)->push(message);
    if (outcome == Outcome::Done) messages.ring_if_announced();
    return outcome;
  }
  Outcome pop(std::span<std::byte> message) noexcept {
    SpscRing* single = std::get_if<SpscRing>(&messages_ring);
    const Outcome outcome =
        single ? single->pop(message) : std::get_if<MpscRing>(&messages_ring)->pop(message);
    if (outcome == Outcome::Done) room.ring_if_announced();
    return outcome;
  }
  [[nodiscard]] bool fits(std::size_t bytes) const noexcept {
    return bytes == view.geometry.message_bytes;
  }

  UniqueFd memory_fd;
  UniqueFd bell_fd;
  resmgr::Mapping mapping;
  ring::RingView view;
  Bell messages;  // the consumer sleeps on it
  Bell room;      // producers sleep on it
  std::variant<SpscRing, MpscRing> messages_ring;
  Handle handle;
};

Queue::Queue() noexcept = default;
Queue::Queue(Queue&&) noexcept = default;
Queue& Queue::operator=(Queue&&) noexcept = default;
Queue::~Queue() = default;
Queue::Queue(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<Queue> Queue::create(ResourceManager& manager, std::string_view name,
                            const QueueOptions& options) {
  return guard("queue", [&]() -> Result<Queue> {
    auto geometry = ring::make_geometry(options);
    if (!geometry) return std::unexpected(std::move(geometry.error()));
    if (name.empty()) return resmgr::fail(ErrorCode::InvalidName, "queue");
    auto memory = ring::make_memory(*geometry);
    if (!memory) return std::unexpected(std::move(memory.error()));
    auto memory_copy = memory->duplicate();
    if (!memory_copy) return std::unexpected(std::move(memory_copy.error()));
    UniqueFd bell;
    UniqueFd bell_copy;
    if (options.event_doorbell) {
      auto made = ring::make_bell();
      if (!made) return std::unexpected(std::move(made.error()));
      auto copy = made->duplicate();
      if (!copy) return std::unexpected(std::move(copy.error()));
      bell = std::move(*made);
      bell_copy = std::move(*copy);
    }
    auto queue = attach(std::move(*memory), std::move(bell));
    if (!queue) return queue;
    const ResourceMetadata metadata = metadata_of(*geometry);
    const std::string bell_name = std::string(name) + kBellSuffix;
    const ResourceMetadata bell_metadata{.type = ResourceType::Communication,
                                         .class_name = kBellClass,
                                         .flags = ResourceFlags::Shareable};
    auto handle =
        options.event_doorbell
            ? manager.register_with_needed(
                  {.name = name, .metadata = metadata, .fd = std::move(*memory_copy)},
                  {.name = bell_name, .metadata = bell_metadata, .fd = std::move(bell_copy)},
                  options.driver)
            : manager.register_resource(name, metadata,
                                        {.driver = options.driver, .fd = std::move(*memory_copy)});
    if (!handle) return std::unexpected(std::move(handle.error()));
    queue->impl_->handle = *handle;
    return queue;
  });
}

Result<Queue> Queue::open(ResourceManager& manager, std::string_view name, DriverId driver) {
  return guard("queue", [&]() -> Result<Queue> {
    auto handle = manager.find(name);
    if (!handle) return std::unexpected(std::move(handle.error()));
    auto info = manager.info(*handle);
    if (!info) return std::unexpected(std::move(info.error()));
    const auto no_queue = [] {
      return resmgr::fail(ErrorCode::InvalidArgument, "the resource is no queue");
    };
    if (info->metadata.type != ResourceType::Communication || info->metadata.class_name != kClass) {
      return no_queue();
    }
    auto memory = manager.fd(*handle, driver);
    // Whether there is a file, of another process's resource, only the authority knows.
    if (!memory && memory.error() == ErrorCode::Unsupported) return no_queue();
    if (!memory) return std::unexpected(std::move(memory.error()));
    UniqueFd bell;
    auto needed = manager.teardown_order(*handle);
    if (!needed) return std::unexpected(std::move(needed.error()));
    // A resource of that name that the queue does not need is another author's.
    const auto bell_handle = manager.find(std::string(name) + kBellSuffix);
    if (bell_handle && std::ranges::find(*needed, *bell_handle) != needed->end()) {
      auto opened = manager.fd(*bell_handle, driver);
      if (!opened) return std::unexpected(std::move(opened.error()));
      bell = std::move(*opened);
    }
    auto queue = attach(std::move(*memory), std::move(bell));
    if (queue) queue->impl_->handle = *handle;
    return queue;
  });
}

Result<Queue> Queue::attach(UniqueFd memory, UniqueFd bell) {
  return guard("queue", [&]() -> Result<Queue> {
    auto opened = ring::open_memory(memory.get());
    if (!opened) return std::unexpected(std::move(opened.error()));
    if (opened->geometry.event_doorbell != static_cast<bool>(bell)) {
      return resmgr::fail(ErrorCode::InvalidArgument, bell ? "queue: it has no event doorbell"
                                                           : "queue: its doorbell is missing");
    }
    if (bell) {
      if (auto checked = ring::check_bell(bell.get()); !checked) {
        return std::unexpected(std::move(checked.error()));
      }
    }
    return Queue(std::make_unique<Impl>(std::move(memory), std::move(bell), std::move(*opened),
                                        ring::register_for_barriers()));
  });
}

void Queue::close() noexcept { impl_.reset(); }

Result<void> Queue::try_push(std::span<const std::byte> message) noexcept {
  if (!impl_) return closed();
  if (!impl_->fits(message.size())) return resmgr::fail(ErrorCode::InvalidArgument, "message size");
  return to_result(impl_->push(message), ErrorCode::WouldBlock);
}

Result<void> Queue::push(std::span<const std::byte> message, TimePoint deadline) noexcept {
  if (!impl_) return closed();
  if (!impl_->fits(message.size())) return resmgr::fail(ErrorCode::InvalidArgument, "message size");
  return to_result(
      impl_->room.wait(deadline, Outcome::Blocked, [&] { return impl_->push(message); }),
      ErrorCode::TimedOut);
}

Result<void> Queue::try_pop(std::span<std::byte> message) noexcept {
  if (!impl_) return closed();
  if (!impl_->fits(message.size())) return resmgr::fail(ErrorCode::InvalidArgument, "message size");
  return to_result(impl_->pop(message), ErrorCode::WouldBlock);
}

Result<void> Queue::pop(std::span<std::byte> message, TimePoint deadline) noexcept {
  if (!impl_) return closed();
  if (!impl_->fits(message.size())) return resmgr::fail(ErrorCode::InvalidArgument, "message size");
  return to_result(
      impl_->messages.wait(deadline, Outcome::Blocked, [&] { return impl_->pop(message); }),
      ErrorCode::TimedOut);
}

std::optional<StalledSlot> Queue::stalled() noexcept {
  auto* many = impl_ ? std::get_if<MpscRing>(&impl_->messages_ring) : nullptr;
  return many ? many->stalled() : std::nullopt;
}

Result<void> Queue::skip_stalled(const StalledSlot& slot, StalledProducer producer) noexcept {
  if (!impl_) return closed();
  if (producer != StalledProducer::Dead && producer != StalledProducer::MayLive) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue: unknown decision");
  }
  auto* many = std::get_if<MpscRing>(&impl_->messages_ring);
  if (!many || !many->skip(slot, producer)) {
    return resmgr::fail(ErrorCode::NotFound, "queue: the slot is not stalled");
  }
  impl_->room.ring_if_announced();
  return {};
}

Result<bool> Queue::prepare_wait() noexcept {
  if (!impl_) return closed();
  if (!impl_->bell_fd) return resmgr::fail(ErrorCode::Unsupported, "queue without event doorbell");
  ring::silence(impl_->bell_fd.get());
  static_cast<void>(impl_->messages.announce(ring::kEventSleeper));
  return std::visit([](auto& messages_ring) { return messages_ring.has_message(); },
                    impl_->messages_ring);
}

int Queue::bell() const noexcept { return impl_ ? impl_->bell_fd.get() : -1; }

std::uint32_t Queue::message_bytes() const noexcept {
  return impl_ ? impl_->view.geometry.message_bytes : 0;
}
std::uint32_t Queue::capacity() const noexcept { return impl_ ? impl_->view.geometry.capacity : 0; }
QueueKind Queue::kind() const noexcept {
  return impl_ ? impl_->view.geometry.kind : QueueKind::SingleProducer;
}
std::uint64_t Queue::protocol() const noexcept { return impl_ ? impl_->view.geometry.protocol : 0; }
Handle Queue::handle() const noexcept { return impl_ ? impl_->handle : Handle(); }

Result<UniqueFd> Queue::memory_fd() const {
  if (!impl_) return closed();
  return impl_->memory_fd.duplicate();
}

Result<UniqueFd> Queue::bell_fd() const {
  if (!impl_) return closed();
  if (!impl_->bell_fd) return resmgr::fail(ErrorCode::Unsupported, "queue without event doorbell");
  return impl_->bell_fd.duplicate();
}

}  // namespace hal
