// SPDX-License-Identifier: Apache-2.0
//
// A domain that ended: its daemon died, and nobody had kept it. What its clients may still do there
// is nothing, from the moment that they know.
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "resmgr/abi/frame.hpp"
#include "resmgr/abi/replies.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using resmgr::PacketListener;
using resmgr::PacketMode;
namespace wire = resmgr::wire;

class ServedEndTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto connected = ResourceManager::connect(
        {.socket = daemon.socket(), .on_connection = [this](ConnectionState state) {
           if (state == ConnectionState::Ended) ended = true;
         }});
    ASSERT_TRUE(connected);
    client = std::move(*connected);
    one = client->register_resource("one", {}).value();
    two = client->register_resource("two", {.flags = ResourceFlags::Shareable}).value();
    three = client->register_resource("three", {.flags = ResourceFlags::Shareable}).value();
  }

  [[nodiscard]] bool ends() {
    return eventually([this] { return ended.load(); });
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> client;
  std::atomic<bool> ended{false};
  Handle one;
  Handle two;
  Handle three;
};

template <typename T>
ErrorCode code_of(const Result<T>& result) {
  return result ? ErrorCode{} : result.error().code();
}

TEST_F(ServedEndTest, NothingIsAcquiredInIt) {
  // Of each kind of acquisition the context and the cells are there already.
  EXPECT_TRUE(client->try_acquire(one));
  EXPECT_TRUE(client->try_acquire_shared(two));
  auto context = client->create_context();
  ASSERT_TRUE(context);
  const WeakResource weak = client->weak(one);
  daemon.start_anew();
  ASSERT_TRUE(ends());
  EXPECT_EQ(client->try_acquire(one).error(), ErrorCode::Disconnected);
  EXPECT_EQ(client->acquire_scoped_resource(one).error(), ErrorCode::Disconnected);
  EXPECT_EQ(client->try_acquire_shared(two).error(), ErrorCode::Disconnected);
  EXPECT_EQ(client->acquire_scoped_resource(one, {.context = &*context}).error(),
            ErrorCode::Disconnected);
  EXPECT_EQ(client->acquire_all(std::array{one, two}).error(), ErrorCode::Disconnected);
  EXPECT_EQ(weak.lock().error(), ErrorCode::Disconnected);
  EXPECT_TRUE(weak.expired());
  ErrorCode elsewhere{};
  std::thread([&] { elsewhere = code_of(client->try_acquire(one)); }).join();
  EXPECT_EQ(elsewhere, ErrorCode::Disconnected);
  EXPECT_EQ(client->find("one").error(), ErrorCode::Disconnected);
  EXPECT_EQ(client->create_context().error(), ErrorCode::Disconnected);
}

TEST_F(ServedEndTest, HoldsEndWithIt) {
  auto exclusive = client->try_acquire(one);
  auto shared = client->try_acquire_shared(two);
  auto kept = client->try_acquire_shared(three);
  ASSERT_TRUE(exclusive && shared && kept);
  daemon.start_anew();
  ASSERT_TRUE(ends());
  EXPECT_EQ(code_of(kept->try_upgrade()), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(client->release_resource(three)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(exclusive->release()), ErrorCode::Disconnected);
  EXPECT_FALSE(*exclusive);
  *shared = {};
  // A ref may outlive the manager, as any other.
  client->close();
  client.reset();
  *kept = {};
  auto anew = daemon.connect();
  ASSERT_NE(anew, nullptr);
  const Handle again = anew->register_resource("one", {}).value();
  EXPECT_TRUE(anew->try_acquire(again));
  // The same slot, but what it was in the old domain it is not.
  EXPECT_EQ(again.slot(), one.slot());
  EXPECT_FALSE(anew->is_valid(one));
  EXPECT_EQ(anew->try_acquire(one).error(), ErrorCode::StaleHandle);
  EXPECT_EQ(anew->map(one).error(), ErrorCode::StaleHandle);
}

// Pairs that need no daemon, which nobody tells anything.
TEST_F(ServedEndTest, WhoGoesOnAndOnIsStopped) {
  std::atomic<bool> begun{false};
  std::atomic<bool> late{false};
  ErrorCode exclusive{};
  ErrorCode shared{};
  const auto go_on = [&](ErrorCode& last, auto&& acquire) {
    return std::thread([&, acquire] {
      for (;;) {
        const bool known = ended;
        const auto hold = acquire();
        if (hold && known) late = true;
        if (!hold) {
          last = hold.error().code();
          return;
        }
        begun = true;
      }
    });
  };
  std::thread first = go_on(exclusive, [this] { return client->try_acquire(one); });
  std::thread second = go_on(shared, [this] { return client->try_acquire_shared(two); });
  EXPECT_TRUE(eventually([&] { return begun.load(); }));
  daemon.start_anew();
  first.join();
  second.join();
  EXPECT_FALSE(late);
  EXPECT_EQ(exclusive, ErrorCode::Disconnected);
  EXPECT_EQ(shared, ErrorCode::Disconnected);
}

TEST_F(ServedEndTest, WhoWaitsIsToldSo) {
  auto held = client->try_acquire(one);
  auto read = client->try_acquire_shared(two);
  ASSERT_TRUE(held && read);
  std::array<ErrorCode, 3> codes{};
  std::vector<std::thread> waiters;
  waiters.emplace_back([&] { codes[0] = code_of(client->acquire_scoped_resource(one)); });
  waiters.emplace_back([&] { codes[1] = code_of(client->acquire_scoped_resource(two)); });
  waiters.emplace_back([&] {
    auto mine = client->try_acquire_shared(three);
    auto other = client->create_context();
    const auto theirs =
        client->acquire_scoped_resource(three, {.kind = HoldKind::Shared, .context = &*other});
    codes[2] = code_of(mine->upgrade({.mode = AcquisitionMode::Blocking}));
  });
  const std::array waited{one, two, three};
  ASSERT_TRUE(eventually([&] {
    for (const Handle each : waited) {
      if (client->get_resource_stats(each).value().waiting != 1) return false;
    }
    return true;
  }));
  daemon.start_anew();
  for (std::thread& each : waiters) each.join();
  for (const ErrorCode code : codes) EXPECT_EQ(code, ErrorCode::Disconnected);
}

// Nobody serves the old domain where a daemon of another version answers.
TEST_F(ServedEndTest, ARefusalForGoodEndsItToo) {
  EXPECT_EQ(daemon.stop(), 0);
  auto listener = PacketListener::listen(daemon.socket(), 0600, PacketMode::Blocking);
  ASSERT_TRUE(listener);
  const auto refuse = [&](ErrorCode code) {
    auto socket = listener->accept(PacketMode::Blocking);
    ASSERT_TRUE(socket);
    std::vector<std::byte> frame(RM_WIRE_MAX_FRAME);
    const auto hello = socket->receive(frame);
    ASSERT_TRUE(hello);
    const auto id = wire::request_id_of(std::span(frame).first(hello->bytes));
    const auto size = wire::encode(wire::refusal(resmgr::Error(code)), id, frame);
    ASSERT_TRUE(size);
    EXPECT_TRUE(socket->send(std::span(frame).first(*size)));
  };
  // This may be otherwise the next time.
  refuse(ErrorCode::CapacityExceeded);
  refuse(ErrorCode::NotPermitted);
  EXPECT_FALSE(ended);
  EXPECT_TRUE(client->try_acquire(one));
  refuse(ErrorCode::VersionMismatch);
  EXPECT_TRUE(ends());
  EXPECT_EQ(client->try_acquire(one).error(), ErrorCode::Disconnected);
}

}  // namespace
}  // namespace hal::test
