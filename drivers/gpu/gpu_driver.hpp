// SPDX-License-Identifier: Apache-2.0
//
// GpuDriver: buffers as resources of a manager.
//
// What it is: makes and imports buffers of one backend and registers each as a Memory resource of
// class "gpu-buffer", Shareable, with the memory as its file, under NAME/buffer/N or a name of the
// caller's, owned by the driver role "gpu-BACKEND". What it is not: an allocator of small pieces; a
// buffer is whole pages.
//
// Lifetime: the manager must outlive the driver; buffers are shared and outlive both.
// Thread-safety: all functions may be called from any thread; destruction is the exception.
//
//   auto driver = GpuDriver::create(manager).value();
//   auto buffer = driver->create_buffer({.width = 640, .height = 480}, "camera/frame/0").value();
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include <hal/resource.hpp>
#include <hal/resource_manager.hpp>

#include "drivers/gpu/backend.hpp"
#include "drivers/gpu/buffer.hpp"
#include "drivers/gpu/layout.hpp"

namespace drivers::gpu {

struct GpuDriverOptions {
  std::string name = "gpu0";  ///< what the names of unnamed buffers start with
  std::string backend = {};   ///< empty: the best that the machine has
};

class GpuDriver {
  struct Key {};  // only create() has one

 public:
  /// Errors: NotFound (backend), Unsupported, NotPermitted (the machine does not let us), those of
  /// ResourceManager::register_driver.
  [[nodiscard]] static hal::Result<std::unique_ptr<GpuDriver>> create(
      hal::ResourceManager& manager, const GpuDriverOptions& options = {});
  /// The same with a backend that is not in the array; it must outlive all buffers.
  [[nodiscard]] static hal::Result<std::unique_ptr<GpuDriver>> create(
      hal::ResourceManager& manager, const GpuDriverOptions& options, const Backend& backend);
  GpuDriver(Key, hal::ResourceManager& manager, const Backend& backend, hal::DriverId id,
            std::string name) noexcept;
  GpuDriver(const GpuDriver&) = delete;
  GpuDriver& operator=(const GpuDriver&) = delete;
  /// As close(); what is still held stays registered.
  ~GpuDriver();

  /// A new buffer, zeroed. Errors: those of compute_layout, Backend::allocate and
  /// ResourceManager::register_resource (names, CapacityExceeded, Disconnected); nothing is left of
  /// it then.
  [[nodiscard]] hal::Result<std::shared_ptr<Buffer>> create_buffer(const BufferSpec& spec,
                                                                   std::string_view name = {});
  /// Memory that export_fd() of another driver or process gave. `spec` says what is in there, with
  /// the stride that the exporter told. Errors: as create_buffer, with Backend::import; the
  /// descriptor is closed then.
  [[nodiscard]] hal::Result<std::shared_ptr<Buffer>> import_buffer(hal::UniqueFd fd,
                                                                   const BufferSpec& spec,
                                                                   std::string_view name = {});
  /// The buffer of a resource. Errors: NotFound (not a buffer of this driver).
  [[nodiscard]] hal::Result<std::shared_ptr<Buffer>> find(hal::Handle handle);
  /// Unregisters a buffer; its memory goes with its last user. Errors: NotFound, those of
  /// ResourceManager::unregister_resource (InUse while it is held, or shared with a driver that has
  /// resources); it stays as it was then.
  hal::Result<void> destroy_buffer(hal::Handle handle);
  /// Unregisters all buffers. Idempotent. Errors: the first of destroy_buffer's; the others go all
  /// the same.
  hal::Result<void> close();

  [[nodiscard]] const Backend& backend() const noexcept { return *backend_; }
  [[nodiscard]] hal::DriverId id() const noexcept { return id_; }

 private:
  hal::Result<std::shared_ptr<Buffer>> add(std::unique_ptr<Storage> storage,
                                           const BufferLayout& layout, std::string_view name);

  hal::ResourceManager* manager_;
  const Backend* backend_;
  hal::DriverId id_;
  std::string name_;

  std::mutex mutex_;  // for what follows
  std::uint64_t next_number_ = 0;
  std::unordered_map<hal::Handle, std::shared_ptr<Buffer>> buffers_;
};

}  // namespace drivers::gpu
