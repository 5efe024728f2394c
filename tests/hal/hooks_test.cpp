// SPDX-License-Identifier: Apache-2.0
#include <hal/resource.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

class HooksTest : public test::ManagerTest {
 protected:
  Handle add_with(std::string_view name, ResourceHooks hooks) {
    RegisterOptions options;
    options.hooks = std::move(hooks);
    auto handle = manager_->register_resource(name, {}, std::move(options));
    EXPECT_TRUE(handle) << handle.error().message();
    return handle.value_or(Handle());
  }
};

// The callback thread is as fast as can be: each hook keeps it awake until the next registration
// has begun.
TEST_F(HooksTest, WhatIsToldOfCanBeFound) {
  constexpr int kRounds = 50'000;
  std::atomic<int> begun = 0;
  std::atomic<int> told = 0;
  std::atomic<int> early = 0;
  for (int i = 0; i < kRounds; ++i) {
    begun = i;
    add_with("r" + std::to_string(i), {.on_create = [&, i](Handle handle) {
               if (!manager_->is_valid(handle) || !manager_->info(handle)) ++early;
               ++told;
               while (begun <= i) std::this_thread::yield();
             }});
  }
  begun = kRounds;
  while (told < kRounds) std::this_thread::yield();
  manager_->close();  // the last hook has returned
  EXPECT_EQ(early, 0);
}

TEST_F(HooksTest, WhatIsNotRegisteredIsNotToldOf) {
  (void)add("taken");
  std::atomic<int> told = 0;
  RegisterOptions options;
  options.hooks.on_create = [&](Handle) { ++told; };
  options.hooks.on_cleanup = [&](Handle) { ++told; };
  EXPECT_EQ(test::code_of(manager_->register_resource("taken", {}, std::move(options))),
            ErrorCode::AlreadyExists);
  manager_->close();
  EXPECT_EQ(told, 0);
}

TEST_F(HooksTest, WhatAHookThrowsEndsThere) {
  std::atomic<int> told = 0;
  const auto angry = [&](Handle) {
    ++told;
    throw std::runtime_error("an author's mistake");
  };
  const Handle handle =
      add_with("a", {.on_create = angry, .on_access = angry, .on_cleanup = angry});
  (void)manager_->try_acquire(handle);
  while (told < 2) std::this_thread::yield();
  manager_->close();
  EXPECT_EQ(told, 3);
}

/// Unregisters a resource when the last who holds on to this lets go.
class Parent {
 public:
  Parent(ResourceManager& manager, Handle handle, std::atomic<int>& gone)
      : manager_(manager), handle_(handle), gone_(gone) {}
  Parent(const Parent&) = delete;
  Parent& operator=(const Parent&) = delete;
  ~Parent() {
    EXPECT_TRUE(manager_.unregister_resource(handle_));
    ++gone_;
  }

 private:
  ResourceManager& manager_;
  Handle handle_;
  std::atomic<int>& gone_;
};

class MemoryOf final : public Backing {
 public:
  explicit MemoryOf(std::shared_ptr<Parent> parent) : parent_(std::move(parent)) {}
  Result<BackingMemory> make(const std::string& name, const ResourceMetadata& metadata) override {
    return Backing::memfd()->make(name, metadata);
  }

 private:
  std::shared_ptr<Parent> parent_;
};

TEST_F(HooksTest, WhatAuthorsLeaveInOurHandsMayUnregisterWhenItGoes) {
  std::atomic<int> gone = 0;
  const auto parent = [&](const char* name) {
    return std::make_shared<Parent>(*manager_, add_with(name, {.on_cleanup = [](Handle) {}}), gone);
  };
  const Handle told = add_with("told", {.on_cleanup = [p = parent("a")](Handle) {}});
  const Handle watched = add_with("watched", {.on_access = [p = parent("b")](Handle) {}});
  RegisterOptions backed;
  backed.backing = std::make_shared<MemoryOf>(parent("c"));
  const auto lazy = manager_->register_resource(
      "lazy", {.size_bytes = 1, .flags = ResourceFlags::Lazy}, std::move(backed));
  ASSERT_TRUE(lazy);
  EXPECT_TRUE(manager_->unregister_resource(told));
  EXPECT_TRUE(manager_->unregister_resource(watched));
  EXPECT_TRUE(manager_->unregister_resource(*lazy));
  while (gone < 3) std::this_thread::yield();
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(HooksTest, AHookMayClose) {
  std::atomic<int> told = 0;
  add_with("a", {.on_cleanup = [&](Handle) { ++told; }});
  add_with("b", {.on_create = [&](Handle) {
             manager_->close();
             ++told;
           }});
  while (told < 1) std::this_thread::yield();
  EXPECT_EQ(test::code_of(manager_->find("a")), ErrorCode::Disconnected);
  manager_.reset();  // waits for what the hook left behind
  EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace hal
