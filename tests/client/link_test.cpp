// SPDX-License-Identifier: Apache-2.0
//
// A connection to a daemon that ends it, in the middle of a request, or does not let it be made
// anew.
#include "resmgr/client/link.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "resmgr/abi/events.hpp"
#include "resmgr/abi/replies.hpp"
#include "resmgr/abi/requests.hpp"
#include "resmgr/base/clock.hpp"
#include "tests/base/sanitizers.hpp"

namespace resmgr::client {
namespace {

/// A daemon of one connection at a time, which does as the test says.
class FakeDaemon {
 public:
  FakeDaemon() {
    folder_ = std::filesystem::temp_directory_path() / "resmgr-link-XXXXXX";
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
    listener_ = PacketListener::listen(path(), 0600, PacketMode::Blocking).value();
  }
  ~FakeDaemon() { std::filesystem::remove_all(folder_); }
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;

  [[nodiscard]] std::string path() const { return folder_ + "/test.sock"; }

  /// Accepts a client, and returns what it is greeted with: the number of its request.
  std::uint64_t accept() {
    socket_ = listener_.accept(PacketMode::Blocking).value();
    const auto hello = socket_.receive(in_).value();
    return wire::read_frame(std::span(in_).first(hello.bytes)).value().request_id;
  }
  void welcome() {
    const UniqueFd region(::memfd_create("region", MFD_CLOEXEC));
    const std::array fds{region.get(), region.get()};
    const wire::Welcome welcome{
        .regions = {.client = {.domain_id = 1, .epoch = 1, .sequence = 1, .client = 1},
                    .registry_bytes = 1 << 20,
                    .lock_bytes = 1 << 20},
        .version = "test"};
    const auto bytes = wire::encode(welcome, accept(), out_).value();
    EXPECT_TRUE(socket_.send(std::span(out_).first(bytes), fds));
  }
  void welcome_again() {
    welcome();
    // Who took it says so.
    const auto ping = socket_.receive(in_).value();
    const auto id = wire::request_id_of(std::span(in_).first(ping.bytes));
    EXPECT_TRUE(
        socket_.send(std::span(out_).first(wire::encode(wire::ResultReply{}, id, out_).value())));
  }
  void refuse(ErrorCode code) {
    const auto bytes = wire::encode(wire::refusal(Error(code)), accept(), out_).value();
    EXPECT_TRUE(socket_.send(std::span(out_).first(bytes)));
  }
  /// Says why, when it is asked for something, and hangs up.
  void close_under_a_request(wire::ClosingReason reason) {
    EXPECT_TRUE(socket_.receive(in_));
    const auto bytes = wire::encode(wire::ClosingEvent{reason}, out_).value();
    EXPECT_TRUE(socket_.send(std::span(out_).first(bytes)));
    hang_up();
  }
  void hang_up() { socket_ = {}; }
  void stop_listening() { listener_ = {}; }

 private:
  std::string folder_;
  PacketListener listener_;
  PacketSocket socket_;
  std::vector<std::byte> in_ = std::vector<std::byte>(RM_WIRE_MAX_FRAME);
  std::vector<std::byte> out_ = std::vector<std::byte>(RM_WIRE_MAX_FRAME);
};

TEST(Link, ARequestEndsWithTheConnectionThatIsClosedUnderIt) {
  if (resmgr::test::kThreadSanitizer) {
    GTEST_SKIP()
        << "g++ 12's ThreadSanitizer does not see a mutex taken by pthread_mutex_clocklock()";
  }
  FakeDaemon daemon;
  std::thread serving([&] {
    daemon.welcome();
    daemon.close_under_a_request(wire::ClosingReason::Shutdown);
    daemon.stop_listening();
  });
  std::mutex mutex;
  std::optional<wire::ClosingReason> reason;
  auto link = Link::connect({.socket_path = daemon.path(),
                             .patience_ns = 200'000'000,
                             .on_state = [&](const LinkChange& change) {
                               const std::lock_guard lock(mutex);
                               if (change.state == LinkState::Lost) reason = change.reason;
                             }});
  ASSERT_TRUE(link) << link.error().message();
  const auto asked = (*link)->call(
      [](std::uint64_t id, std::span<std::byte> out) {
        return wire::encode(wire::SignalRequest{.signal = wire::Signal::Ping}, id, out);
      },
      {}, [](const Link::Attempt&) -> Result<void> { return {}; });
  ASSERT_FALSE(asked);
  EXPECT_EQ(asked.error(), ErrorCode::Disconnected);
  serving.join();
  for (bool told = false; !told; std::this_thread::yield()) {
    const std::lock_guard lock(mutex);
    told = reason.has_value();
  }
  EXPECT_EQ(reason, wire::ClosingReason::Shutdown);
  (*link)->close();
}

// No matter who is slow: pauses last at least half of what is due.
TEST(Link, WhoIsRefusedAsksLessAndLessOftenAndSaysSoOnce) {
  constexpr int kRefusals = 8;
  FakeDaemon daemon;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::thread serving([&] {
    daemon.welcome();
    daemon.hang_up();
    for (int i = 0; i < kRefusals; ++i) {
      daemon.refuse(ErrorCode::CapacityExceeded);
      last = monotonic_ns();
      if (first == 0) first = last;
    }
    daemon.refuse(ErrorCode::NotPermitted);
    daemon.welcome_again();
  });
  std::mutex mutex;
  std::vector<std::string> lines;
  std::atomic<bool> restored = false;
  auto link = Link::connect({.socket_path = daemon.path(),
                             .log =
                                 [&](LogLevel, std::string_view line) {
                                   const std::lock_guard lock(mutex);
                                   lines.emplace_back(line);
                                 },
                             .on_state =
                                 [&](const LinkChange& change) {
                                   if (change.state == LinkState::Restored) restored = true;
                                 }});
  ASSERT_TRUE(link) << link.error().message();
  serving.join();
  while (!restored) std::this_thread::yield();
  (*link)->close();
  std::uint64_t shortest = 0;
  for (int i = 0; i + 1 < kRefusals; ++i) shortest += (1'000'000u << i) / 2;
  EXPECT_GE(last - first, shortest);
  using ::testing::HasSubstr;
  EXPECT_THAT(lines, ::testing::ElementsAre(HasSubstr("is lost"), HasSubstr("tries on"),
                                            HasSubstr("tries on"),
                                            HasSubstr("connected to resmgrd again")));
}

}  // namespace
}  // namespace resmgr::client
