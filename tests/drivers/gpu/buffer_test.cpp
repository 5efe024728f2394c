// SPDX-License-Identifier: Apache-2.0
#include "drivers/gpu/buffer.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "tests/drivers/gpu/gpu_support.hpp"

namespace drivers::gpu::test {
namespace {

using hal::ErrorCode;
using hal::HoldKind;

class BufferTest : public GpuTest {};

bool is_mapped(const void* address) {
  unsigned char resident = 0;
  return ::mincore(const_cast<void*>(address), 1, &resident) == 0;
}

TEST_F(BufferTest, IsZeroedMemoryOfItsSize) {
  const auto buffer = make();
  EXPECT_EQ(buffer->layout().stride, 128u);
  const auto bytes = buffer->map().value();
  EXPECT_EQ(bytes.size(), 128u * 30);
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
  bytes.back() = std::byte{7};
  EXPECT_EQ(buffer->map_read().value().back(), std::byte{7});
}

TEST_F(BufferTest, MapsAreCounted) {
  const auto buffer = make();
  EXPECT_EQ(buffer->unmap().error(), ErrorCode::InvalidArgument);
  const auto* const address = buffer->map().value().data();
  EXPECT_EQ(buffer->map_read().value().data(), address) << "one mapping for all";
  EXPECT_TRUE(buffer->unmap());
  EXPECT_TRUE(is_mapped(address));
  EXPECT_TRUE(buffer->unmap());
  EXPECT_FALSE(is_mapped(address));
  EXPECT_EQ(buffer->unmap().error(), ErrorCode::InvalidArgument);
}

TEST_F(BufferTest, UsageDecidesWhatIsAllowed) {
  const auto read_only = make(BufferUsage::CpuRead);
  EXPECT_EQ(read_only->map().error(), ErrorCode::NotPermitted);
  EXPECT_TRUE(read_only->map_read());
  EXPECT_EQ(read_only->export_fd().error(), ErrorCode::NotPermitted);
  const auto read_hold = hold(*read_only);
  EXPECT_TRUE(read_only->begin_cpu_access(read_hold, CpuAccess::Read));
  EXPECT_EQ(read_only->begin_cpu_access(read_hold, CpuAccess::Write).error(),
            ErrorCode::NotPermitted);

  const auto write_only = make(BufferUsage::CpuWrite);
  EXPECT_TRUE(write_only->map());
  EXPECT_EQ(write_only->map_read().error(), ErrorCode::NotPermitted);
  const auto write_hold = hold(*write_only);
  EXPECT_EQ(write_only->begin_cpu_access(write_hold, CpuAccess::Read).error(),
            ErrorCode::NotPermitted);
  EXPECT_TRUE(write_only->begin_cpu_access(write_hold, CpuAccess::Write));

  const auto device_only = make(BufferUsage::Export);
  EXPECT_TRUE(device_only->export_fd());
  EXPECT_EQ(device_only->map().error(), ErrorCode::NotPermitted);
  EXPECT_EQ(device_only->map_read().error(), ErrorCode::NotPermitted);
}

TEST_F(BufferTest, PrefaultBringsAllPagesIn) {
  const auto resident_pages = [](std::span<const std::byte> bytes) {
    std::vector<unsigned char> pages((bytes.size() + 4095) / 4096);
    // What this process has in its page table: shared memory is resident anyhow.
    const hal::UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    std::size_t present = 0;
    for (std::size_t i = 0; i < pages.size(); ++i) {
      std::uint64_t entry = 0;
      const auto page = reinterpret_cast<std::uintptr_t>(bytes.data()) / 4096 + i;
      if (::pread(pagemap.get(), &entry, sizeof(entry), static_cast<off_t>(page * 8)) != 8) break;
      present += entry >> 63;
    }
    return present;
  };
  if (::sysconf(_SC_PAGESIZE) != 4096) GTEST_SKIP() << "pages are not of 4096 bytes here";
  const BufferSpec spec{.width = 1024, .height = 64};
  const BufferUsage both = BufferUsage::CpuRead | BufferUsage::CpuWrite;
  BufferSpec prefaulted = spec;
  prefaulted.usage = both | BufferUsage::Prefault;
  const auto with = driver_->create_buffer(prefaulted).value();
  const auto without = driver_->create_buffer(spec).value();
  EXPECT_EQ(resident_pages(with->map().value()), 64u);
  EXPECT_EQ(resident_pages(without->map().value()), 0u);
}

TEST_F(BufferTest, AccessGivesTheBytesForItsDuration) {
  const auto buffer = make();
  const auto held = hold(*buffer);
  auto write = buffer->begin_cpu_access(held, CpuAccess::Write).value();
  ASSERT_EQ(write.writable().size(), buffer->layout().size_bytes);
  write.writable()[5] = std::byte{42};
  const auto* const address = write.bytes().data();
  EXPECT_TRUE(write.end());
  EXPECT_TRUE(write.bytes().empty());
  EXPECT_TRUE(write.writable().empty());
  EXPECT_FALSE(is_mapped(address)) << "nobody keeps a map";
  EXPECT_EQ(write.end().error(), ErrorCode::InvalidArgument);

  const auto read = buffer->begin_cpu_access(held, CpuAccess::Read).value();
  EXPECT_EQ(read.bytes()[5], std::byte{42});
  EXPECT_TRUE(read.writable().empty());
}

TEST_F(BufferTest, MemoryStaysUnderAnAccess) {
  const auto buffer = make();
  const auto held = hold(*buffer);
  ASSERT_TRUE(buffer->map());
  auto access = buffer->begin_cpu_access(held, CpuAccess::Read).value();
  ASSERT_TRUE(buffer->unmap());
  EXPECT_TRUE(is_mapped(access.bytes().data()));
  EXPECT_EQ(buffer->unmap().error(), ErrorCode::InvalidArgument) << "the access's map is its own";
  EXPECT_TRUE(is_mapped(access.bytes().data()));
}

TEST_F(BufferTest, ReadsNestAndWritesDoNot) {
  const auto buffer = make();
  const auto held = hold(*buffer);
  {
    const auto first = buffer->begin_cpu_access(held, CpuAccess::Read).value();
    const auto second = buffer->begin_cpu_access(held, CpuAccess::Read).value();
    EXPECT_EQ(buffer->begin_cpu_access(held, CpuAccess::Write).error(), ErrorCode::InUse);
  }
  {
    const auto write = buffer->begin_cpu_access(held, CpuAccess::Write).value();
    EXPECT_EQ(buffer->begin_cpu_access(held, CpuAccess::Write).error(), ErrorCode::InUse);
    EXPECT_EQ(buffer->begin_cpu_access(held, CpuAccess::Read).error(), ErrorCode::InUse);
  }
  EXPECT_TRUE(buffer->begin_cpu_access(held, CpuAccess::Write)) << "all have ended";
}

TEST_F(BufferTest, AccessNeedsTheRightHold) {
  const auto buffer = make();
  const auto other = make();
  EXPECT_EQ(buffer->begin_cpu_access({}, CpuAccess::Read).error(), ErrorCode::InvalidArgument);
  const auto others_hold = hold(*other);
  EXPECT_EQ(buffer->begin_cpu_access(others_hold, CpuAccess::Read).error(),
            ErrorCode::InvalidArgument);
  {
    auto released = hold(*buffer);
    ASSERT_TRUE(released.release());
    EXPECT_EQ(buffer->begin_cpu_access(released, CpuAccess::Read).error(),
              ErrorCode::InvalidArgument);
  }
  auto held = hold(*buffer, HoldKind::Shared);
  EXPECT_TRUE(buffer->begin_cpu_access(held, CpuAccess::Read));
  EXPECT_EQ(buffer->begin_cpu_access(held, CpuAccess::Write).error(), ErrorCode::NotPermitted);
  ASSERT_TRUE(held.try_upgrade());
  EXPECT_TRUE(buffer->begin_cpu_access(held, CpuAccess::Write));
  ASSERT_TRUE(held.downgrade());
  EXPECT_EQ(buffer->begin_cpu_access(held, CpuAccess::Write).error(), ErrorCode::NotPermitted);
  EXPECT_EQ(buffer->begin_cpu_access(held, static_cast<CpuAccess>(2)).error(),
            ErrorCode::InvalidArgument);
}

TEST_F(BufferTest, AccessesMoveAndEndOnce) {
  const auto buffer = make();
  const auto held = hold(*buffer);
  auto first = buffer->begin_cpu_access(held, CpuAccess::Write).value();
  auto second = std::move(first);
  EXPECT_TRUE(first.bytes().empty());
  EXPECT_EQ(first.end().error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(buffer->begin_cpu_access(held, CpuAccess::Read).error(), ErrorCode::InUse);
  const auto other = make();
  const auto others_hold = hold(*other);
  second = other->begin_cpu_access(others_hold, CpuAccess::Read).value();
  EXPECT_TRUE(buffer->begin_cpu_access(held, CpuAccess::Write)) << "assignment ended the first";
  auto& same = second;
  second = std::move(same);
  EXPECT_FALSE(second.bytes().empty());
}

TEST_F(BufferTest, SharedReadersOfSeveralThreads) {
  const auto buffer = make();
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        const auto held = hold(*buffer, HoldKind::Shared);
        const auto access = buffer->begin_cpu_access(held, CpuAccess::Read);
        ASSERT_TRUE(access);
        ASSERT_EQ(access->bytes()[0], std::byte{0});
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(buffer->unmap().error(), ErrorCode::InvalidArgument);
}

TEST_F(BufferTest, ExportsMemoryThatIsSealedInItsSize) {
  const auto buffer = make();
  const hal::UniqueFd fd = buffer->export_fd().value();
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  EXPECT_EQ(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
            F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_NE(::ftruncate(fd.get(), 0), 0);
  struct stat status{};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  EXPECT_EQ(status.st_size % ::sysconf(_SC_PAGESIZE), 0) << "whole pages";
  EXPECT_GE(static_cast<std::uint64_t>(status.st_size), buffer->layout().size_bytes);
  EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(BufferTest, OutlivesItsDriverAndManager) {
  const auto buffer = make();
  driver_.reset();
  manager_.reset();
  buffer->map().value()[0] = std::byte{1};
  EXPECT_EQ(buffer->map_read().value()[0], std::byte{1});
}

// A backend with work to do around accesses sees each once, and its errors end as they must.
TEST_F(BufferTest, BackendsAreToldOfEachAccess) {
  static std::vector<std::pair<bool, CpuAccess>> told;
  static int begin_error;
  static int end_error;
  told.clear();
  begin_error = end_error = 0;
  Backend backend = kMemfdBackend;
  backend.name = "told";
  backend.begin_access = [](Storage&, CpuAccess access) -> hal::Result<void> {
    if (begin_error) return resmgr::fail_errno(begin_error, "begin");
    told.emplace_back(true, access);
    return {};
  };
  backend.end_access = [](Storage&, CpuAccess access) -> hal::Result<void> {
    told.emplace_back(false, access);
    if (end_error) return resmgr::fail_errno(end_error, "end");
    return {};
  };
  const auto driver = GpuDriver::create(*manager_, {.name = "gpu1"}, backend).value();
  const auto buffer = driver->create_buffer({.width = 4, .height = 4}).value();
  const auto held = hold(*buffer);
  {
    const auto access = buffer->begin_cpu_access(held, CpuAccess::Write).value();
    EXPECT_EQ(told.size(), 1u);
  }
  {
    auto access = buffer->begin_cpu_access(held, CpuAccess::Read).value();
    EXPECT_TRUE(access.end());
  }
  const std::vector<std::pair<bool, CpuAccess>> expected{{true, CpuAccess::Write},
                                                         {false, CpuAccess::Write},
                                                         {true, CpuAccess::Read},
                                                         {false, CpuAccess::Read}};
  EXPECT_EQ(told, expected);

  begin_error = EIO;
  EXPECT_EQ(buffer->begin_cpu_access(held, CpuAccess::Write).error().system_errno(), EIO);
  begin_error = 0;
  end_error = EIO;
  auto access = buffer->begin_cpu_access(held, CpuAccess::Write).value();
  EXPECT_EQ(access.end().error().system_errno(), EIO);
  EXPECT_TRUE(buffer->begin_cpu_access(held, CpuAccess::Write)) << "it counts as ended";
}

}  // namespace
}  // namespace drivers::gpu::test
