// SPDX-License-Identifier: Apache-2.0
//
// What a driver owned when it died: kept for whoever it is restarted as, and then destroyed.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <thread>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;

UniqueFd memory(char fill) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), 4096), 0);
  EXPECT_EQ(::pwrite(fd.get(), &fill, 1, 0), 1);
  return fd;
}

const ResourceMetadata kChannel{.class_name = {}, .size_bytes = 4096};

/// A driver that owns "dma/0", until it is killed. It says the handle's bytes.
std::unique_ptr<Child> driver(const Daemon& daemon, char fill = 'a',
                              const ResourceMetadata& metadata = kChannel) {
  return std::make_unique<Child>([&daemon, fill, &metadata](Child::Talk& talk) {
    auto manager = daemon.connect();
    const DriverId self = manager->register_driver("dma").value();
    const auto handle =
        manager->register_resource("dma/0", metadata, {.driver = self, .fd = memory(fill)});
    talk.say(handle ? 'r' : 'x');
    return static_cast<int>(talk.hear());
  });
}

void kill_and_wait(Child& child) {
  child.signal(SIGKILL);
  EXPECT_EQ(child.wait(), -SIGKILL);
}

/// "dma/0", whose driver died.
Handle leave_orphan(const Daemon& daemon, ResourceManager& manager) {
  auto owner = driver(daemon);
  EXPECT_EQ(owner->hear(), 'r');
  const Handle handle = manager.find("dma/0").value();
  kill_and_wait(*owner);
  EXPECT_TRUE(
      eventually([&] { return manager.info(handle).value().state == Lifecycle::Orphaned; }));
  return handle;
}

TEST(ServedOrphan, IsAdoptedByTheRestartedDriver) {
  const Daemon daemon;
  auto manager = daemon.connect();
  ASSERT_NE(manager, nullptr);
  auto first = driver(daemon, 'a');
  ASSERT_EQ(first->hear(), 'r');
  const Handle handle = manager->find("dma/0").value();
  auto hold = manager->try_acquire(handle);
  ASSERT_TRUE(hold);
  kill_and_wait(*first);
  ASSERT_TRUE(eventually([&] {
    return manager->info(handle).value().state == Lifecycle::Orphaned ||
           manager->info(handle).value().state == Lifecycle::Locked;
  }));

  auto second = driver(daemon, 'b');
  ASSERT_EQ(second->hear(), 'r');
  EXPECT_EQ(manager->find("dma/0").value(), handle);
  EXPECT_TRUE(manager->is_valid(handle)) << "holds of others go on";
  hold = {};
  EXPECT_TRUE(manager->try_acquire(handle));
  // It is the new owner's now: nobody else unregisters it.
  EXPECT_EQ(manager->unregister_resource(handle).error(), ErrorCode::NotPermitted);
}

TEST(ServedOrphan, IsNotForAnotherDriverNorForSomethingElse) {
  const Daemon daemon;
  auto manager = daemon.connect();
  const Handle handle = leave_orphan(daemon, *manager);
  const DriverId other = manager->register_driver("other").value();
  EXPECT_EQ(
      manager->register_resource("dma/0", kChannel, {.driver = other, .fd = memory('c')}).error(),
      ErrorCode::AlreadyExists);
  ResourceMetadata shorter = kChannel;
  shorter.size_bytes = 2048;
  auto second = driver(daemon, 'b', shorter);
  EXPECT_EQ(second->hear(), 'x');
  EXPECT_EQ(manager->info(handle).value().state, Lifecycle::Orphaned);
}

TEST(ServedOrphan, IsDestroyedWhenItsGraceIsOver) {
  const TemporaryFile config("[grace]\nowner = \"20ms\"\n");
  const Daemon daemon({"--config", config.path()});
  auto manager = daemon.connect();
  ASSERT_NE(manager, nullptr);
  auto owner = driver(daemon);
  ASSERT_EQ(owner->hear(), 'r');
  const Handle handle = manager->find("dma/0").value();
  auto hold = manager->try_acquire(handle);
  ASSERT_TRUE(hold);
  // Another one waits for it.
  Child waiter([&](Child::Talk& talk) {
    auto theirs = daemon.connect();
    talk.say('w');
    const auto refused = theirs->acquire_scoped_resource(handle);
    return !refused && refused.error() == ErrorCode::OwnerDied ? 0 : 1;
  });
  ASSERT_EQ(waiter.hear(), 'w');
  ASSERT_TRUE(eventually([&] { return manager->get_resource_stats(handle).value().waiting == 1; }));
  kill_and_wait(*owner);
  EXPECT_EQ(waiter.wait(), 0);
  // Who holds it has it until he lets go.
  EXPECT_TRUE(manager->is_valid(handle));
  hold = {};
  EXPECT_TRUE(eventually([&] { return !manager->find("dma/0"); }));
  EXPECT_FALSE(manager->is_valid(handle));
  EXPECT_TRUE(manager->register_resource("dma/0", {}));
}

TEST(ServedOrphan, IsDestroyedAtOnceOrKeptIfItsFlagsSaySo) {
  const TemporaryFile config("[grace]\nowner = \"20ms\"\n");
  const Daemon daemon({"--config", config.path()});
  auto manager = daemon.connect();
  const auto die_with = [&](ResourceFlags flags) {
    ResourceMetadata metadata = kChannel;
    metadata.flags = flags;
    auto owner = driver(daemon, 'a', metadata);
    EXPECT_EQ(owner->hear(), 'r');
    kill_and_wait(*owner);
  };
  die_with(ResourceFlags::Transient);
  EXPECT_TRUE(eventually([&] { return !manager->find("dma/0"); }));

  die_with(ResourceFlags::Persistent);
  const auto found = manager->find("dma/0");
  ASSERT_TRUE(found) << found.error().message();
  const Handle kept = *found;
  // Another one without the flag comes and goes after it.
  {
    Child other([&](Child::Talk& talk) {
      auto theirs = daemon.connect();
      talk.say(theirs->register_resource("other", {}) ? 'r' : 'x');
      return static_cast<int>(talk.hear());
    });
    EXPECT_EQ(other.hear(), 'r');
    kill_and_wait(other);
  }
  EXPECT_TRUE(eventually([&] { return !manager->find("other"); }));
  const auto info = manager->info(kept);
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->state, Lifecycle::Orphaned);
}

TEST(ServedOrphan, SurvivesTheWorkerToo) {
  const Daemon daemon;
  auto manager = daemon.connect();
  const Handle handle = leave_orphan(daemon, *manager);
  daemon.kill_worker();
  auto second = driver(daemon);
  ASSERT_EQ(second->hear(), 'r');
  EXPECT_EQ(manager->find("dma/0").value(), handle);
  EXPECT_EQ(manager->info(handle).value().state, Lifecycle::Ready);
}

TEST(ServedPolicy, SaysWhoMayBeWhichDriverAndIsReadAnew) {
  const TemporaryFile config("[[driver]]\nname = \"dma*\"\ntypes = [\"Hardware\"]\n");
  const Daemon daemon({"--config", config.path()});
  auto manager = daemon.connect();
  ASSERT_NE(manager, nullptr);
  EXPECT_EQ(manager->register_driver("gpu").error(), ErrorCode::NotPermitted);
  const DriverId dma = manager->register_driver("dma0").value();
  const auto add = [&](const char* name, ResourceType type) {
    return manager->register_resource(name, {.type = type}, {.driver = dma});
  };
  EXPECT_TRUE(add("a", ResourceType::Hardware));
  EXPECT_EQ(add("b", ResourceType::Memory).error(), ErrorCode::NotPermitted);
  EXPECT_EQ(manager->register_resource("c", {}).error(), ErrorCode::NotPermitted);

  // A file with mistakes changes nothing.
  std::ofstream(config.path()) << "[[driver]]\nname = 5\n";
  ASSERT_EQ(::kill(daemon.keeper(), SIGHUP), 0);
  EXPECT_EQ(manager->register_driver("gpu").error(), ErrorCode::NotPermitted);
  std::ofstream(config.path()) << "[[driver]]\nname = \"*\"\n";
  ASSERT_EQ(::kill(daemon.keeper(), SIGHUP), 0);
  EXPECT_TRUE(eventually([&] { return manager->register_driver("gpu").has_value(); }));
  EXPECT_TRUE(add("b", ResourceType::Memory)) << "without a new connection";
  // The next worker has the new rules too.
  daemon.kill_worker();
  EXPECT_TRUE(manager->register_driver("anything"));
}

}  // namespace
}  // namespace hal::test
