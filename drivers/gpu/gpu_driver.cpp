// SPDX-License-Identifier: Apache-2.0
#include "drivers/gpu/gpu_driver.hpp"

#include <utility>
#include <vector>

namespace drivers::gpu {
namespace {

using hal::ErrorCode;
using hal::Result;
using resmgr::fail;

/// Whether the resource is gone, by our call or without us.
bool is_gone(const Result<void>& unregistered) noexcept {
  return unregistered || unregistered.error() == ErrorCode::StaleHandle ||
         unregistered.error() == ErrorCode::Disconnected;
}

}  // namespace

Result<std::unique_ptr<GpuDriver>> GpuDriver::create(hal::ResourceManager& manager,
                                                     const GpuDriverOptions& options) {
  auto backend = choose_backend(options.backend);
  if (!backend) return std::unexpected(std::move(backend.error()));
  return create(manager, options, **backend);
}

Result<std::unique_ptr<GpuDriver>> GpuDriver::create(hal::ResourceManager& manager,
                                                     const GpuDriverOptions& options,
                                                     const Backend& backend) {
  if (auto usable = backend.probe(); !usable) return std::unexpected(std::move(usable.error()));
  auto id = manager.register_driver("gpu-" + std::string(backend.name));
  if (!id) return std::unexpected(std::move(id.error()));
  return std::make_unique<GpuDriver>(Key(), manager, backend, *id, options.name);
}

GpuDriver::GpuDriver(Key, hal::ResourceManager& manager, const Backend& backend, hal::DriverId id,
                     std::string name) noexcept
    : manager_(&manager), backend_(&backend), id_(id), name_(std::move(name)) {}

GpuDriver::~GpuDriver() { static_cast<void>(close()); }

Result<std::shared_ptr<Buffer>> GpuDriver::create_buffer(const BufferSpec& spec,
                                                         std::string_view name) {
  auto layout = compute_layout(spec);
  if (!layout) return std::unexpected(std::move(layout.error()));
  auto storage = backend_->allocate(*layout);
  if (!storage) return std::unexpected(std::move(storage.error()));
  return add(std::move(*storage), *layout, name);
}

Result<std::shared_ptr<Buffer>> GpuDriver::import_buffer(hal::UniqueFd fd, const BufferSpec& spec,
                                                         std::string_view name) {
  auto layout = compute_layout(spec);
  if (!layout) return std::unexpected(std::move(layout.error()));
  auto storage = backend_->import(std::move(fd), *layout);
  if (!storage) return std::unexpected(std::move(storage.error()));
  return add(std::move(*storage), *layout, name);
}

Result<std::shared_ptr<Buffer>> GpuDriver::add(std::unique_ptr<Storage> storage,
                                               const BufferLayout& layout, std::string_view name) {
  auto file = storage->fd.duplicate();
  if (!file) return std::unexpected(std::move(file.error()));
  auto buffer = std::make_shared<Buffer>(Buffer::Key(), *backend_, std::move(storage), layout);

  // The lock spans the registration: find() knows a buffer as soon as the manager does.
  const std::lock_guard lock(mutex_);
  const std::string full_name =
      name.empty() ? name_ + "/buffer/" + std::to_string(next_number_++) : std::string(name);
  auto handle = manager_->register_resource(full_name,
                                            {.type = hal::ResourceType::Memory,
                                             .class_name = "gpu-buffer",
                                             .size_bytes = layout.size_bytes,
                                             .flags = hal::ResourceFlags::Shareable,
                                             .pairs = {{"width", std::to_string(layout.width)},
                                                       {"height", std::to_string(layout.height)},
                                                       {"stride", std::to_string(layout.stride)},
                                                       {"format", format_name(layout.format.code)},
                                                       {"backend", std::string(backend_->name)}}},
                                            {.driver = id_, .fd = std::move(*file)});
  if (!handle) return std::unexpected(std::move(handle.error()));
  buffer->handle_ = *handle;
  buffers_.emplace(*handle, buffer);
  return buffer;
}

Result<std::shared_ptr<Buffer>> GpuDriver::find(hal::Handle handle) {
  const std::lock_guard lock(mutex_);
  const auto found = buffers_.find(handle);
  if (found == buffers_.end()) return fail(ErrorCode::NotFound, "gpu driver: not its buffer");
  return found->second;
}

Result<void> GpuDriver::destroy_buffer(hal::Handle handle) {
  const std::lock_guard lock(mutex_);
  if (!buffers_.contains(handle)) return fail(ErrorCode::NotFound, "gpu driver: not its buffer");
  auto gone = manager_->unregister_resource(handle);
  if (is_gone(gone)) buffers_.erase(handle);
  return gone;
}

Result<void> GpuDriver::close() {
  const std::lock_guard lock(mutex_);
  Result<void> outcome;
  for (auto entry = buffers_.begin(); entry != buffers_.end();) {
    auto gone = manager_->unregister_resource(entry->first);
    if (is_gone(gone)) {
      entry = buffers_.erase(entry);
      continue;
    }
    if (outcome) outcome = std::move(gone);
    ++entry;
  }
  return outcome;
}

}  // namespace drivers::gpu
