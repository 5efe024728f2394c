// SPDX-License-Identifier: Apache-2.0
//
// A connection to a daemon that says why it ends it, in the middle of a request.
#include "resmgr/client/link.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "resmgr/abi/events.hpp"
#include "resmgr/abi/replies.hpp"
#include "resmgr/abi/requests.hpp"

namespace resmgr::client {
namespace {

/// Welcomes one client, and ends the connection when it asks for something.
void serve(PacketListener& listener) {
  std::vector<std::byte> in(RM_WIRE_MAX_FRAME);
  std::vector<std::byte> out(RM_WIRE_MAX_FRAME);
  auto socket = listener.accept(PacketMode::Blocking).value();
  const auto hello = socket.receive(in).value();
  const auto asked = wire::read_frame(std::span(in).first(hello.bytes)).value();
  const UniqueFd region(::memfd_create("region", MFD_CLOEXEC));
  const std::array fds{region.get(), region.get()};
  const wire::Welcome welcome{
      .regions = {.client = {.domain_id = 1, .epoch = 1, .sequence = 1, .client = 1},
                  .registry_bytes = 1 << 20,
                  .lock_bytes = 1 << 20},
      .version = "test"};
  const auto bytes = wire::encode(welcome, asked.request_id, out).value();
  ASSERT_TRUE(socket.send(std::span(out).first(bytes), fds));
  ASSERT_TRUE(socket.receive(in));
  const auto last = wire::encode(wire::ClosingEvent{wire::ClosingReason::Shutdown}, out).value();
  ASSERT_TRUE(socket.send(std::span(out).first(last)));
}

TEST(Link, ARequestEndsWithTheConnectionThatIsClosedUnderIt) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP()
      << "g++ 12's ThreadSanitizer does not see a mutex taken by pthread_mutex_clocklock()";
#endif
  std::string folder = std::filesystem::temp_directory_path() / "resmgr-link-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/test.sock";
  auto listener = PacketListener::listen(path, 0600, PacketMode::Blocking).value();
  std::thread daemon([&] {
    serve(listener);
    listener = {};
  });
  std::mutex mutex;
  std::optional<wire::ClosingReason> reason;
  auto link = Link::connect(
      {.socket_path = path, .patience_ns = 200'000'000, .on_state = [&](const LinkChange& change) {
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
  daemon.join();
  for (bool told = false; !told; std::this_thread::yield()) {
    const std::lock_guard lock(mutex);
    told = reason.has_value();
  }
  EXPECT_EQ(reason, wire::ClosingReason::Shutdown);
  (*link)->close();
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace resmgr::client
