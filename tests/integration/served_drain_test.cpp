// SPDX-License-Identifier: Apache-2.0
//
// What a driver can do, and its daemon remembers, while an operator drains it.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "resmgr/abi/requests.hpp"
#include "resmgr/client/served_authority.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using resmgr::client::Link;
using resmgr::client::ServedAuthority;
using resmgr::wire::DrainStep;

/// As `resmgrctl drain` does.
ErrorCode drain(const Daemon& daemon, DrainStep step) {
  auto attached = ServedAuthority::attach({.socket_path = daemon.socket()});
  if (!attached) return attached.error().code();
  std::optional<ErrorCode> refused;
  const auto asked = attached->authority->link().call(
      [&](std::uint64_t id, std::span<std::byte> out) {
        return resmgr::wire::encode(resmgr::wire::DrainRequest{.step = step, .driver = "dma"}, id,
                                    out);
      },
      {},
      [&](const Link::Attempt& reply) -> Result<void> {
        refused = resmgr::wire::ResultReply::decode(reply.frame).value().error;
        return {};
      });
  return asked ? refused.value_or(ErrorCode{}) : asked.error().code();
}

TEST(ServedDrain, TheDriverUnregistersWhatIsItsOwn) {
  const Daemon daemon;
  auto manager = daemon.connect();
  ASSERT_NE(manager, nullptr);
  const DriverId self = manager->register_driver("dma").value();
  const Handle free = manager->register_resource("free", {}, {.driver = self}).value();
  const Handle held = manager->register_resource("held", {}, {.driver = self}).value();
  Child holder([&](Child::Talk& talk) {
    auto theirs = daemon.connect();
    auto hold = theirs->try_acquire(held);
    talk.say(hold ? 'h' : 'x');
    return talk.hear() == 'g' ? 0 : 1;
  });
  ASSERT_EQ(holder.hear(), 'h');
  ASSERT_EQ(drain(daemon, DrainStep::Begin), ErrorCode{});
  EXPECT_EQ(manager->try_acquire(free).error(), ErrorCode::Quarantined);
  EXPECT_TRUE(manager->unregister_resource(free));
  EXPECT_FALSE(manager->find("free"));
  EXPECT_EQ(manager->unregister_resource(held).error(), ErrorCode::InUse);
  EXPECT_TRUE(manager->find("held")) << "and is as it was";
  holder.say('g');
  EXPECT_EQ(holder.wait(), 0);
  EXPECT_TRUE(eventually([&] { return manager->unregister_resource(held).has_value(); }));
  EXPECT_FALSE(manager->find("held"));
}

TEST(ServedDrain, IsRememberedOfADriverThatOwnsNothing) {
  const Daemon daemon;
  auto manager = daemon.connect();
  const DriverId self = manager->register_driver("dma").value();
  ASSERT_EQ(drain(daemon, DrainStep::Begin), ErrorCode{});
  daemon.kill_worker();
  const Handle late = manager->register_resource("late", {}, {.driver = self}).value();
  EXPECT_EQ(manager->try_acquire(late).error(), ErrorCode::Quarantined);
  ASSERT_EQ(drain(daemon, DrainStep::Cancel), ErrorCode{});
  EXPECT_TRUE(manager->try_acquire(late));
  daemon.kill_worker();
  const Handle after = manager->register_resource("after", {}, {.driver = self}).value();
  EXPECT_TRUE(manager->try_acquire(after));
}

}  // namespace
}  // namespace hal::test
