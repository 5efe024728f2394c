// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/dma_driver.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "drivers/dma/backends.hpp"

namespace drivers::dma {

hal::Result<std::unique_ptr<DmaDriver>> DmaDriver::create(hal::ResourceManager& manager,
                                                          const DmaOptions& options) {
  const Backend* backend = find_backend(options.backend);
  if (backend == nullptr) return fail(hal::ErrorCode::NotFound, "DMA backend");
  return create(manager, options, *backend);
}

hal::Result<std::unique_ptr<DmaDriver>> DmaDriver::create(hal::ResourceManager& manager,
                                                          const DmaOptions& options,
                                                          const Backend& backend) {
  const auto available = backend.probe();
  if (!available) return std::unexpected(available.error());
  if (options.channels == 0 || options.channels > *available) {
    hal::Error error(hal::ErrorCode::InvalidArgument, "DMA channels");
    error.with_amounts(options.channels, *available);
    return std::unexpected(std::move(error));
  }
  const auto id = manager.register_driver("dma-" + std::string(backend.name));
  if (!id) return std::unexpected(id.error());

  auto driver = std::make_unique<DmaDriver>(Key(), manager, *id);
  for (std::uint32_t number = 0; number < options.channels; ++number) {
    if (auto added = driver->add_channel(number, options, backend); !added) {
      return std::unexpected(added.error());
    }
  }
  return driver;
}

DmaDriver::DmaDriver(Key, hal::ResourceManager& manager, hal::DriverId id) noexcept
    : manager_(manager), id_(id) {}

DmaDriver::~DmaDriver() { static_cast<void>(close()); }

hal::Result<void> DmaDriver::add_channel(std::uint32_t number, const DmaOptions& options,
                                         const Backend& backend) {
  const std::string decimal = std::to_string(number);
  auto channel = backend.open(number, {.name = options.name + "/" + decimal,
                                       .ring_entries = options.ring_entries,
                                       .numa_node = options.numa_node});
  if (!channel) return std::unexpected(channel.error());

  const hal::ResourceMetadata metadata{
      .type = hal::ResourceType::Hardware,
      .class_name = "dma-channel",
      .flags = hal::ResourceFlags::Shareable | hal::ResourceFlags::Transient,
      .numa_node = options.numa_node,
      .pairs = {{"backend", std::string(backend.name)},
                {"ring", std::to_string((*channel)->limits().ring_entries)},
                {"alignment", std::to_string((*channel)->limits().alignment)}},
  };
  hal::RegisterOptions how;
  how.driver = id_;
  how.cookie = number;
  const auto handle =
      manager_.register_resource(options.name + "/channel/" + decimal, metadata, std::move(how));
  if (!handle) return std::unexpected(handle.error());
  channels_.push_back(*std::move(channel));
  handles_.push_back(*handle);
  return {};
}

hal::Result<Channel*> DmaDriver::open(const hal::ScopedResource& hold) {
  if (!hold) return fail(hal::ErrorCode::InvalidArgument, "an empty hold opens no channel");
  if (closed_.load(std::memory_order_acquire)) {
    return fail(hal::ErrorCode::Disconnected, "DMA driver");
  }
  const auto handle = std::ranges::find(handles_, hold.handle());
  if (handle == handles_.end()) return fail(hal::ErrorCode::NotFound, "channel of this driver");

  // Another manager's hold may carry the same bits: ask ours who holds it.
  const auto stats = manager_.get_resource_stats(hold.handle());
  if (!stats) return std::unexpected(stats.error());
  if (std::ranges::find(stats->holders, hold.kind(), &hal::Participant::kind) ==
      stats->holders.end()) {
    return fail(hal::ErrorCode::NotPermitted, "the DMA channel is not held");
  }
  const auto number = static_cast<std::size_t>(std::distance(handles_.begin(), handle));
  return channels_[number].get();
}

hal::Result<void> DmaDriver::close(std::chrono::nanoseconds drain) {
  const auto now = Channel::Clock::now();
  const auto deadline = drain > Channel::kForever - now ? Channel::kForever : now + drain;
  const auto left = [deadline] {
    return std::max<std::chrono::nanoseconds>(deadline - Channel::Clock::now(), {});
  };
  closed_.store(true, std::memory_order_release);

  hal::Result<void> first;
  for (std::size_t number = 0; number < channels_.size(); ++number) {
    if (manager_.is_valid(handles_[number])) {
      auto gone = manager_.unregister_resource(handles_[number], left());
      if (!gone && first) first = std::move(gone);
    }
    // A channel that can't end its work in time has it cancelled below.
    static_cast<void>(channels_[number]->drain(deadline));
    channels_[number]->close();
  }
  return first;
}

}  // namespace drivers::dma
