// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/dma_driver.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <hal/resource_manager.hpp>

#include "drivers/dma/backends.hpp"
#include "tests/drivers/dma/support.hpp"
#include "tests/drivers/twin.hpp"

namespace drivers::dma {
namespace {

using hal::ErrorCode;

class DmaDriverTest : public testing::Test {
 protected:
  hal::Handle find(const std::string& name) { return manager_->find(name).value(); }
  hal::ScopedResource hold(hal::Handle handle, hal::HoldKind kind = hal::HoldKind::Exclusive) {
    return manager_->acquire_scoped_resource(handle, hal::AcquireOptions{.kind = kind}).value();
  }

  std::unique_ptr<hal::ResourceManager> manager_ = hal::ResourceManager::create().value();
};

TEST_F(DmaDriverTest, RegistersEachChannel) {
  const auto driver = DmaDriver::create(*manager_, {.channels = 3, .ring_entries = 32}).value();
  ASSERT_EQ(driver->handles().size(), 3u);
  EXPECT_EQ(manager_->size(), 3u);
  for (std::uint32_t number = 0; number < 3; ++number) {
    const std::string name = "dma0/channel/" + std::to_string(number);
    EXPECT_EQ(driver->handles()[number], find(name));
    const hal::ResourceInfo info = manager_->info(find(name)).value();
    EXPECT_EQ(info.name, name);
    EXPECT_EQ(info.cookie, number);
    EXPECT_EQ(info.owner, driver->id());
    EXPECT_EQ(info.owner_name, "dma-software");
    EXPECT_EQ(info.metadata.type, hal::ResourceType::Hardware);
    EXPECT_EQ(info.metadata.class_name, "dma-channel");
    EXPECT_TRUE(has(info.metadata.flags, hal::ResourceFlags::Shareable));
    EXPECT_TRUE(has(info.metadata.flags, hal::ResourceFlags::Transient));
    const auto pair =
        std::ranges::find(info.metadata.pairs, "ring", &std::pair<std::string, std::string>::first);
    ASSERT_NE(pair, info.metadata.pairs.end());
    EXPECT_EQ(pair->second, "32");
  }
}

TEST_F(DmaDriverTest, AHoldOpensTheChannelItIsOf) {
  const auto driver = DmaDriver::create(*manager_, {.channels = 2, .name = "dma1"}).value();
  const auto first = hold(find("dma1/channel/0"));
  const auto second = hold(find("dma1/channel/1"), hal::HoldKind::Shared);
  Channel* const a = driver->open(first).value();
  Channel* const b = driver->open(second).value();
  EXPECT_NE(a, b);
  EXPECT_EQ(driver->open(first).value(), a);

  Bytes memory(4096);
  const BufferId id = a->attach_buffer(memory).value();
  const Descriptor fill = Descriptor::fill({id, 0, 4096}, 0x0101010101010101u);
  ASSERT_TRUE(a->wait(a->submit({&fill, 1}).value(), soon()).has_value());
  EXPECT_EQ(memory, Bytes(4096, std::byte{1}));
}

TEST_F(DmaDriverTest, WithoutAHoldThereIsNoChannel) {
  const auto driver = DmaDriver::create(*manager_).value();
  EXPECT_EQ(driver->open({}).error(), ErrorCode::InvalidArgument);
  auto held = hold(find("dma0/channel/0"));
  ASSERT_TRUE(held.release().has_value());
  EXPECT_EQ(driver->open(held).error(), ErrorCode::InvalidArgument);
}

TEST_F(DmaDriverTest, ReleasedByOtherMeansIsNotHeld) {
  const auto driver = DmaDriver::create(*manager_).value();
  const auto held = hold(find("dma0/channel/0"));
  ASSERT_TRUE(manager_->release_resource(held.handle()).has_value());
  EXPECT_EQ(driver->open(held).error(), ErrorCode::NotPermitted);
}

TEST_F(DmaDriverTest, HoldsOfOtherResourcesOpenNothing) {
  const auto driver = DmaDriver::create(*manager_).value();
  const auto other = DmaDriver::create(*manager_, {.name = "dma1"}).value();
  const hal::Handle custom = manager_->register_resource("custom", {}).value();
  EXPECT_EQ(driver->open(hold(custom)).error(), ErrorCode::NotFound);
  EXPECT_EQ(driver->open(hold(find("dma1/channel/0"))).error(), ErrorCode::NotFound);
}

TEST_F(DmaDriverTest, HoldsOfOtherManagersOpenNothing) {
  const auto here = hal::ResourceManager::create({.compact_handles = true}).value();
  const auto elsewhere = hal::ResourceManager::create({.compact_handles = true}).value();
  const auto driver = DmaDriver::create(*here).value();
  const hal::Handle twin = drivers::test::register_twin(*elsewhere, driver->handles()[0]);
  ASSERT_EQ(twin, driver->handles()[0]);
  const auto foreign = elsewhere->try_acquire(twin).value();
  EXPECT_EQ(driver->open(foreign).error(), ErrorCode::NotPermitted);
}

TEST_F(DmaDriverTest, OneExclusiveHolderAtATime) {
  const auto driver = DmaDriver::create(*manager_).value();
  const auto held = hold(find("dma0/channel/0"));
  std::jthread([&] {
    EXPECT_EQ(manager_->try_acquire(driver->handles()[0]).error(), ErrorCode::WouldBlock);
  }).join();
}

TEST_F(DmaDriverTest, OptionsOutOfRangeRegisterNothing) {
  const auto refused = [this](const DmaOptions& options) {
    const auto driver = DmaDriver::create(*manager_, options);
    EXPECT_FALSE(driver.has_value());
    EXPECT_EQ(manager_->size(), 0u);
    return driver ? std::error_code() : driver.error().error_code();
  };
  EXPECT_EQ(refused({.backend = "none"}), ErrorCode::NotFound);
  EXPECT_EQ(refused({.channels = 0}), ErrorCode::InvalidArgument);
  EXPECT_EQ(refused({.channels = 1u << 20}), ErrorCode::InvalidArgument);
  EXPECT_EQ(refused({.channels = 2, .ring_entries = 7}), ErrorCode::InvalidArgument);
  EXPECT_EQ(refused({.name = "no spaces"}), ErrorCode::InvalidName);
  EXPECT_EQ(refused({.name = std::string(200, 'x')}), ErrorCode::InvalidName);
}

TEST_F(DmaDriverTest, ANameThatIsTakenLeavesNothingBehind) {
  const hal::Handle taken = manager_->register_resource("dma0/channel/1", {}).value();
  EXPECT_EQ(DmaDriver::create(*manager_, {.channels = 2}).error(), ErrorCode::AlreadyExists);
  EXPECT_EQ(manager_->size(), 1u);
  EXPECT_TRUE(manager_->is_valid(taken));
}

TEST_F(DmaDriverTest, ItsEndCancelsAndUnregisters) {
  auto driver = DmaDriver::create(*manager_, {.channels = 2}).value();
  Bytes memory(64);
  Ticket queued;
  {
    const auto held = hold(find("dma0/channel/1"));
    Channel* const channel = driver->open(held).value();
    const Descriptor fill = Descriptor::fill({channel->attach_buffer(memory).value(), 0, 64}, 1);
    queued = channel->submit({&fill, 1}).value();
  }
  driver.reset();
  EXPECT_TRUE(queued.finished());
  EXPECT_EQ(manager_->size(), 0u);
  EXPECT_EQ(manager_->find("dma0/channel/0").error(), ErrorCode::NotFound);
}

TEST_F(DmaDriverTest, CloseDrains) {
  auto driver = DmaDriver::create(*manager_).value();
  Bytes memory(1 << 20);
  Ticket ticket;
  {
    const auto held = hold(driver->handles()[0]);
    Channel* const channel = driver->open(held).value();
    const BufferId id = channel->attach_buffer(memory).value();
    ticket = channel->submit(std::array{Descriptor::fill({id, 0, 1 << 20}, 1)}).value();
  }
  EXPECT_TRUE(driver->close(std::chrono::nanoseconds::max()).has_value());
  EXPECT_TRUE(ticket.result().has_value());
  EXPECT_EQ(manager_->size(), 0u);
  EXPECT_TRUE(driver->close().has_value());
}

TEST_F(DmaDriverTest, CloseNamesWhoStillHolds) {
  auto driver = DmaDriver::create(*manager_, {.channels = 2}).value();
  auto held = hold(driver->handles()[0]);
  Channel* const channel = driver->open(held).value();
  EXPECT_EQ(driver->close().error(), ErrorCode::InUse);
  EXPECT_EQ(manager_->size(), 1u);
  EXPECT_EQ(driver->open(held).error(), ErrorCode::Disconnected);
  EXPECT_EQ(channel->submit({}).error(), ErrorCode::Disconnected);
  ASSERT_TRUE(held.release().has_value());
  EXPECT_TRUE(driver->close().has_value());
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(DmaDriverTest, OutlivesAManagerThatIsClosed) {
  auto driver = DmaDriver::create(*manager_).value();
  auto held = hold(driver->handles()[0]);
  manager_->close();
  EXPECT_FALSE(driver->open(held).has_value());
  EXPECT_TRUE(driver->close().has_value());
}

TEST(BackendsTest, TheArrayHoldsEachNameOnce) {
  ASSERT_FALSE(backends().empty());
  for (const Backend* backend : backends()) {
    EXPECT_EQ(find_backend(backend->name), backend);
    EXPECT_FALSE(backend->about.empty());
    EXPECT_NE(backend->probe, nullptr);
    EXPECT_NE(backend->open, nullptr);
  }
  EXPECT_EQ(find_backend(""), nullptr);
  EXPECT_EQ(find_backend("softwar"), nullptr);
}

TEST(BackendsTest, NumbersBeyondTheProbeAreRefused) {
  const Backend& software = *find_backend("software");
  const std::uint32_t count = software.probe().value();
  EXPECT_TRUE(software.open(count - 1, {}).has_value());
  EXPECT_EQ(software.open(count, {}).error(), ErrorCode::InvalidArgument);
}

/// A backend whose second channel can't be opened, as a device that others use would be.
hal::Result<std::unique_ptr<Channel>> open_first_only(std::uint32_t number,
                                                      const ChannelOptions& options) {
  if (number > 0) return fail(ErrorCode::InUse, "channel");
  return find_backend("software")->open(number, options);
}

TEST_F(DmaDriverTest, ABackendThatFailsLeavesNothingBehind) {
  constexpr Backend kFails = {.name = "half",
                              .about = "has one of two",
                              .probe = [] { return hal::Result<std::uint32_t>(2); },
                              .open = open_first_only};
  EXPECT_EQ(DmaDriver::create(*manager_, {.channels = 2}, kFails).error(), ErrorCode::InUse);
  EXPECT_EQ(manager_->size(), 0u);
  const auto driver = DmaDriver::create(*manager_, {.channels = 1}, kFails).value();
  EXPECT_EQ(manager_->info(driver->handles()[0])->owner_name, "dma-half");
}

}  // namespace
}  // namespace drivers::dma
