// SPDX-License-Identifier: Apache-2.0
//
// Who is told what becomes of the resources of a dead driver.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "resmgr/abi/events.hpp"
#include "resmgr/base/clock.hpp"
#include "tests/daemon/clerk_support.hpp"

namespace resmgr::daemon::test {
namespace {

using namespace std::chrono_literals;
using lock::test::blocking;
using wire::OwnerLoss;

constexpr std::uint64_t kGrace = 1'000'000'000;

/// What listeners were told of one resource, by their places.
class Told final : public Outbox {
 public:
  bool post(std::uint32_t client, std::span<const std::byte> event) override {
    const auto told = wire::OwnerEvent::decode(wire::read_frame(event).value()).value();
    handles.push_back(told.handle);
    events[client].push_back(told.loss);
    return true;
  }
  void for_each_listener(const std::function<void(const Client&)>& visit) override {
    for (const Client* client : listeners) visit(*client);
  }
  void warn(const std::string&) noexcept override {}

  std::vector<const Client*> listeners;
  std::map<std::uint32_t, std::vector<OwnerLoss>> events;
  std::vector<Handle> handles;
};

class Owners : public ClerkTest {
 protected:
  Owners() {
    Config config;
    config.grace.owner = 1s;
    clerk.set_policy(std::make_shared<Policy>(config, ::geteuid()));
    clerk.set_outbox(&told);
  }
  ~Owners() override { clerk.set_outbox(nullptr); }
  /// A resource that may be shared.
  Handle buffer(Peer& by) {
    return by
        .add({.name = "gpu/0",
              .description = {.flags = ResourceFlags::Shareable, .owner_driver = by.driver}})
        .handle;
  }
  [[nodiscard]] std::vector<OwnerLoss> heard(const Peer& peer) const {
    const auto found = told.events.find(peer.client.index);
    return found == told.events.end() ? std::vector<OwnerLoss>() : found->second;
  }

  Told told;
};

const std::vector<OwnerLoss> kNothing;
const std::vector kOrphaned{OwnerLoss::Orphaned};
const std::vector kBoth{OwnerLoss::Orphaned, OwnerLoss::OwnerDied};

TEST_F(Owners, DeathIsToldToWhoHasToDoWithTheResource) {
  Peer owner(clerk, "gpu", 4711);
  Peer friendly(clerk, "dma", 4712);
  Peer holder(clerk, "holder", 4713);
  Peer bystander(clerk, "bystander", 4714);
  told.listeners = {&friendly.client, &holder.client, &bystander.client};
  const Handle handle = buffer(owner);
  ASSERT_EQ(owner.request(
                wire::ShareRequest{.handle = handle, .driver = "dma", .rights = Rights::Acquire}),
            std::nullopt);
  ASSERT_TRUE(holder.engine->acquire(*holder.context, handle, trying(HoldKind::Shared)));
  clerk.bury(owner.client);
  EXPECT_EQ(heard(friendly), kOrphaned);
  EXPECT_EQ(heard(holder), kOrphaned);
  EXPECT_EQ(heard(bystander), kNothing);
  EXPECT_EQ(told.handles, (std::vector{handle, handle}));

  // Who holds it has it: it is not gone before he lets go.
  std::uint64_t now = monotonic_ns() + 2 * kGrace;
  (void)clerk.destroy_orphans(now);
  EXPECT_EQ(heard(holder), kOrphaned);
  ASSERT_TRUE(holder.engine->release(*holder.context, handle, HoldKind::Shared));
  (void)clerk.destroy_orphans(now += kGrace);
  ASSERT_FALSE(state->view().is_live(handle));
  EXPECT_EQ(heard(friendly), kBoth);
  EXPECT_EQ(heard(holder), kBoth) << "who was told the beginning is told the end";
  EXPECT_EQ(heard(bystander), kNothing);
}

TEST_F(Owners, AnExclusiveHolderAndWhoWaitsAreTold) {
  Peer owner(clerk, "gpu", 4711);
  Peer holder(clerk, "holder", 4712);
  Peer waiter(clerk, "waiter", 4713);
  told.listeners = {&holder.client, &waiter.client};
  const Handle handle = buffer(owner);
  ASSERT_TRUE(holder.engine->acquire(*holder.context, handle, trying()));
  ErrorCode outcome{};
  std::thread waiting([&] {
    const auto refused = waiter.engine->acquire(*waiter.context, handle, blocking());
    outcome = refused ? ErrorCode{} : refused.error().code();
  });
  while (state->engine().count_waiters(handle) == 0) std::this_thread::yield();
  clerk.bury(owner.client);
  EXPECT_EQ(heard(holder), kOrphaned);
  EXPECT_EQ(heard(waiter), kOrphaned);
  (void)clerk.destroy_orphans(monotonic_ns() + 2 * kGrace);
  waiting.join();
  EXPECT_EQ(outcome, ErrorCode::OwnerDied);
}

// Waiters are sent away before it is gone, and who comes between has not been told the beginning.
TEST_F(Owners, WhoWaitsForAnOrphanIsToldItsEnd) {
  Peer owner(clerk, "gpu", 4711);
  Peer holder(clerk, "holder", 4712);
  Peer waiter(clerk, "waiter", 4713);
  const Handle handle = buffer(owner);
  ASSERT_TRUE(holder.engine->acquire(*holder.context, handle, trying()));
  clerk.bury(owner.client);
  told.listeners = {&waiter.client};
  std::thread waiting([&] { (void)waiter.engine->acquire(*waiter.context, handle, blocking()); });
  while (state->engine().count_waiters(handle) == 0) std::this_thread::yield();
  (void)clerk.destroy_orphans(monotonic_ns() + 2 * kGrace);
  waiting.join();
  ASSERT_TRUE(holder.engine->release(*holder.context, handle, HoldKind::Exclusive));
  (void)clerk.destroy_orphans(monotonic_ns() + 4 * kGrace);
  EXPECT_EQ(heard(waiter), std::vector{OwnerLoss::OwnerDied});
}

TEST_F(Owners, WhoHasTheDeadOnesPlaceIsNotToldHisNews) {
  Peer owner(clerk, "gpu", 4711);
  Peer holder(clerk, "holder", 4712);
  told.listeners = {&holder.client};
  const Handle handle = buffer(owner);
  ASSERT_TRUE(holder.engine->acquire(*holder.context, handle, trying()));
  clerk.bury(owner.client);
  ASSERT_EQ(heard(holder), kOrphaned);
  const std::uint32_t place = holder.client.index;
  clerk.bury(holder.client);
  told.listeners = {};
  Peer second(clerk, "b", 4713);
  Peer third(clerk, "c", 4714);
  ASSERT_TRUE(second.client.index == place || third.client.index == place);
  told.listeners = {&second.client, &third.client};
  (void)clerk.destroy_orphans(monotonic_ns() + 2 * kGrace);
  ASSERT_FALSE(state->view().is_live(handle));
  EXPECT_EQ(told.events[place], kOrphaned);
}

TEST_F(Owners, AdoptionBeginsItAnew) {
  Peer owner(clerk, "gpu", 4711);
  Peer holder(clerk, "holder", 4712);
  told.listeners = {&holder.client};
  const Handle handle = buffer(owner);
  ASSERT_TRUE(holder.engine->acquire(*holder.context, handle, trying()));
  clerk.bury(owner.client);
  ASSERT_TRUE(holder.engine->release(*holder.context, handle, HoldKind::Exclusive));
  Peer restarted(clerk, "gpu", 4713);
  ASSERT_EQ(buffer(restarted), handle);
  (void)clerk.destroy_orphans(monotonic_ns() + 2 * kGrace);
  EXPECT_TRUE(state->view().is_live(handle));
  EXPECT_EQ(heard(holder), kOrphaned);
}

// Adopted and left again before the first grace was over: there is one deadline, the second.
TEST_F(Owners, ASecondDeathHasItsWholeGrace) {
  Peer owner(clerk, "gpu", 4711);
  const Handle handle = buffer(owner);
  clerk.bury(owner.client);
  const std::uint64_t first_deadline = *clerk.destroy_orphans(0);
  Peer restarted(clerk, "gpu", 4712);
  ASSERT_EQ(buffer(restarted), handle);
  clerk.bury(restarted.client);
  const auto next = clerk.destroy_orphans(first_deadline);
  EXPECT_TRUE(state->view().is_live(handle));
  ASSERT_TRUE(next);
  EXPECT_GT(*next, first_deadline);
}

TEST_F(Owners, OnlyWhoAskedForItIsAListener) {
  const auto greet_with = [&](std::uint32_t features) {
    Client client{.pid = 4711, .start_time = 1};
    std::vector<std::byte> in(RM_WIRE_MAX_FRAME);
    std::vector<std::byte> out(RM_WIRE_MAX_FRAME);
    const auto bytes = wire::encode(wire::Hello{.features = features}, 1, in).value();
    (void)clerk.answer(client, std::span(in).first(bytes), {}, out);
    EXPECT_TRUE(client.greeted);
    clerk.bury(client);
    return client.hears_of_owners;
  };
  EXPECT_TRUE(greet_with(RM_WIRE_FEATURE_EVENTS | RM_WIRE_FEATURE_OWNERS));
  EXPECT_FALSE(greet_with(RM_WIRE_FEATURE_EVENTS));
  EXPECT_FALSE(greet_with(RM_WIRE_FEATURE_OWNERS)) << "who reads no events";
}

}  // namespace
}  // namespace resmgr::daemon::test
