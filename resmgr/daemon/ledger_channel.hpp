// SPDX-License-Identifier: Apache-2.0
//
// LedgerChannel: the ledger between a worker and its keeper.
//
// What it is: the worker's end, which writes entries down, and Estate, what the keeper has read of
// them and the next worker begins with. Both are the same program, one forked from the other, so
// entries have no versions. What it is not: a place where anybody else can write: it is a socket
// pair that no client gets.
//
// Lifetime: each end owns its socket. Thread-safety: one thread each.
//
//   auto [mine, workers] = PacketSocket::pair(PacketMode::Blocking).value();
//   if (fork() == 0) return work(LedgerChannel(std::move(workers)), std::move(estate));
//   while (auto read = estate.read(mine)) {}
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/clerk.hpp"
#include "resmgr/daemon/ledger.hpp"

namespace resmgr::daemon {

/// How often a worker says that it serves; after how long a silence its keeper replaces it.
inline constexpr std::uint64_t kHeartbeatNs = 5'000'000'000;
inline constexpr std::uint64_t kLongestSilenceNs = 4 * kHeartbeatNs;

class LedgerChannel final : public Ledger {
 public:
  explicit LedgerChannel(PacketSocket socket) noexcept : socket_(std::move(socket)) {}

  void file_kept(Handle handle, int file) override;
  void file_dropped(Handle handle) override;
  void client_came(const Client& client) override;
  void client_leaves(const Client& client) override;
  void client_went(const Client& client) override;
  /// The worker serves; to be said again every kHeartbeatNs.
  void ready();
  /// For the event loop: readable when the keeper is gone.
  [[nodiscard]] int fd() const noexcept { return socket_.fd(); }

 private:
  PacketSocket socket_;
};

/// What a worker leaves to the next.
struct Estate {
  struct Survivor {
    Client client;
    UniqueFd pidfd;
    bool leaving = false;  ///< its burial was begun
  };
  std::unordered_map<Handle, UniqueFd> files;
  std::map<std::uint32_t, Survivor> clients;  ///< by index
  /// When the worker that writes last said that it serves, CLOCK_MONOTONIC; 0: not yet.
  std::uint64_t heard_at = 0;

  /// Reads one entry; waits for it where the socket does. Errors: WouldBlock, Disconnected (the
  /// worker is gone and this was all), System.
  Result<void> read(PacketSocket& socket);
};

}  // namespace resmgr::daemon
