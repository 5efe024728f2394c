// SPDX-License-Identifier: Apache-2.0
#include "drivers/gpu/gpu_driver.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/drivers/gpu/gpu_support.hpp"

namespace drivers::gpu::test {
namespace {

using hal::ErrorCode;

constexpr BufferUsage kReadWrite = BufferUsage::CpuRead | BufferUsage::CpuWrite;

class GpuDriverTest : public GpuTest {};

TEST_F(GpuDriverTest, RegistersItsBuffers) {
  const auto buffer =
      driver_->create_buffer({.width = 20, .height = 30, .format = fourcc('R', 'G', '1', '6')})
          .value();
  const hal::ResourceInfo info = manager_->info(manager_->find("gpu0/buffer/0").value()).value();
  EXPECT_EQ(info.handle, buffer->handle());
  EXPECT_EQ(info.metadata.type, hal::ResourceType::Memory);
  EXPECT_EQ(info.metadata.class_name, "gpu-buffer");
  EXPECT_EQ(info.metadata.size_bytes, 64u * 30);
  EXPECT_TRUE(hal::ResourceFlags::Shareable ==
              (info.metadata.flags & hal::ResourceFlags::Shareable));
  EXPECT_EQ(info.owner, driver_->id());
  EXPECT_EQ(info.owner_name, "gpu-memfd");
  EXPECT_TRUE(info.has_fd);
  const std::map<std::string, std::string> pairs(info.metadata.pairs.begin(),
                                                 info.metadata.pairs.end());
  EXPECT_EQ(pairs.at("width"), "20");
  EXPECT_EQ(pairs.at("height"), "30");
  EXPECT_EQ(pairs.at("stride"), "64");
  EXPECT_EQ(pairs.at("format"), "RG16");
  EXPECT_EQ(pairs.at("backend"), "memfd");
}

TEST_F(GpuDriverTest, NamesBuffersAsTheCallerSays) {
  const auto named = driver_->create_buffer({.width = 1, .height = 1}, "camera/frame").value();
  EXPECT_EQ(manager_->find("camera/frame").value(), named->handle());
  const auto first = driver_->create_buffer({.width = 1, .height = 1}).value();
  const auto second = driver_->create_buffer({.width = 1, .height = 1}).value();
  EXPECT_EQ(manager_->find("gpu0/buffer/0").value(), first->handle());
  EXPECT_EQ(manager_->find("gpu0/buffer/1").value(), second->handle());
  EXPECT_EQ(driver_->find(second->handle()).value(), second);
}

TEST_F(GpuDriverTest, ResourceAndBufferAreTheSameMemory) {
  const auto buffer = make();
  const auto mapped = manager_->map(buffer->handle()).value();
  ASSERT_GE(mapped.size(), buffer->layout().size_bytes);
  buffer->map().value()[17] = std::byte{99};
  EXPECT_EQ(mapped[17], std::byte{99});
}

TEST_F(GpuDriverTest, FailuresLeaveNothingBehind) {
  EXPECT_EQ(driver_->create_buffer({}).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(driver_->create_buffer({.width = 1, .height = 1}, "no spaces").error(),
            ErrorCode::InvalidName);
  EXPECT_EQ(driver_->create_buffer({.width = 1, .height = 1}, std::string(96, 'x')).error(),
            ErrorCode::InvalidName);
  EXPECT_EQ(manager_->size(), 0u);
  const auto buffer = driver_->create_buffer({.width = 1, .height = 1}, "taken").value();
  EXPECT_EQ(driver_->create_buffer({.width = 1, .height = 1}, "taken").error(),
            ErrorCode::AlreadyExists);
  EXPECT_EQ(manager_->size(), 1u);
  EXPECT_EQ(driver_->find(buffer->handle()).value(), buffer);
  manager_->close();
  EXPECT_EQ(driver_->create_buffer({.width = 1, .height = 1}).error(), ErrorCode::Disconnected);
}

TEST_F(GpuDriverTest, BackendsErrorsArePassedOn) {
  static int error;
  Backend backend = kMemfdBackend;
  backend.name = "broken";
  backend.probe = []() -> hal::Result<void> {
    if (error == ENOSYS) return resmgr::fail_errno(error, "probe");
    return {};
  };
  backend.allocate = [](BufferLayout&) -> hal::Result<std::unique_ptr<Storage>> {
    return resmgr::fail_errno(error, "allocate");
  };
  error = ENOSYS;
  EXPECT_EQ(GpuDriver::create(*manager_, {}, backend).error(), ErrorCode::Unsupported);
  error = ENOSPC;
  const auto driver = GpuDriver::create(*manager_, {}, backend).value();
  EXPECT_EQ(driver->create_buffer({.width = 1, .height = 1}).error().system_errno(), ENOSPC);
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(GpuDriverTest, BackendsMayWidenTheStride) {
  Backend backend = kMemfdBackend;
  backend.name = "wide";
  backend.allocate = [](BufferLayout& layout) {
    layout.stride = 4096;
    layout.size_bytes = std::uint64_t{4096} * layout.height;
    return kMemfdBackend.allocate(layout);
  };
  const auto driver = GpuDriver::create(*manager_, {}, backend).value();
  const auto buffer = driver->create_buffer({.width = 1, .height = 3}).value();
  EXPECT_EQ(buffer->layout().stride, 4096u);
  EXPECT_EQ(buffer->map().value().size(), 4096u * 3);
  EXPECT_EQ(manager_->info(buffer->handle()).value().metadata.size_bytes, 4096u * 3);
}

TEST_F(GpuDriverTest, BuffersGoWhenNobodyHoldsThem) {
  auto buffer = make();
  const hal::Handle handle = buffer->handle();
  hal::Context task = manager_->create_context().value();
  {
    const auto held = manager_->acquire_scoped_resource(handle, {.context = &task}).value();
    EXPECT_EQ(driver_->destroy_buffer(handle).error(), ErrorCode::InUse);
    EXPECT_EQ(driver_->close().error(), ErrorCode::InUse);
    EXPECT_EQ(driver_->find(handle).value(), buffer) << "it stays as it was";
  }
  EXPECT_TRUE(driver_->destroy_buffer(handle));
  EXPECT_EQ(driver_->destroy_buffer(handle).error(), ErrorCode::NotFound);
  EXPECT_EQ(driver_->find(handle).error(), ErrorCode::NotFound);
  EXPECT_FALSE(manager_->is_valid(handle));
  EXPECT_TRUE(buffer->map()) << "the memory goes with its last user";
}

TEST_F(GpuDriverTest, OthersResourcesAreNotFound) {
  const auto other = manager_->register_resource("other", {}).value();
  for (const hal::Handle handle : {hal::Handle(), other, hal::Handle::from_bits(~0u)}) {
    EXPECT_EQ(driver_->find(handle).error(), ErrorCode::NotFound);
    EXPECT_EQ(driver_->destroy_buffer(handle).error(), ErrorCode::NotFound);
  }
  EXPECT_TRUE(manager_->is_valid(other));
}

TEST_F(GpuDriverTest, UnregistersAllAtItsEnd) {
  for (int i = 0; i < 5; ++i) static_cast<void>(make());
  EXPECT_EQ(manager_->size(), 5u);
  EXPECT_TRUE(driver_->close());
  EXPECT_EQ(manager_->size(), 0u);
  EXPECT_TRUE(driver_->close());
  static_cast<void>(make());
  driver_.reset();
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(GpuDriverTest, ChoosesItsBackend) {
  EXPECT_EQ(driver_->backend().name, "memfd");
  EXPECT_TRUE(GpuDriver::create(*manager_, {.backend = "memfd"}));
  EXPECT_EQ(GpuDriver::create(*manager_, {.backend = "framebuffer"}).error(), ErrorCode::NotFound);
  for (const Backend* backend : backends()) {
    EXPECT_EQ(choose_backend(backend->name).value(), backend);
    EXPECT_TRUE(backend->probe && backend->allocate && backend->import && backend->begin_access &&
                backend->end_access);
  }
}

// ---- import ---------------------------------------------------------------------------------

TEST_F(GpuDriverTest, ImportsWhatAnotherDriverExports) {
  const auto manager = make_manager();
  const auto exporter = GpuDriver::create(*manager).value();
  const auto original = exporter->create_buffer({.width = 33, .height = 7, .usage = kAll}).value();
  const BufferSpec spec{.width = 33, .height = 7, .stride = original->layout().stride};
  const auto copy = driver_->import_buffer(original->export_fd().value(), spec, "imported").value();
  EXPECT_EQ(copy->layout().size_bytes, original->layout().size_bytes);
  const auto held = hold(*copy);
  copy->begin_cpu_access(held, CpuAccess::Write).value().writable()[100] = std::byte{5};
  EXPECT_EQ(original->map_read().value()[100], std::byte{5});
}

TEST_F(GpuDriverTest, ImportRefusesOtherFiles) {
  int pipe_ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  const hal::UniqueFd pipe_writer(pipe_ends[1]);
  std::string path = testing::TempDir() + "gpu-test-XXXXXX";
  hal::UniqueFd plain(::mkstemp(path.data()));
  ASSERT_TRUE(plain);
  ::unlink(path.c_str());
  ASSERT_EQ(::ftruncate(plain.get(), 1 << 20), 0);
  std::vector<hal::UniqueFd> wrong;
  wrong.emplace_back();
  wrong.emplace_back(pipe_ends[0]);
  wrong.push_back(std::move(plain));
  wrong.emplace_back(::eventfd(0, EFD_CLOEXEC));
  wrong.emplace_back(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  wrong.emplace_back(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (hal::UniqueFd& fd : wrong) {
    EXPECT_EQ(driver_->import_buffer(std::move(fd), {.width = 1, .height = 1}).error(),
              ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(GpuDriverTest, ImportChecksSizeAndSeals) {
  const BufferSpec spec{.width = 16, .height = 16};  // 1024 bytes
  EXPECT_TRUE(driver_->import_buffer(make_memfd(1024), spec));
  EXPECT_TRUE(driver_->import_buffer(make_memfd(4096), spec));
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{1023}}) {
    EXPECT_EQ(driver_->import_buffer(make_memfd(bytes), spec).error(), ErrorCode::InvalidArgument);
  }
  BufferSpec wider = spec;
  wider.stride = 128;
  EXPECT_EQ(driver_->import_buffer(make_memfd(1024), wider).error(), ErrorCode::InvalidArgument);
  for (const int seals : {0, F_SEAL_GROW, F_SEAL_GROW | F_SEAL_SEAL}) {
    EXPECT_EQ(driver_->import_buffer(make_memfd(4096, seals), spec).error(),
              ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(driver_->import_buffer(make_memfd(4096), {.width = 0, .height = 1}).error(),
            ErrorCode::InvalidArgument);
}

TEST_F(GpuDriverTest, ImportOfReadOnlyMemoryIsForReading) {
  const auto read_only = [](int seals) {
    const hal::UniqueFd fd = make_memfd(4096, seals);
    return hal::UniqueFd(
        ::open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDONLY | O_CLOEXEC));
  };
  const BufferSpec writes{.width = 4, .height = 4, .usage = kReadWrite};
  const BufferSpec reads{.width = 4, .height = 4, .usage = BufferUsage::CpuRead};
  EXPECT_EQ(driver_->import_buffer(read_only(F_SEAL_SHRINK), writes).error(),
            ErrorCode::NotPermitted);
  EXPECT_EQ(
      driver_->import_buffer(make_memfd(4096, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), writes).error(),
      ErrorCode::NotPermitted);
  EXPECT_EQ(driver_->import_buffer(make_memfd(4096, F_SEAL_SHRINK | F_SEAL_WRITE), writes).error(),
            ErrorCode::NotPermitted);
  const auto buffer = driver_->import_buffer(read_only(F_SEAL_SHRINK), reads).value();
  EXPECT_TRUE(buffer->map_read());
  const hal::UniqueFd writable = make_memfd(4096);
  hal::UniqueFd write_only(
      ::open(("/proc/self/fd/" + std::to_string(writable.get())).c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(write_only);
  EXPECT_EQ(driver_->import_buffer(std::move(write_only), reads).error(),
            ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace drivers::gpu::test
