// SPDX-License-Identifier: Apache-2.0
//
// LedgerFile: which processes are clients of a domain, and which drivers are being drained, in
// memory that outlives worker and keeper.
//
// What it is: a record for each place in the domain, and a bit for each driver, in a memfd that no
// client gets. The worker
// writes it as it goes, so that whoever is killed, and whenever, the next one finds what was said
// to clients. And the domain's turn: who works on the regions takes it, so that no two do. What it
// is not: trusted by who gets it from elsewhere: attach() and clients() check what they read.
//
// A domain may have had several registries, of which all but one are copies that nobody went on
// with, or that others went on from. Those who made them may be gone, and have left them with a
// service manager. The ledger, of which there is one, says which one is the domain's: whoever is
// about to write a registry makes all others void, but copies that are made after it.
//
// Crash safety (I3): a record takes effect by the store of its first word, a bit by one of its own.
//
// Lifetime: owns file and mapping; a child of fork() shares both. Thread-safety: one writer.
//
//   auto ledger = LedgerFile::create(capacities.clients).value();
//   ledger.came(client);
//   for (const LedgerFile::Survivor& survivor : ledger.clients()) expect(survivor);
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/clerk.hpp"

namespace resmgr::daemon {

/// How long to wait for one's turn: longer than a worker takes to end that was told to.
inline constexpr std::uint64_t kTurnPatienceNs = 10'000'000'000;

class LedgerFile {
 public:
  /// A client that had a place when its worker ended.
  struct Survivor {
    Client client;
    bool leaving = false;  ///< its burial was begun
  };

  /// An empty one, with room for so many places. Errors: System, CapacityExceeded.
  [[nodiscard]] static Result<LedgerFile> create(std::uint32_t places);
  /// One that came from elsewhere. Errors: InvalidArgument (not sealed, no ledger, or of another
  /// number of places), VersionMismatch, System.
  [[nodiscard]] static Result<LedgerFile> attach(UniqueFd fd, std::uint32_t places);

  void came(const Client& client) noexcept;
  void leaves(const Client& client) noexcept;
  void went(const Client& client) noexcept;
  void drained(std::uint32_t driver, bool is_so) noexcept;
  /// The numbers of drivers that are being drained; which of them there are the registry says. May
  /// throw std::bad_alloc.
  [[nodiscard]] std::vector<std::uint32_t> drained() const;
  /// Those who have a place. What can't be is left out. May throw std::bad_alloc.
  [[nodiscard]] std::vector<Survivor> clients() const;

  /// The epoch of a new copy of the registry, which no other one has; 0: there is none left.
  /// REQUIRES: the turn.
  [[nodiscard]] std::uint64_t next_epoch() noexcept;
  /// The registry of that epoch, or what it is a copy of, was the last that anybody began to write.
  /// REQUIRES: the turn. Errors: InvalidArgument (it was another one: the domain of this one is
  /// over).
  [[nodiscard]] Result<void> check_current(std::uint64_t epoch) const noexcept;
  /// Before the first write to the registry of that epoch. REQUIRES: the turn. Errors: as
  /// check_current().
  [[nodiscard]] Result<void> begins(std::uint64_t epoch) noexcept;

  /// The turn to work on the regions, for as long as the descriptor is open; a child of fork() has
  /// it too. Waits for another process that has it. Errors: InUse (it still has it after
  /// `patience_ns`), System.
  [[nodiscard]] Result<UniqueFd> take_turn(std::uint64_t patience_ns) const;

  /// To hand on; owned by this object.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  struct Header;
  struct Record;
  LedgerFile(UniqueFd fd, Mapping mapping, std::uint32_t places) noexcept
      : fd_(std::move(fd)), mapping_(std::move(mapping)), places_(places) {}
  [[nodiscard]] Header& header() const noexcept;
  /// Null: no such place.
  [[nodiscard]] Record* record(std::uint32_t index) const noexcept;

  UniqueFd fd_;
  Mapping mapping_;
  std::uint32_t places_ = 0;
};

}  // namespace resmgr::daemon
