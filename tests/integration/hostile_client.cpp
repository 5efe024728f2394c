// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/hostile_client.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "resmgr/abi/layout.h"
#include "resmgr/abi/registration.hpp"
#include "resmgr/abi/replies.hpp"
#include "resmgr/abi/requests.hpp"
#include "resmgr/base/atomic.hpp"
#include "resmgr/base/spin.hpp"

namespace hal::test {
namespace {

namespace wire = resmgr::wire;
using resmgr::load_relaxed;
using resmgr::store_relaxed;

// What a peer would write who knows the layout: links, states and ids are small numbers.
std::uint64_t tempting(std::mt19937_64& random) {
  switch (random() % 5) {
    case 0:
      return 0;
    case 1:
      return random() % 64;
    case 2:
      return (random() % 64) << 32 | random() % 64;
    case 3:
      return std::uint64_t{1} << random() % 64;
    default:
      return random();
  }
}

template <typename Request>
std::vector<std::byte> encoded(const Request& request) {
  std::vector<std::byte> bytes(RM_WIRE_MAX_FRAME);
  bytes.resize(wire::encode(request, 1, bytes).value());
  return bytes;
}

std::vector<std::byte> good_frame(std::mt19937_64& random) {
  const resmgr::Handle handle(static_cast<std::uint32_t>(random() % 8),
                              static_cast<std::uint32_t>(1 + random() % 3));
  switch (random() % 9) {
    case 0:
      return encoded(wire::Hello{});
    case 1:
      return encoded(
          wire::UnregisterRequest{.step = wire::UnregisterStep::Begin, .handle = handle});
    case 2:
      return encoded(
          wire::UnregisterRequest{.step = wire::UnregisterStep::Finish, .handle = handle});
    case 3:
      return encoded(
          wire::ShareRequest{.handle = handle, .driver = "mine", .rights = resmgr::Rights::All});
    case 4:
      return encoded(wire::DependencyRequest{.from = handle, .to = handle});
    case 5:
      return encoded(wire::OpenFdRequest{.handle = handle, .rights = resmgr::Rights::Write});
    case 6:
      return encoded(wire::SetStateRequest{.handle = handle});
    case 7: {
      std::vector<std::byte> bytes(RM_WIRE_MAX_FRAME);
      wire::RegisterWriter writer(1, bytes);
      (void)writer.add({.name = "mine/" + std::to_string(random() % 16)});
      bytes.resize(writer.finish().value());
      return bytes;
    }
    default:
      return encoded(wire::SignalRequest{});
  }
}

}  // namespace

std::optional<HostileClient> HostileClient::attach(const std::string& path) {
  HostileClient client;
  auto socket = resmgr::PacketSocket::connect(path, resmgr::PacketMode::Blocking);
  if (!socket) return std::nullopt;
  client.socket_ = std::move(*socket);
  std::vector<std::byte> buffer(RM_WIRE_MAX_FRAME);
  const auto hello = wire::encode(wire::Hello{.driver = "hostile"}, 1, buffer).value();
  if (!client.socket_.send(std::span(buffer).first(hello))) return std::nullopt;
  auto packet = client.socket_.receive(buffer);
  if (!packet || packet->fd_count != RM_WIRE_REGION_FDS) return std::nullopt;
  const auto frame = wire::read_frame(std::span(buffer).first(packet->bytes));
  const auto welcome = wire::Welcome::decode(*frame);
  if (!welcome) return std::nullopt;
  client.registry_ = std::move(packet->fds[0]);
  client.locks_ = std::move(packet->fds[1]);
  client.registry_bytes_ = welcome->regions.registry_bytes;
  auto mapping = resmgr::Mapping::map_file(client.locks_.get(), welcome->regions.lock_bytes,
                                           resmgr::Mapping::Access::ReadWrite);
  if (!mapping) return std::nullopt;
  client.region_.emplace(std::move(*mapping));
  rm_region_header header{};
  std::ranges::copy(client.region_->bytes().first(sizeof(header)),
                    std::as_writable_bytes(std::span(&header, 1)).begin());
  for (const std::uint64_t offset : header.offset) client.tables_.push_back(offset);
  return client;
}

void HostileClient::scribble(std::mt19937_64& random) const {
  const std::span<std::byte> all = region_->bytes();
  const auto word = [&](std::size_t at) -> std::uint64_t& {
    return *reinterpret_cast<std::uint64_t*>(all.data() + at);
  };
  const std::size_t table = tables_[random() % tables_.size()];
  if (random() % 256 != 0) {
    const std::size_t at = table + 8 * (random() % 256);
    if (at + 8 > all.size()) return;
    const std::uint64_t before = load_relaxed(word(at));
    store_relaxed(word(at), tempting(random));
    for (std::uint64_t i = random() % 4096; i > 0; --i) resmgr::cpu_relax();
    if (random() % 64 != 0) store_relaxed(word(at), before);
    return;
  }
  const bool everywhere = random() % 16 == 0;
  const std::size_t begin = (everywhere ? random() % all.size() : table) & ~std::size_t{7};
  const std::size_t end =
      begin + (everywhere ? std::size_t{1} << 20 : std::size_t{8} << random() % 12);
  for (std::size_t at = begin; at + 8 <= std::min(end, all.size()); at += 8) {
    store_relaxed(word(at), tempting(random));
  }
}

std::vector<std::byte> any_frame(std::mt19937_64& random) {
  std::vector<std::byte> bytes = good_frame(random);
  const auto any_byte = [&] { return static_cast<std::byte>(random()); };
  switch (random() % 5) {
    case 0:
      break;
    case 1:  // cut off
      bytes.resize(1 + random() % bytes.size());
      break;
    case 2:  // too long, up to more than a frame may be
      bytes.resize(bytes.size() + 1 + random() % RM_WIRE_MAX_FRAME, any_byte());
      break;
    case 3:  // another version, type, length or id
      for (int i = 0; i < 4; ++i)
        bytes[random() % std::min<std::size_t>(bytes.size(), 24)] = any_byte();
      break;
    default:
      std::ranges::generate(bytes, any_byte);
  }
  return bytes;
}

}  // namespace hal::test
