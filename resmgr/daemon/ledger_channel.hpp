// SPDX-License-Identifier: Apache-2.0
//
// LedgerChannel: the ledger between a worker and its keeper.
//
// What it is: the worker's hand, which writes clients into the ledger's file (ledger_file.hpp) and
// sends files to the keeper, and Estate, what the keeper got of them and the next worker begins
// with. Both are the same program, one forked from the other, so entries have no versions. What it
// is not: a place where anybody else can write: it is a socket pair that no client gets.
//
// Lifetime: each end owns its socket, and the hand its mapping of the file. Thread-safety: one
// thread each.
//
//   auto [mine, workers] = PacketSocket::pair(PacketMode::Blocking).value();
//   if (fork() == 0) return work(LedgerChannel(std::move(workers), std::move(file), false));
//   while (auto read = estate.read(mine)) {}
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/ledger.hpp"
#include "resmgr/daemon/ledger_file.hpp"

namespace resmgr::daemon {

/// How often a worker says that it serves; after how long a silence its keeper replaces it.
inline constexpr std::uint64_t kHeartbeatNs = 5'000'000'000;
inline constexpr std::uint64_t kLongestSilenceNs = 4 * kHeartbeatNs;

class LedgerChannel final : public Ledger {
 public:
  /// `receipts`: the keeper hands files on to somebody, and says when it has done so; no client is
  /// told before that its file is kept.
  LedgerChannel(PacketSocket socket, LedgerFile file, bool receipts) noexcept
      : socket_(std::move(socket)), file_(std::move(file)), receipts_(receipts) {}

  void file_kept(Handle handle, int file) override;
  void file_dropped(Handle handle) override;
  void client_came(const Client& client) override;
  void client_leaves(const Client& client) override;
  void client_went(const Client& client) override;
  void drained(std::uint32_t driver, bool is_so) override;
  /// The worker has all that it needs, and has touched nothing: waits until its keeper lets it
  /// begin. False: the keeper doesn't want it, or is gone. SIGTERM ends the process meanwhile.
  [[nodiscard]] bool may_begin();
  /// LedgerFile::begins().
  [[nodiscard]] Result<void> begins(std::uint64_t epoch) noexcept { return file_.begins(epoch); }
  /// The worker serves; to be said again every kHeartbeatNs.
  void ready();
  /// For the event loop: readable when the keeper is gone.
  [[nodiscard]] int fd() const noexcept { return socket_.fd(); }
  [[nodiscard]] const LedgerFile& file() const noexcept { return file_; }
  /// Somebody has the domain who outlives the keeper.
  [[nodiscard]] bool is_kept() const noexcept { return receipts_; }

 private:
  PacketSocket socket_;
  LedgerFile file_;
  bool receipts_;
};

/// What a worker leaves to the next, besides the regions and the ledger's file.
struct Estate {
  std::unordered_map<Handle, UniqueFd> files;
  /// When the worker that writes last said that it serves, CLOCK_MONOTONIC; 0: not yet.
  std::uint64_t heard_at = 0;
  bool waits_to_begin = false;  ///< that worker does: let_begin()
  /// Told of each file that is kept, borrowed, and, with -1, of each that is dropped. The worker
  /// waits for it: see LedgerChannel.
  std::function<void(Handle, int file)> on_file = {};

  /// Reads one entry; waits for it where the socket does. Errors: WouldBlock, Disconnected (the
  /// worker is gone and this was all), System.
  Result<void> read(PacketSocket& socket);
  void let_begin(PacketSocket& socket);
};

}  // namespace resmgr::daemon
