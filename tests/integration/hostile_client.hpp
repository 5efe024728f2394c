// SPDX-License-Identifier: Apache-2.0
//
// HostileClient: a client of resmgrd that keeps to no rule.
//
// What it is: a connection without the library, with what the daemon hands to every client: two
// descriptors and a place. What it is not: clever about one version of the layout; it knows bytes.
// Lifetime: owns its connection and mappings. Thread-safety: one thread.
//
//   if (!become_nobody()) return 1;
//   auto client = HostileClient::attach(socket_path);
//   client->scribble(random);
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "resmgr/abi/client_place.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace hal::test {

class HostileClient {
 public:
  /// Says hello as any client does.
  [[nodiscard]] static std::optional<HostileClient> attach(const std::string& socket);

  [[nodiscard]] int registry() const noexcept { return registry_.get(); }
  [[nodiscard]] int locks() const noexcept { return locks_.get(); }
  [[nodiscard]] std::size_t registry_bytes() const noexcept { return registry_bytes_; }
  [[nodiscard]] resmgr::PacketSocket& socket() noexcept { return socket_; }

  /// Writes what looks like something, or like nothing, over a part of the lock region: mostly at
  /// its tables' beginnings, which are in use, and mostly only for a moment, so that others go on
  /// into what comes after.
  void scribble(std::mt19937_64& random) const;

 private:
  HostileClient() = default;

  resmgr::PacketSocket socket_;
  resmgr::UniqueFd registry_;
  resmgr::UniqueFd locks_;
  std::size_t registry_bytes_ = 0;
  std::optional<resmgr::Mapping> region_;
  std::vector<std::size_t> tables_;  ///< where they begin
};

/// A frame that any daemon would take, or one that something is wrong with.
[[nodiscard]] std::vector<std::byte> any_frame(std::mt19937_64& random);

}  // namespace hal::test
