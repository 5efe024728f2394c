// SPDX-License-Identifier: Apache-2.0
//
// Clients in processes of their own: that work, that are killed, and that are stopped.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "drivers/dma/remote_channel.hpp"
#include "tests/drivers/dma/remote_support.hpp"

namespace drivers::dma {
namespace {

using namespace std::chrono_literals;
using hal::ErrorCode;

constexpr ServerOptions kOptions{.max_in_flight = 16};

hal::UniqueFd pidfd_of(const ClientProcess& client) {
  // glibc's own header has it without C linkage.
  return hal::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, client.pid(), 0)));
}

class RemoteProcessTest : public testing::Test {
 protected:
  /// A server for a new process, which has sent its memory. `by_pidfd`: the line is its pidfd.
  std::unique_ptr<ChannelServer> serve(const ClientProcess& client,
                                       const ServerOptions& options = kOptions,
                                       bool by_pidfd = false) {
    Link link = make_link(*manager_, "client/" + std::to_string(made_++), 32);
    send_fds(client.socket(),
             {link.client_requests.get(), link.client_replies.get(), link.client_line.get()});
    if (by_pidfd) line_ = std::exchange(link.line, pidfd_of(client));
    auto server = serve_link(*channel_, link, options);
    auto memory = receive_fds(client.socket(), 1);
    const auto id = server->attach(std::move(memory[0]), Access::ReadWrite).value();
    send_value(client.socket(), id.bits);
    return server;
  }
  void expect_service() {
    ClientProcess client("check");
    const auto server = serve(client);
    ServingThread serving(*server);
    EXPECT_EQ(client.wait(), 0);
    EXPECT_EQ(serving.join(), ErrorCode::Disconnected);
  }

  std::unique_ptr<hal::ResourceManager> manager_ = hal::ResourceManager::create().value();
  std::unique_ptr<Channel> channel_ = open_channel({.ring_entries = 64});
  hal::UniqueFd line_;  ///< the server's end, where it uses a pidfd instead
  std::atomic<int> made_{0};
};

TEST_F(RemoteProcessTest, AnotherProcessUsesTheChannel) {
  expect_service();
  EXPECT_EQ(client_mappings(), 0);
}

TEST_F(RemoteProcessTest, TwoProcessesShareTheChannel) {
  const std::jthread other([this] { expect_service(); });
  expect_service();
}

// Killed at random in full flight: whatever was under way, the next client finds a channel that
// works, and nothing of the last one's is left.
TEST_F(RemoteProcessTest, KilledClientsLeaveNothing) {
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < 20; ++round) {
    ClientProcess client("flood");
    auto server = serve(client, kOptions, round % 2 == 0);
    ServingThread serving(*server);
    ASSERT_TRUE(receive_value(client.socket()));
    for (std::uint64_t turns = random() % 2'000; turns > 0; --turns) std::this_thread::yield();
    client.signal(SIGKILL);
    EXPECT_EQ(client.wait(), -1);
    EXPECT_EQ(serving.join(), ErrorCode::Disconnected);
    EXPECT_EQ(client_mappings(), 1);
    server.reset();
    EXPECT_EQ(client_mappings(), 0);
    EXPECT_TRUE(channel_->drain(soon()));
  }
  expect_service();
}

// A client that is stopped is alive: it is waited for, and delays nobody meanwhile.
TEST_F(RemoteProcessTest, AStoppedClientDelaysNobody) {
  ClientProcess client("flood");
  const auto server = serve(client, {.max_in_flight = 16, .reply_patience = 1ms});
  ServingThread serving(*server);
  ASSERT_TRUE(receive_value(client.socket()));
  client.signal(SIGSTOP);
  // All that it had in flight ends: the replies fit into the ring.
  EXPECT_TRUE(channel_->drain(soon()));
  expect_service();
  client.signal(SIGCONT);
  client.signal(SIGKILL);
  client.wait();
  EXPECT_EQ(serving.join(), ErrorCode::Disconnected);
}

TEST_F(RemoteProcessTest, AServerThatGoesIsNoticed) {
  ClientProcess client("outlive");
  auto server = serve(client);
  std::optional<ServingThread> serving(*server);
  ASSERT_TRUE(receive_value(client.socket()));
  EXPECT_FALSE(serving->stop());
  server.reset();
  EXPECT_EQ(client.wait(), 0);
}

}  // namespace
}  // namespace drivers::dma
