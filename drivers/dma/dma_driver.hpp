// SPDX-License-Identifier: Apache-2.0
//
// DmaDriver: DMA channels as resources that are found, acquired and released like any other.
//
// What it is: opens the channels of one backend, registers them, and gives a channel to who holds
// its resource. What it is not: a guard at every submission: the hold is checked by open(). Who
// releases it, or whose hold was revoked, must not use the Channel any more.
//
// Registered for the driver "dma-<backend>": Hardware resources "<name>/channel/<n>" of class
// "dma-channel", cookie n, Shareable (several may submit to one channel, which serves them in
// order) and Transient (a channel is nothing without the process that works for it).
// Lifetime: must end before the manager does; channels end with the driver.
// Thread-safety: all functions may be called from any thread; destruction is the exception.
//
//   auto driver = DmaDriver::create(*manager, {.channels = 2}).value();
//   auto hold = manager->acquire_scoped_resource(manager->find("dma0/channel/0").value());
//   Channel* channel = driver->open(*hold).value();
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <hal/refs.hpp>
#include <hal/resource.hpp>
#include <hal/resource_manager.hpp>

#include "drivers/dma/backend.hpp"
#include "drivers/dma/channel.hpp"

namespace drivers::dma {

struct DmaOptions {
  std::string backend = "software";  ///< one of backends()
  std::uint32_t channels = 1;        ///< 1 to what the backend has
  std::uint32_t ring_entries = 256;  ///< of each channel; see ChannelOptions
  std::string name = "dma0";         ///< what the resources' names start with
  int numa_node = -1;                ///< see ChannelOptions
};

class DmaDriver {
 public:
  /// Opens and registers. Errors: NotFound (no such backend), Unsupported (the backend has nothing
  /// here), InvalidArgument (channels, ring entries), those of Backend::open() and of
  /// ResourceManager::register_driver() and register_resource(). On an error nothing stays
  /// registered.
  [[nodiscard]] static hal::Result<std::unique_ptr<DmaDriver>> create(
      hal::ResourceManager& manager, const DmaOptions& options = {});
  /// The same with a backend that is not in the array; it must outlive the call only.
  [[nodiscard]] static hal::Result<std::unique_ptr<DmaDriver>> create(hal::ResourceManager& manager,
                                                                      const DmaOptions& options,
                                                                      const Backend& backend);
  DmaDriver(const DmaDriver&) = delete;
  DmaDriver& operator=(const DmaDriver&) = delete;
  /// As close() without time to drain; a resource that is still held stays registered, and whoever
  /// opens it is refused. REQUIRES: nobody uses a Channel of this driver any more.
  ~DmaDriver();

  [[nodiscard]] hal::DriverId id() const noexcept { return id_; }
  /// The resources, by channel number.
  [[nodiscard]] std::span<const hal::Handle> handles() const noexcept { return handles_; }

  /// The channel behind a resource that is held, exclusively or shared. Valid until the hold or the
  /// driver ends. Errors: InvalidArgument (an empty hold), NotFound (not a channel of this driver),
  /// NotPermitted (nobody holds that resource here: the hold is another manager's, or was fenced),
  /// StaleHandle (unregistered), Disconnected (this driver or the manager is closed).
  [[nodiscard]] hal::Result<Channel*> open(const hal::ScopedResource& hold);

  /// Refuses open(), waits up to `drain` in all for holders to let go and for submitted work to
  /// end, cancels the rest, stops all channels and unregisters their resources. May be repeated.
  /// Errors: those of ResourceManager::unregister_resource() for the first resource that stays
  /// registered: InUse names who holds it. The channels are stopped all the same.
  hal::Result<void> close(std::chrono::nanoseconds drain = {});

 private:
  struct Key {};  ///< only create() has one

 public:
  DmaDriver(Key, hal::ResourceManager& manager, hal::DriverId id) noexcept;

 private:
  hal::Result<void> add_channel(std::uint32_t number, const DmaOptions& options,
                                const Backend& backend);

  hal::ResourceManager& manager_;
  hal::DriverId id_;
  // Neither changes once create() has returned.
  std::vector<std::unique_ptr<Channel>> channels_;
  std::vector<hal::Handle> handles_;

  std::atomic<bool> closed_{false};
};

}  // namespace drivers::dma
