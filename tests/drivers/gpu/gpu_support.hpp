// SPDX-License-Identifier: Apache-2.0
//
// What the tests of buffers share: a manager with a driver, holds, and files to import.
//
// What it is: a fixture. Lifetime: the driver ends before the manager. Thread-safety: none.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include <hal/resource_manager.hpp>

#include "drivers/gpu/gpu_driver.hpp"

namespace drivers::gpu::test {

inline std::unique_ptr<hal::ResourceManager> make_manager() {
  return hal::ResourceManager::create({.name = "gpu-test"}).value();
}

class GpuTest : public testing::Test {
 protected:
  static constexpr BufferUsage kAll =
      BufferUsage::CpuRead | BufferUsage::CpuWrite | BufferUsage::Export | BufferUsage::Prefault;

  std::shared_ptr<Buffer> make(BufferUsage usage = kAll) {
    return driver_->create_buffer({.width = 20, .height = 30, .usage = usage}).value();
  }
  hal::ScopedResource hold(const Buffer& buffer,
                           hal::HoldKind kind = hal::HoldKind::Exclusive) const {
    return manager_->acquire_scoped_resource(buffer.handle(), {.kind = kind}).value();
  }

  std::unique_ptr<hal::ResourceManager> manager_ = make_manager();
  std::unique_ptr<GpuDriver> driver_ = GpuDriver::create(*manager_).value();
};

/// A memfd of that size and with those seals.
inline hal::UniqueFd make_memfd(std::size_t bytes, int seals = F_SEAL_SHRINK) {
  hal::UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

}  // namespace drivers::gpu::test
