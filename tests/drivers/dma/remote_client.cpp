// SPDX-License-Identifier: Apache-2.0
//
// The program of the tests of remote channels, and, as --client=ROLE, the client in their other
// processes: its standard input is a socket, over which it gets the ends of a link, sends memory,
// and gets the memory's id.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <utility>

#include "drivers/dma/crc32c.hpp"
#include "drivers/dma/remote_channel.hpp"
#include "tests/drivers/dma/remote_support.hpp"

namespace drivers::dma {
namespace {

constexpr std::size_t kHalf = 1 << 20;

class Client {
 public:
  Client() {
    auto fds = receive_fds(STDIN_FILENO, 3);
    auto requests = RemoteRequests::attach(std::move(fds[0])).value();
    auto replies = RemoteReplies::attach(std::move(fds[1])).value();
    send_fds(STDIN_FILENO, {file_.fd().get()});
    memory_ = BufferId{receive_value(STDIN_FILENO).value()};
    channel_ =
        RemoteChannel::connect(std::move(requests), std::move(replies), std::move(fds[2]), soon())
            .value();
  }

  /// Every operation, with every byte looked at.
  bool check() {
    std::mt19937_64 random(test_seed());
    for (int round = 0; round < 20; ++round) {
      const Bytes data = random_bytes(kHalf, random);
      std::ranges::copy(data, file_.bytes().begin());
      const std::uint64_t cut = 1 + random() % (kHalf - 1);
      const std::array parts = {Segment{memory_, 0, cut}, Segment{memory_, cut, kHalf - cut}};
      const std::array half = {Segment{memory_, kHalf, kHalf}};
      const std::array batch = {Descriptor::copy(parts, half), Descriptor::crc32c(half),
                                Descriptor::fill({memory_, 0, kHalf}, 0x0101010101010101u * 7)};
      const auto ticket = channel_->run(batch, soon());
      if (!ticket || ticket->outcome(1)->crc32c != crc32c(0, data)) return false;
      if (!std::ranges::equal(data, file_.bytes().last(kHalf))) return false;
      const auto is_seven = [](std::byte byte) { return byte == std::byte{7}; };
      if (!std::ranges::all_of(file_.bytes().first(kHalf), is_seven)) return false;
    }
    return true;
  }
  /// Keeps the ring full, never waits for anything, and never ends; says when it is under way.
  void flood() {
    const Descriptor copy = Descriptor::copy({memory_, 0, kHalf}, {memory_, kHalf, kHalf});
    for (std::uint64_t submitted = 0;; ++submitted) {
      while (!channel_->submit({&copy, 1})) {
      }
      if (submitted == 4) send_value(STDIN_FILENO, submitted);
    }
  }
  /// Works until the server is gone.
  bool outlive() {
    const Descriptor fill = Descriptor::fill({memory_, 0, 64}, 1);
    send_value(STDIN_FILENO, 1);
    for (;;) {
      const auto ran = channel_->run({&fill, 1}, soon());
      // The server's last deed is to cancel what it has.
      if (ran || ran.error() == hal::ErrorCode::Cancelled) continue;
      return ran.error() == hal::ErrorCode::Disconnected;
    }
  }

 private:
  MemoryFile file_{2 * kHalf};
  BufferId memory_;
  std::unique_ptr<Channel> channel_;
};

bool act(std::string_view role) {
  Client client;
  if (role == "check") return client.check();
  if (role == "flood") client.flood();
  return role == "outlive" && client.outlive();
}

}  // namespace
}  // namespace drivers::dma

int main(int count, char** arguments) {
  constexpr std::string_view kOption = "--client=";
  if (count == 2 && std::string_view(arguments[1]).starts_with(kOption)) {
    return drivers::dma::act(std::string_view(arguments[1]).substr(kOption.size())) ? 0 : 1;
  }
  testing::InitGoogleTest(&count, arguments);
  return RUN_ALL_TESTS();
}
