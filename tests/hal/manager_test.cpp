// SPDX-License-Identifier: Apache-2.0
#include <hal/resource_manager.hpp>

#include <array>
#include <atomic>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using test::code_of;

class ResourceManagerTest : public test::ManagerTest {};

TEST_F(ResourceManagerTest, NamesAreChecked) {
  for (const std::string& name :
       {std::string(), std::string(96, 'a'), std::string("a b"), std::string("a\0b", 3),
        std::string("\xc3\xa4"), std::string("a:b")}) {
    EXPECT_EQ(code_of(manager_->register_resource(name, {})), ErrorCode::InvalidName) << name;
    EXPECT_EQ(code_of(manager_->find(name)), ErrorCode::InvalidName) << name;
    EXPECT_EQ(code_of(manager_->register_driver(name)), ErrorCode::InvalidName) << name;
  }
  EXPECT_TRUE(manager_->register_resource(std::string(95, 'a'), {}));
  EXPECT_EQ(manager_->size(), 1u);
}

TEST_F(ResourceManagerTest, MetadataIsCheckedAndKept) {
  using enum ResourceFlags;
  const auto refused = [&](const ResourceMetadata& metadata) {
    return code_of(manager_->register_resource("x", metadata)) == ErrorCode::InvalidArgument;
  };
  EXPECT_TRUE(refused({.flags = Shareable | ExclusiveOnly}));
  EXPECT_TRUE(refused({.flags = Persistent | Transient}));
  EXPECT_TRUE(refused({.flags = static_cast<ResourceFlags>(0x80000000u)}));
  EXPECT_TRUE(refused({.alignment = 3}));
  EXPECT_TRUE(refused({.size_bytes = ~std::uint64_t{0}}));
  EXPECT_TRUE(refused({.type = static_cast<ResourceType>(77)}));
  EXPECT_TRUE(refused({.priority = static_cast<ResourcePriority>(9)}));
  EXPECT_TRUE(refused({.flags = Lazy}));
  EXPECT_TRUE(refused({.pairs = {{"k", "1"}, {"k", "2"}}}));
  EXPECT_TRUE(refused({.pairs = {{"", "1"}}}));
  EXPECT_TRUE(refused({.pairs = {{"k", std::string(36, 'v')}}}));
  EXPECT_EQ(manager_->size(), 0u);

  const Handle handle = add("x", {.type = ResourceType::Memory,
                                  .class_name = "gpu-buffer",
                                  .size_bytes = 4096,
                                  .alignment = 64,
                                  .access_pattern = AccessPattern::Streaming,
                                  .priority = ResourcePriority::High,
                                  .flags = Shareable,
                                  .pairs = {{"format", "XR24"}, {"width", "640"}}});
  const auto info = manager_->info(handle);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->name, "x");
  EXPECT_EQ(info->metadata.class_name, "gpu-buffer");
  EXPECT_EQ(info->metadata.size_bytes, 4096u);
  EXPECT_EQ(info->metadata.pairs.size(), 2u);
  EXPECT_EQ(info->state, Lifecycle::Ready);
  const auto json = manager_->export_json(handle);
  ASSERT_TRUE(json);
  EXPECT_NE(json->find("\"format\":\"XR24\""), std::string::npos);
  EXPECT_NE(json->find("\"state\":\"ready\""), std::string::npos);
}

TEST_F(ResourceManagerTest, StaleHandlesActOnNothing) {
  const Handle old = add("a");
  ASSERT_TRUE(manager_->unregister_resource(old));
  const Handle young = add("a");
  EXPECT_NE(old, young);
  auto hold = manager_->try_acquire(young);
  ASSERT_TRUE(hold);
  for (const Handle bad : {old, Handle(), Handle(1u << 30, 1), Handle(0, 0xffffff),
                           Handle::from_bits(~std::uint64_t{0})}) {
    EXPECT_FALSE(manager_->is_valid(bad));
    EXPECT_EQ(code_of(manager_->info(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->try_acquire(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->try_acquire_shared(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->release_resource(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->unregister_resource(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->get_resource_stats(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->export_json(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->map(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->fd(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->add_dependency(bad, young)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->teardown(bad)), ErrorCode::StaleHandle);
    EXPECT_EQ(code_of(manager_->rights(bad, {})), ErrorCode::StaleHandle);
    EXPECT_TRUE(manager_->weak(bad).expired());
  }
  EXPECT_TRUE(manager_->is_valid(young));
  EXPECT_TRUE(hold->release());
}

TEST_F(ResourceManagerTest, HeldOrNeededResourcesStay) {
  const Handle a = add("a");
  const Handle b = add("b");
  ASSERT_TRUE(manager_->add_dependency(a, b));
  const auto needed = manager_->unregister_resource(b);
  ASSERT_EQ(code_of(needed), ErrorCode::InUse);
  EXPECT_NE(needed.error().message().find('a'), std::string::npos);
  EXPECT_EQ(code_of(manager_->add_dependency(b, a)), ErrorCode::DependencyCycle);

  std::thread other([&] {
    auto hold = manager_->try_acquire(a);
    std::thread third([&] {
      const auto held = manager_->unregister_resource(a);
      ASSERT_EQ(code_of(held), ErrorCode::InUse);
      EXPECT_NE(held.error().blame().context, 0u);
    });
    third.join();
  });
  other.join();
  EXPECT_EQ(manager_->info(a)->state, Lifecycle::Ready);
  EXPECT_TRUE(manager_->teardown(a));
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(ResourceManagerTest, UnregisteringGoesFirstAndAnswersWaiters) {
  const Handle handle = add("a");
  auto hold = manager_->try_acquire(handle);
  ASSERT_TRUE(hold);
  const auto own = manager_->unregister_resource(handle);
  EXPECT_EQ(code_of(own), ErrorCode::InUse);
  const auto await_waiters = [&](std::uint32_t count) {
    while (manager_->get_resource_stats(handle)->waiting != count) std::this_thread::yield();
  };
  std::thread waiter([&] {
    EXPECT_EQ(code_of(manager_->acquire_scoped_resource(handle)), ErrorCode::StaleHandle);
  });
  await_waiters(1);
  std::thread remover(
      [&] { EXPECT_TRUE(manager_->unregister_resource(handle, std::chrono::hours(1))); });
  await_waiters(2);
  EXPECT_TRUE(hold->release());
  remover.join();
  waiter.join();
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(ResourceManagerTest, TypedResourcesAreOpenedOrMade) {
  struct Counter {
    int value = 7;
    int other = 0;
  };
  {
    auto made = manager_->acquire_resource<Counter>("counter", {.type = ResourceType::Memory});
    ASSERT_TRUE(made) << made.error().message();
    EXPECT_EQ((*made)->value, 7);
    (*made)->value = 8;
  }
  auto opened = manager_->acquire_resource<Counter>("counter", {.type = ResourceType::Memory});
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->value, 8);
  EXPECT_TRUE(opened->release());
  EXPECT_EQ(code_of(manager_->acquire_resource<double>("counter", {.type = ResourceType::Memory})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->acquire_resource<Counter>("counter", {.type = ResourceType::Custom})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->acquire_resource<Counter>(
                "counter", {.type = ResourceType::Memory, .size_bytes = 4096})),
            ErrorCode::InvalidArgument);
}

TEST_F(ResourceManagerTest, MemoryFollowsRights) {
  const auto owner = manager_->register_driver("gpu");
  const auto reader = manager_->register_driver("viewer");
  const auto stranger = manager_->register_driver("stranger");
  RegisterOptions options;
  options.driver = *owner;
  options.backing = Backing::memfd();
  const auto handle = manager_->register_resource(
      "buffer",
      {.type = ResourceType::Memory, .size_bytes = 8192, .flags = ResourceFlags::Shareable},
      std::move(options));
  ASSERT_TRUE(handle);
  const auto memory = manager_->map(*handle, *owner);
  ASSERT_TRUE(memory);
  ASSERT_EQ(memory->size(), 8192u);
  std::memset(memory->data(), 0x5a, memory->size());

  EXPECT_EQ(code_of(manager_->map(*handle, *reader)), ErrorCode::NotPermitted);
  EXPECT_EQ(code_of(manager_->share_resource(*handle, *stranger, *reader, Rights::Read)),
            ErrorCode::NotPermitted);
  EXPECT_EQ(code_of(manager_->share_resource(*handle, *owner, *reader, Rights::None)),
            ErrorCode::InvalidArgument);
  ASSERT_TRUE(manager_->share_resource(*handle, *owner, *reader, Rights::Read));
  const auto view = manager_->map(*handle, *reader);
  ASSERT_TRUE(view);
  EXPECT_EQ((*view)[100], std::byte{0x5a});
  EXPECT_EQ(code_of(manager_->fd(*handle, *reader)), ErrorCode::NotPermitted);
  EXPECT_TRUE(manager_->fd(*handle, *owner));
  ASSERT_TRUE(manager_->unshare_resource(*handle, *owner, *reader));
  EXPECT_EQ(code_of(manager_->map(*handle, *reader)), ErrorCode::NotPermitted);

  const Handle closed = add("closed");
  EXPECT_EQ(code_of(manager_->share_resource(closed, {}, *reader, Rights::Read)),
            ErrorCode::NotShareable);
  EXPECT_EQ(code_of(manager_->map(closed)), ErrorCode::Unsupported);
  RegisterOptions event;
  event.fd = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  const auto bell = manager_->register_resource("bell", {.size_bytes = 8}, std::move(event));
  ASSERT_TRUE(bell);
  EXPECT_EQ(code_of(manager_->map(*bell)), ErrorCode::Unsupported);
  EXPECT_TRUE(manager_->fd(*bell));
}

TEST_F(ResourceManagerTest, LazyBackingIsMadeOnce) {
  class Counting final : public Backing {
   public:
    explicit Counting(int& made) : made_(made) {}
    Result<BackingMemory> make(const std::string& name, const ResourceMetadata& m) override {
      ++made_;
      return Backing::memfd()->make(name, m);
    }

   private:
    int& made_;
  };
  int made = 0;
  RegisterOptions options;
  options.backing = std::make_shared<Counting>(made);
  const auto handle = manager_->register_resource(
      "lazy", {.size_bytes = 100, .flags = ResourceFlags::Lazy}, std::move(options));
  ASSERT_TRUE(handle);
  EXPECT_EQ(made, 0);
  EXPECT_TRUE(manager_->map(*handle));
  EXPECT_TRUE(manager_->map(*handle));
  EXPECT_EQ(made, 1);
}

TEST_F(ResourceManagerTest, HooksTellTheStory) {
  std::mutex mutex;
  std::vector<std::string> story;
  const auto tell = [&](std::string what) {
    const std::lock_guard lock(mutex);
    story.push_back(std::move(what));
  };
  RegisterOptions options;
  options.hooks.on_create = [&](Handle) { tell("create"); };
  options.hooks.on_access = [&](Handle handle) {
    EXPECT_TRUE(manager_->info(handle));  // any function may be called
    tell("access");                       // it may be gone after that
  };
  options.hooks.on_cleanup = [&](Handle) { tell("cleanup"); };
  const auto handle = manager_->register_resource("a", {}, std::move(options));
  ASSERT_TRUE(handle);
  (void)manager_->try_acquire(*handle);
  const auto told = [&] {
    const std::lock_guard lock(mutex);
    return story.size();
  };
  while (told() < 2) std::this_thread::yield();
  ASSERT_TRUE(manager_->unregister_resource(*handle));
  manager_->close();
  EXPECT_EQ(story, (std::vector<std::string>{"create", "access", "cleanup"}));
}

TEST_F(ResourceManagerTest, FullTablesSaySo) {
  ManagerOptions options;
  options.capacities = {.resources = 2, .contexts = 2, .waits = 4, .shared_holds = 1};
  restart(std::move(options));
  const Handle a = add("a");
  const Handle b = add("b");
  const auto third = manager_->register_resource("c", {});
  EXPECT_EQ(code_of(third), ErrorCode::CapacityExceeded);
  auto one = manager_->try_acquire_shared(a);
  EXPECT_TRUE(one);
  EXPECT_EQ(code_of(manager_->acquire_scoped_resource(
                b, AcquireOptions{.mode = AcquisitionMode::Blocking, .kind = HoldKind::Shared})),
            ErrorCode::CapacityExceeded);
  auto context = manager_->create_context();
  EXPECT_TRUE(context);
  EXPECT_EQ(code_of(manager_->create_context()), ErrorCode::CapacityExceeded);
  ManagerOptions wrong;
  wrong.capacities.contexts = 70000;
  EXPECT_EQ(code_of(ResourceManager::create(std::move(wrong))), ErrorCode::InvalidArgument);
}

TEST_F(ResourceManagerTest, CompactHandlesRoundTrip) {
  EXPECT_EQ(code_of(manager_->compact(add("a"))), ErrorCode::Unsupported);
  ManagerOptions options;
  options.compact_handles = true;
  restart(std::move(options));
  const Handle handle = add("a");
  const auto small = manager_->compact(handle);
  ASSERT_TRUE(small);
  EXPECT_EQ(*manager_->expand(*small), handle);
  ASSERT_TRUE(manager_->unregister_resource(handle));
  EXPECT_EQ(code_of(manager_->expand(*small)), ErrorCode::StaleHandle);
  EXPECT_EQ(code_of(manager_->expand(Handle32())), ErrorCode::StaleHandle);
}

TEST_F(ResourceManagerTest, AHandleOfAnotherDomainIsStale) {
  const Handle old = add("a");
  restart({});
  const Handle fresh = add("a");
  ASSERT_EQ(fresh.slot(), old.slot());
  EXPECT_FALSE(manager_->is_valid(old));
  EXPECT_EQ(code_of(manager_->try_acquire(old)), ErrorCode::StaleHandle);
  EXPECT_EQ(code_of(manager_->acquire_scoped_resource(old)), ErrorCode::StaleHandle);
  EXPECT_EQ(code_of(manager_->unregister_resource(old)), ErrorCode::StaleHandle);
  EXPECT_TRUE(manager_->try_acquire(fresh));
}

TEST_F(ResourceManagerTest, ClosedManagerAnswersEverything) {
  const Handle handle = add("a");
  // Found where it is at home, without a look at whether the manager is closed.
  const Handle at_home = add("a/plain/name");
  EXPECT_EQ(manager_->find("a/plain/name").value_or(Handle()), at_home);
  EXPECT_EQ(manager_->find("a/plain/name").value_or(Handle()), at_home);
  auto hold = manager_->try_acquire(handle);
  const WeakResource weak = manager_->weak(handle);
  auto task = manager_->create_context();
  EXPECT_FALSE(weak.expired());
  manager_->close();
  manager_->close();
  EXPECT_EQ(log_.count("released because the manager closed"), 1u);
  EXPECT_TRUE(weak.expired());
  EXPECT_EQ(code_of(weak.lock()), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(hold->release()), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->try_acquire(handle)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->acquire_scoped_resource(handle, AcquireOptions{.context = &*task})),
            ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->register_resource("b", {})), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->unregister_resource(handle)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->find("a")), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->find("a/plain/name")), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->map(handle)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->register_driver("d")), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->create_context()), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->teardown(handle)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->share_resource(handle, {}, {}, Rights::Read)),
            ErrorCode::Disconnected);
  EXPECT_FALSE(manager_->is_valid(handle));
  EXPECT_EQ(code_of(manager_->holds()), ErrorCode::Disconnected);
}

// A thread that ends and the manager that closes both give the thread's context back: it must not
// be given to two others afterwards.
TEST_F(ResourceManagerTest, ClosingWhileThreadsEndGivesContextsBackOnce) {
  const ManagerOptions small{.capacities = {.resources = 2,
                                            .contexts = 8,
                                            .waits = 2,
                                            .shared_holds = 2,
                                            .metadata_pairs = 2,
                                            .dependencies = 2,
                                            .shares = 2}};
  for (int round = 0; round < 1000; ++round) {
    restart(small);
    std::atomic<int> ready = 0;
    std::array<std::thread, 4> threads;
    for (std::thread& thread : threads) {
      thread = std::thread([&] {
        EXPECT_TRUE(manager_->set_thread_driver({}));  // makes the context
        ++ready;
      });
    }
    while (ready != 4) std::this_thread::yield();
    manager_->close();
    for (std::thread& thread : threads) thread.join();

    restart(small);
    std::vector<Context> tasks;
    std::set<std::uint32_t> ids;
    for (int i = 0; i < 8; ++i) {
      auto task = manager_->create_context();
      ASSERT_TRUE(task);
      tasks.push_back(std::move(*task));
    }
    for (const Context& task : tasks) ids.insert(task.id());
    ASSERT_EQ(ids.size(), tasks.size()) << "round " << round;
  }
}

TEST_F(ResourceManagerTest, WeakResourceHoldsNothing) {
  const Handle handle = add("a");
  const WeakResource weak = manager_->weak(handle);
  {
    auto hold = weak.lock();
    EXPECT_TRUE(hold);
    EXPECT_EQ(code_of(weak.lock()), ErrorCode::Deadlock);
  }
  ASSERT_TRUE(manager_->unregister_resource(handle));
  EXPECT_TRUE(weak.expired());
  EXPECT_EQ(code_of(weak.lock()), ErrorCode::StaleHandle);
}

TEST(DefaultInstance, IsOneAndUsable) {
  ResourceManager& instance = ResourceManager::instance();
  EXPECT_EQ(&instance, &ResourceManager::instance());
  EXPECT_TRUE(instance.register_resource("default/a", {}));
}

TEST_F(ResourceManagerTest, ManyAreRegisteredAtOnceAndEachHasItsOwnOutcome) {
  (void)add("there");
  const DriverId driver = manager_->register_driver("dma").value();
  const std::array<NamedResource, 4> wanted{
      {{.name = "a", .cookie = 5},
       {.name = "there"},
       {.name = "not a name"},
       {.name = "b", .metadata = {.priority = ResourcePriority::High}}}};
  const auto outcomes = manager_->register_resources(wanted, driver);
  ASSERT_TRUE(outcomes);
  ASSERT_EQ(outcomes->size(), 4u);
  EXPECT_EQ(manager_->find("a").value(), outcomes->at(0).value());
  EXPECT_EQ(manager_->info(outcomes->at(0).value()).value().owner.value, driver.value);
  EXPECT_EQ(code_of(outcomes->at(1)), ErrorCode::AlreadyExists);
  EXPECT_EQ(code_of(outcomes->at(2)), ErrorCode::InvalidName);
  EXPECT_EQ(manager_->info(outcomes->at(3).value()).value().metadata.priority,
            ResourcePriority::High);
  EXPECT_EQ(code_of(manager_->register_resources(wanted, DriverId{77})),
            ErrorCode::InvalidArgument);
  EXPECT_TRUE(manager_->register_resources({}).value().empty());
}

}  // namespace
}  // namespace hal
