// SPDX-License-Identifier: Apache-2.0
#include <hal/resource.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using test::code_of;
using MemoryTest = test::ManagerTest;

// Memory that is not there would be SIGBUS in whoever touches it.
TEST_F(MemoryTest, FilesHaveTheSizeTheyAreSaidToHave) {
  const auto file_of = [](off_t bytes) {
    UniqueFd fd(::memfd_create("file", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(fd.get(), bytes), 0);
    return fd;
  };
  class Stingy final : public Backing {
   public:
    explicit Stingy(UniqueFd fd) : fd_(std::move(fd)) {}
    Result<BackingMemory> make(const std::string&, const ResourceMetadata& metadata) override {
      return BackingMemory{std::move(fd_), metadata.size_bytes};
    }

   private:
    UniqueFd fd_;
  };
  RegisterOptions short_file;
  short_file.fd = file_of(4096);
  EXPECT_EQ(code_of(manager_->register_resource("a", {.size_bytes = 4097}, std::move(short_file))),
            ErrorCode::InvalidArgument);
  RegisterOptions short_backing;
  short_backing.backing = std::make_shared<Stingy>(file_of(4096));
  EXPECT_EQ(
      code_of(manager_->register_resource("a", {.size_bytes = 4097}, std::move(short_backing))),
      ErrorCode::System);
  EXPECT_EQ(manager_->size(), 0u);
  RegisterOptions right;
  right.fd = file_of(4096);
  EXPECT_TRUE(manager_->register_resource("a", {.size_bytes = 4096}, std::move(right)));
}

/// Calls what it is given, then makes memory.
class Calling final : public Backing {
 public:
  explicit Calling(std::function<void()> call) : call_(std::move(call)) {}
  Result<BackingMemory> make(const std::string& name, const ResourceMetadata& metadata) override {
    call_();
    return Backing::memfd()->make(name, metadata);
  }

 private:
  std::function<void()> call_;
};

// Under a lock of ours, the first line of the backing would wait for ever.
TEST_F(MemoryTest, ALazyBackingMayCallTheManager) {
  RegisterOptions plain;
  plain.backing = Backing::memfd();
  const auto other = manager_->register_resource("other", {.size_bytes = 64}, std::move(plain));
  ASSERT_TRUE(other);
  Handle self;
  RegisterOptions options;
  options.backing = std::make_shared<Calling>([&] {
    EXPECT_TRUE(manager_->map(*other));
    EXPECT_EQ(code_of(manager_->map(self)), ErrorCode::Deadlock);
  });
  const auto lazy = manager_->register_resource(
      "lazy", {.size_bytes = 64, .flags = ResourceFlags::Lazy}, std::move(options));
  ASSERT_TRUE(lazy);
  self = *lazy;
  EXPECT_TRUE(manager_->map(self));
}

TEST_F(MemoryTest, ManyAskForWhatIsMadeOnce) {
  std::atomic<int> made = 0;
  RegisterOptions options;
  options.backing = std::make_shared<Calling>([&] {
    ++made;
    std::this_thread::yield();
  });
  const auto lazy = manager_->register_resource(
      "lazy", {.size_bytes = 64, .flags = ResourceFlags::Lazy}, std::move(options));
  ASSERT_TRUE(lazy);
  std::array<std::thread, 4> threads;
  std::array<std::byte*, 4> seen{};
  for (std::size_t i = 0; i < threads.size(); ++i) {
    threads[i] = std::thread([&, i] {
      const auto memory = manager_->map(*lazy);
      ASSERT_TRUE(memory);
      seen[i] = memory->data();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
  for (std::byte* address : seen) EXPECT_EQ(address, seen[0]);
}

TEST_F(MemoryTest, WhatABackingThrowsIsAnError) {
  for (const ResourceFlags flags : {ResourceFlags::None, ResourceFlags::Lazy}) {
    RegisterOptions options;
    options.backing =
        std::make_shared<Calling>([] { throw std::runtime_error("an author's mistake"); });
    const auto handle =
        manager_->register_resource("a", {.size_bytes = 64, .flags = flags}, std::move(options));
    if (flags == ResourceFlags::None) {
      EXPECT_EQ(code_of(handle), ErrorCode::System);
      continue;
    }
    ASSERT_TRUE(handle);
    EXPECT_EQ(code_of(manager_->map(*handle)), ErrorCode::System);
    EXPECT_EQ(code_of(manager_->fd(*handle)), ErrorCode::System);
  }
}

}  // namespace
}  // namespace hal
