// SPDX-License-Identifier: Apache-2.0
//
// Clients that send noise, and clients that write noise over the rings: the server answers or gives
// them up, and nobody else notices. Seeded; RESMGR_SEED repeats a run.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <utility>

#include "drivers/dma/remote_server.hpp"
#include "tests/drivers/dma/remote_support.hpp"

namespace drivers::dma {
namespace {

using hal::ErrorCode;
using wire::Request;

constexpr std::size_t kSize = 512;

/// A second mapping of a ring's memory, all of it.
class Rings {
 public:
  explicit Rings(const hal::UniqueFd& fd) {
    struct stat status{};
    EXPECT_EQ(::fstat(fd.get(), &status), 0);
    size_ = static_cast<std::size_t>(status.st_size);
    address_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    EXPECT_NE(address_, MAP_FAILED);
  }
  Rings(const Rings&) = delete;
  Rings& operator=(const Rings&) = delete;
  ~Rings() { ::munmap(address_, size_); }
  [[nodiscard]] std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(address_), size_};
  }

 private:
  std::size_t size_ = 0;
  void* address_ = nullptr;
};

class RemoteNoiseTest : public testing::Test {
 protected:
  /// Memory of the server's own process, on the same channel, was not touched, and the channel
  /// works.
  void expect_unharmed() {
    EXPECT_TRUE(std::ranges::all_of(ours_, [](std::byte b) { return b == std::byte{0x5a}; }));
    const Descriptor sum = Descriptor::crc32c({secret_, 0, kSize});
    const auto ticket = channel_->run({&sum, 1}, soon());
    ASSERT_TRUE(ticket) << ticket.error().message();
  }
  template <typename T>
  T pick(const std::vector<T>& choices) {
    return choices[random_() % choices.size()];
  }
  /// Near enough to sense to get past the first check, and mostly not past the last.
  Request noise(BufferId theirs) {
    Request request;
    const Bytes bytes = random_bytes(sizeof(request), random_);
    std::memcpy(&request, bytes.data(), sizeof(request));
    if (random_() % 16 == 0) return request;
    if (random_() % 8 == 0) {
      const Descriptor good = Descriptor::fill({theirs, 0, 8}, random_());
      return wire::encode_batch(random_(), {&good, 1}).value();
    }
    request.tag %= 8;
    request.kind %= 5;
    request.descriptors %= 4;
    for (wire::WireDescriptor& descriptor : request.descriptor) {
      descriptor.operation %= 4;
      descriptor.sources %= 3;
      descriptor.destinations %= 3;
      descriptor.parameter = random_() % 2;
      if (random_() % 8 != 0) descriptor.zero.fill(0);
    }
    for (wire::WireSegment& segment : request.segment) {
      segment.buffer = pick<std::uint64_t>(
          {theirs.bits, theirs.bits, theirs.bits, secret_.bits, theirs.bits + 1, segment.buffer});
      segment.offset = pick<std::uint64_t>({random_() % kSize, random_() % kSize, segment.offset});
      segment.length = pick<std::uint64_t>({4, 4, random_() % kSize, segment.length});
    }
    return request;
  }

  std::mt19937_64 random_{test_seed()};
  std::unique_ptr<hal::ResourceManager> manager_ = hal::ResourceManager::create().value();
  Bytes ours_ = Bytes(kSize, std::byte{0x5a});
  std::unique_ptr<Channel> channel_ = open_channel({.ring_entries = 64});
  BufferId secret_ = channel_->attach_buffer(ours_).value();
};

TEST_F(RemoteNoiseTest, RequestsOfNoiseAreAnswered) {
  const MemoryFile file(kSize);
  Link link = make_link(*manager_, "noise", 64);
  const auto server = serve_link(*channel_, link, {.max_in_flight = 16});
  auto requests = RemoteRequests::attach(std::move(link.client_requests)).value();
  auto replies = RemoteReplies::attach(std::move(link.client_replies)).value();
  const BufferId theirs = server->attach(file.fd(), Access::ReadWrite).value();
  std::uint64_t done = 0;
  std::uint64_t refused = 0;
  for (int round = 0; round < 2'000; ++round) {
    const std::uint64_t burst = 1 + random_() % 8;
    for (std::uint64_t i = 0; i < burst; ++i) ASSERT_TRUE(requests.try_push(noise(theirs)));
    ASSERT_EQ(server->serve_some().value_or(0), burst);
    // Each is answered once, whatever it was.
    for (std::uint64_t i = 0; i < burst; ++i) {
      const auto reply = replies.pop(soon());
      ASSERT_TRUE(reply);
      if (reply->error != 0) {
        ++refused;
      } else if (static_cast<wire::ReplyKind>(reply->kind) == wire::ReplyKind::Done) {
        ++done;
      }
    }
    ASSERT_EQ(replies.try_pop().error(), ErrorCode::WouldBlock);
  }
  EXPECT_GT(done, 0u);
  EXPECT_GT(refused, done);
  EXPECT_TRUE(server->close(soon()));
  expect_unharmed();
}

TEST_F(RemoteNoiseTest, NoiseOverTheRingsEndsThatClientAtWorst) {
  const MemoryFile file(kSize);
  int given_up = 0;
  for (int round = 0; round < 200; ++round) {
    const std::string name = "noise/" + std::to_string(round);
    Link link = make_link(*manager_, name, 32);
    const Rings requests_memory(link.client_requests);
    const Rings replies_memory(link.client_replies);
    auto requests = RemoteRequests::attach(std::move(link.client_requests)).value();
    const auto server = serve_link(
        *channel_, link, {.max_in_flight = 16, .reply_patience = std::chrono::milliseconds(1)});
    const BufferId theirs = server->attach(file.fd(), Access::ReadWrite).value();
    for (int i = 0; i < 8; ++i) static_cast<void>(requests.try_push(noise(theirs)));
    const std::array both = {requests_memory.bytes(), replies_memory.bytes()};
    bool serving = true;
    for (int turn = 0; serving && turn < 20; ++turn) {
      for (int i = 0; i < 32; ++i) {
        const std::span<std::byte> ring = both[random_() % 2];
        // The indices are at the start; most of the rest is messages.
        const std::size_t reach =
            random_() % 2 == 0 ? std::min<std::size_t>(1024, ring.size()) : ring.size();
        ring[random_() % reach] = static_cast<std::byte>(random_());
      }
      const auto served = server->serve_some();
      serving = served.has_value();
    }
    given_up += serving ? 0 : 1;
    EXPECT_TRUE(server->close(soon()));
  }
  EXPECT_GT(given_up, 0);
  expect_unharmed();
}

}  // namespace
}  // namespace drivers::dma
