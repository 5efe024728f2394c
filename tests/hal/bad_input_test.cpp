// SPDX-License-Identifier: Apache-2.0
//
// What nobody should pass: every public call answers with the error its header promises, and leaves
// everything as it was.
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <hal/queue.hpp>

#include "tests/base/seed.hpp"
#include "tests/hal/support.hpp"

namespace hal {
namespace {

using namespace std::chrono_literals;
using resmgr::test::seed;
using test::code_of;

class BadInputTest : public test::ManagerTest {
 protected:
  /// What could have changed, as text.
  [[nodiscard]] std::string state() const {
    std::string all = std::to_string(manager_->size()) + '\n';
    const auto holds = manager_->holds();
    for (const Participant& who : holds.value()) {
      all += std::to_string(who.context) + " holds " + who.resource.data() + '\n';
    }
    const auto seen = manager_->for_each([&](const ResourceInfo& info) {
      const auto stats = manager_->get_resource_stats(info.handle);
      const auto order = manager_->teardown_order(info.handle);
      all += info.name + ' ' + std::string(to_string(info.state)) + ' ' +
             std::to_string(stats->waiting) + ' ' + std::to_string(order->size()) + '\n';
      return true;
    });
    EXPECT_TRUE(seen);
    return all;
  }

  /// Every call that takes a handle says `code` for `bad`.
  void expect_refused(Handle bad, ErrorCode code) {
    const Handle good = manager_->find("good").value();
    const std::array<Handle, 2> both{good, bad};
    const AcquireOptions patient{.mode = AcquisitionMode::Timeout, .timeout = 1h};
    const std::vector<ErrorCode> codes{
        code_of(manager_->info(bad)),
        code_of(manager_->export_json(bad)),
        code_of(manager_->get_resource_stats(bad)),
        code_of(manager_->teardown_order(bad)),
        code_of(manager_->unregister_resource(bad)),
        code_of(manager_->unregister_resource(bad, 1h)),
        code_of(manager_->teardown(bad, 1h)),
        code_of(manager_->map(bad)),
        code_of(manager_->map(bad, driver_)),
        code_of(manager_->fd(bad)),
        code_of(manager_->rights(bad, driver_)),
        code_of(manager_->share_resource(bad, {}, driver_, Rights::Read)),
        code_of(manager_->unshare_resource(bad, {}, driver_)),
        code_of(manager_->add_dependency(bad, good)),
        code_of(manager_->add_dependency(good, bad)),
        code_of(manager_->remove_dependency(bad, good)),
        code_of(manager_->remove_dependency(good, bad)),
        code_of(manager_->try_acquire(bad)),
        code_of(manager_->try_acquire_shared(bad)),
        code_of(manager_->acquire_scoped_resource(bad)),
        code_of(manager_->acquire_scoped_resource(bad, patient)),
        code_of(manager_->acquire_all(both)),
        code_of(manager_->acquire_aggregate(bad)),
        code_of(manager_->release_resource(bad)),
        code_of(manager_->weak(bad).lock()),
        code_of(manager_->weak(bad).lock(HoldKind::Shared)),
    };
    for (std::size_t i = 0; i < codes.size(); ++i) {
      EXPECT_EQ(codes[i], code) << "call " << i << ", handle " << std::hex << bad.bits();
    }
    EXPECT_FALSE(manager_->is_valid(bad));
    EXPECT_TRUE(manager_->weak(bad).expired());
  }

  void SetUp() override {
    ManagerTest::SetUp();
    driver_ = manager_->register_driver("driver").value();
    (void)add("good", {.flags = ResourceFlags::Shareable | ResourceFlags::Aggregate});
  }

  DriverId driver_;
};

TEST_F(BadInputTest, ForgedAndStaleHandles) {
  std::mt19937_64 random(seed());
  const Handle gone = add("gone");
  ASSERT_TRUE(manager_->unregister_resource(gone));
  const Handle again = add("gone");
  const auto hold = manager_->try_acquire(again);
  ASSERT_TRUE(hold);
  const std::string before = state();
  std::vector<Handle> bad{Handle(),
                          gone,
                          Handle(again.slot(), again.generation() + 1),
                          Handle(again.slot() + 1, 1),
                          Handle(again.slot(), 0),
                          Handle(0xffffffff, 1),
                          Handle::from_bits(~std::uint64_t{0})};
  while (bad.size() < 100) {
    const Handle handle = Handle::from_bits(random());
    if (handle != again && handle != manager_->find("good").value()) bad.push_back(handle);
  }
  for (const Handle handle : bad) expect_refused(handle, ErrorCode::StaleHandle);
  EXPECT_EQ(state(), before);
  EXPECT_EQ(code_of(manager_->compact(again)), ErrorCode::Unsupported);
  restart({.compact_handles = true});
  for (int i = 0; i < 100; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    EXPECT_EQ(code_of(manager_->expand(Handle32::from_bits(bits))), ErrorCode::StaleHandle);
  }
}

TEST_F(BadInputTest, ClosedManagers) {
  const Handle handle = manager_->find("good").value();
  auto task = manager_->create_context();
  auto hold = manager_->try_acquire_shared(handle);
  ASSERT_TRUE(hold);
  manager_->close();
  const auto gone = ErrorCode::Disconnected;
  const std::array<Handle, 1> one{handle};
  EXPECT_EQ(code_of(manager_->info(handle)), gone);
  EXPECT_EQ(code_of(manager_->export_json(handle)), gone);
  EXPECT_EQ(code_of(manager_->for_each([](const ResourceInfo&) { return true; })), gone);
  EXPECT_EQ(code_of(manager_->holds()), gone);
  EXPECT_EQ(code_of(manager_->get_resource_stats(handle)), gone);
  EXPECT_EQ(code_of(manager_->teardown_order(handle)), gone);
  EXPECT_EQ(code_of(manager_->compact(handle)), gone);
  EXPECT_EQ(code_of(manager_->expand(Handle32())), gone);
  EXPECT_EQ(code_of(manager_->map(handle)), gone);
  EXPECT_EQ(code_of(manager_->fd(handle)), gone);
  EXPECT_EQ(code_of(manager_->rights(handle, driver_)), gone);
  EXPECT_EQ(code_of(manager_->unshare_resource(handle, {}, driver_)), gone);
  EXPECT_EQ(code_of(manager_->add_dependency(handle, handle)), gone);
  EXPECT_EQ(code_of(manager_->remove_dependency(handle, handle)), gone);
  EXPECT_EQ(code_of(manager_->set_order_policy(OrderPolicy::Off)), gone);
  EXPECT_EQ(code_of(manager_->set_thread_driver(driver_)), gone);
  EXPECT_EQ(code_of(manager_->acquire_all(one)), gone);
  EXPECT_EQ(code_of(manager_->acquire_aggregate(handle)), gone);
  EXPECT_EQ(code_of(manager_->acquire_resource<int>("number")), gone);
  EXPECT_EQ(code_of(manager_->release_resource(handle)), gone);
  EXPECT_EQ(code_of(manager_->release_resource(handle, &*task)), gone);
  EXPECT_EQ(code_of(manager_->weak(handle).lock()), gone);
  EXPECT_EQ(code_of(WeakResource().lock()), gone);
  EXPECT_EQ(code_of(Queue::create(*manager_, "queue")), gone);
  EXPECT_EQ(code_of(Queue::open(*manager_, "queue")), gone);
  EXPECT_EQ(code_of(hold->try_upgrade()), gone);
  EXPECT_EQ(code_of(hold->downgrade()), gone);
  EXPECT_EQ(code_of(hold->consistent()), gone);
  EXPECT_FALSE(hold->inconsistent());
}

TEST_F(BadInputTest, EmptyRefs) {
  ScopedResource empty;
  EXPECT_FALSE(empty);
  EXPECT_EQ(code_of(empty.release()), ErrorCode::NotPermitted);
  EXPECT_EQ(code_of(empty.downgrade()), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(empty.try_upgrade()), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(empty.consistent()), ErrorCode::InvalidArgument);
  EXPECT_FALSE(empty.inconsistent());
  auto hold = manager_->try_acquire(manager_->find("good").value());
  ASSERT_TRUE(hold);
  ScopedResource moved = std::move(*hold);
  EXPECT_EQ(code_of(hold->release()), ErrorCode::NotPermitted);
  EXPECT_EQ(manager_->holds()->size(), 1u);
  ScopedResource& itself = moved;
  moved = std::move(itself);
  EXPECT_TRUE(moved);
  EXPECT_TRUE(WeakResource().expired());
}

TEST_F(BadInputTest, OptionsOutOfRange) {
  const Handle handle = manager_->find("good").value();
  const auto mode = static_cast<AcquisitionMode>(4);
  const auto kind = static_cast<HoldKind>(2);
  const auto priority = static_cast<ResourcePriority>(5);
  const auto invalid = ErrorCode::InvalidArgument;
  const std::string before = state();
  for (const AcquireOptions& options :
       {AcquireOptions{.mode = mode}, AcquireOptions{.kind = kind},
        AcquireOptions{.has_priority = true, .priority = priority}}) {
    // Beside so many right ones that the fast path, which keeps a cell and waits for the first
    // tick, comes into it.
    int taken = 0;
    for (int i = 0; i < 100'000; ++i) {
      (void)manager_->try_acquire_shared(handle);
      if (code_of(manager_->acquire_scoped_resource(handle, options)) != invalid) ++taken;
    }
    EXPECT_EQ(taken, 0);
    const std::array<Handle, 1> one{handle};
    EXPECT_EQ(code_of(manager_->acquire_all(one, options)), invalid);
    EXPECT_EQ(code_of(manager_->acquire_aggregate(handle, options)), invalid);
    EXPECT_EQ(code_of(manager_->acquire_resource<int>("new", {}, options)), invalid);
  }
  EXPECT_EQ(code_of(manager_->weak(handle).lock(kind)), invalid);
  EXPECT_EQ(code_of(manager_->set_order_policy(static_cast<OrderPolicy>(3))), invalid);
  EXPECT_EQ(state(), before);
  EXPECT_EQ(code_of(ResourceManager::create({.order_policy = static_cast<OrderPolicy>(3)})),
            invalid);
  auto shared = manager_->try_acquire_shared(handle);
  ASSERT_TRUE(shared);
  EXPECT_EQ(code_of(shared->upgrade({.mode = mode})), invalid);
  EXPECT_EQ(shared->kind(), HoldKind::Shared);
  Context gone = manager_->create_context().value();
  const Context moved = std::move(gone);
  EXPECT_EQ(code_of(manager_->acquire_scoped_resource(handle, AcquireOptions{.context = &gone})),
            invalid);
  EXPECT_EQ(code_of(manager_->release_resource(handle, &gone)), invalid);
  EXPECT_EQ(gone.id(), 0u);
}

TEST_F(BadInputTest, BundlesOfNothingOrOfTheSame) {
  const Handle handle = manager_->find("good").value();
  const auto nothing = manager_->acquire_all({});
  ASSERT_TRUE(nothing);
  EXPECT_TRUE(nothing->empty());
  const std::array<Handle, 3> thrice{handle, add("other"), handle};
  EXPECT_EQ(code_of(manager_->acquire_all(thrice)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->acquire_aggregate(thrice[1])), ErrorCode::InvalidArgument);
  EXPECT_TRUE(manager_->holds()->empty());
}

// Not at once is not in time: it is queued for no longer than a look takes.
TEST_F(BadInputTest, NoTimeAtAll) {
  const Handle handle = manager_->find("good").value();
  for (const AcquisitionMode mode : {AcquisitionMode::Timeout, AcquisitionMode::Emergency}) {
    for (const auto timeout : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
      const AcquireOptions options{.mode = mode, .timeout = timeout};
      auto hold = manager_->acquire_scoped_resource(handle, options);
      ASSERT_TRUE(hold) << "free";
      EXPECT_EQ(code_of(manager_->acquire_scoped_resource(handle, options)), ErrorCode::Deadlock);
      std::thread other([&] {
        EXPECT_EQ(code_of(manager_->acquire_scoped_resource(handle, options)), ErrorCode::TimedOut);
        EXPECT_EQ(code_of(manager_->unregister_resource(handle, timeout)), ErrorCode::InUse);
      });
      other.join();
      EXPECT_EQ(manager_->get_resource_stats(handle)->waiting, 0u);
    }
  }
  const AcquireOptions for_ever{.mode = AcquisitionMode::Timeout,
                                .timeout = std::chrono::nanoseconds::max()};
  EXPECT_TRUE(manager_->acquire_scoped_resource(handle, for_ever));
}

TEST_F(BadInputTest, NamesAndDrivers) {
  const std::string long_name(96, 'n');
  const auto invalid = ErrorCode::InvalidName;
  using namespace std::string_view_literals;
  for (const std::string_view name :
       {""sv, "a b"sv, "a\0b"sv, "\xff"sv, std::string_view(long_name)}) {
    EXPECT_EQ(code_of(manager_->find(name)), invalid);
    EXPECT_EQ(code_of(manager_->register_resource(name, {})), invalid);
    EXPECT_EQ(code_of(manager_->acquire_resource<int>(name)), invalid);
    EXPECT_EQ(code_of(manager_->register_driver(name)), invalid);
    EXPECT_EQ(code_of(Queue::create(*manager_, name)), invalid);
    EXPECT_EQ(code_of(Queue::open(*manager_, name)), invalid);
    // Before it makes anything of that name.
    RegisterOptions backed;
    backed.backing = Backing::memfd();
    EXPECT_EQ(code_of(manager_->register_resource(name, {.size_bytes = 1}, std::move(backed))),
              invalid);
  }
  EXPECT_EQ(code_of(manager_->register_driver(std::string(32, 'd'))), invalid);
  EXPECT_EQ(manager_->size(), 1u);

  const Handle handle = manager_->find("good").value();
  for (const DriverId unknown : {DriverId{2}, DriverId{0xffffffff}}) {
    const auto wrong = ErrorCode::InvalidArgument;
    EXPECT_EQ(code_of(manager_->create_context(unknown)), wrong);
    EXPECT_EQ(code_of(manager_->set_thread_driver(unknown)), wrong);
    EXPECT_EQ(code_of(manager_->register_resource("new", {}, {.driver = unknown})), wrong);
    EXPECT_EQ(code_of(manager_->rights(handle, unknown)), wrong);
    EXPECT_EQ(code_of(manager_->share_resource(handle, {}, unknown, Rights::Read)), wrong);
    EXPECT_EQ(code_of(manager_->map(handle, unknown)), ErrorCode::NotPermitted);
    EXPECT_EQ(code_of(manager_->fd(handle, unknown)), ErrorCode::NotPermitted);
    EXPECT_EQ(code_of(manager_->share_resource(handle, unknown, driver_, Rights::Read)),
              ErrorCode::NotPermitted);
  }
  EXPECT_EQ(manager_->size(), 1u);
}

TEST_F(BadInputTest, SizesAndAlignments) {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  const auto invalid = ErrorCode::InvalidArgument;
  for (const ResourceMetadata& metadata :
       {ResourceMetadata{.size_bytes = kMax}, ResourceMetadata{.size_bytes = kMax / 2},
        ResourceMetadata{.size_bytes = 1, .alignment = 3},
        ResourceMetadata{.size_bytes = 1, .alignment = kMax},
        ResourceMetadata{.size_bytes = 1, .alignment = std::uint64_t{1} << 41},
        ResourceMetadata{.size_bytes = 1, .numa_node = -2}}) {
    EXPECT_EQ(code_of(manager_->register_resource("new", metadata)), invalid);
    RegisterOptions backed;
    backed.backing = Backing::memfd();
    EXPECT_EQ(code_of(manager_->register_resource("new", metadata, std::move(backed))), invalid);
    EXPECT_EQ(code_of(manager_->acquire_resource<int>("new", metadata)), invalid);
  }
  // More than any machine has, but within what can be described.
  EXPECT_TRUE(manager_->register_resource("wide", {.size_bytes = std::uint64_t{1} << 62}));
  RegisterOptions nothing;
  nothing.backing = Backing::memfd();
  EXPECT_EQ(code_of(manager_->register_resource("new", {}, std::move(nothing))), invalid);
  RegisterOptions both;
  both.backing = Backing::memfd();
  both.fd = Backing::memfd()->make("both", {.size_bytes = 1})->fd.duplicate().value();
  EXPECT_EQ(code_of(manager_->register_resource("new", {.size_bytes = 1}, std::move(both))),
            invalid);
  EXPECT_EQ(code_of(Backing::memfd()->make("none", {})), invalid);
  EXPECT_EQ(code_of(manager_->find("new")), ErrorCode::NotFound);
}

}  // namespace
}  // namespace hal
