// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/source.hpp"

#include <cerrno>
#include <ctime>
#include <utility>
#include <vector>

#include "resmgr/client/served_authority.hpp"
#include "tools/resmgrctl/processes.hpp"

namespace resmgrctl {
namespace {

using resmgr::ErrorCode;
using resmgr::client::ServedAuthority;

std::uint64_t now_utc() noexcept { return static_cast<std::uint64_t>(std::time(nullptr)); }

class Live final : public Source {
 public:
  Live(ServedAuthority::Attached attached, const std::string& socket)
      : attached_(std::move(attached)),
        origin_{.place = socket,
                .daemon_version = attached_.daemon_version,
                .taken_at_utc = now_utc()} {
    // Where it can't, looks go on at the registry there was.
    (void)attached_.authority->follow_in(attached_.registry);
  }

  [[nodiscard]] Outcome<Look> look() override {
    auto look = Look::take(attached_.registry, attached_.locks,
                           processes_seen_by(attached_.locks.tables(), attached_.client));
    if (!look) return failed("a look at the domain", look.error());
    return std::move(*look);
  }
  [[nodiscard]] std::optional<Outcome<Look>> look_before() override { return std::nullopt; }
  [[nodiscard]] const Origin& origin() const noexcept override { return origin_; }
  [[nodiscard]] resmgr::client::Link* link() noexcept override {
    return &attached_.authority->link();
  }

 private:
  ServedAuthority::Attached attached_;
  Origin origin_;
};

class Saved final : public Source {
 public:
  explicit Saved(Snapshot snapshot)
      : origin_(std::move(snapshot.origin)),
        before_(std::move(snapshot.first)),
        look_(std::move(snapshot.second)) {}

  [[nodiscard]] Outcome<Look> look() override { return take(look_); }
  [[nodiscard]] std::optional<Outcome<Look>> look_before() override { return take(before_); }
  [[nodiscard]] const Origin& origin() const noexcept override { return origin_; }
  [[nodiscard]] resmgr::client::Link* link() noexcept override { return nullptr; }

 private:
  static Outcome<Look> take(std::optional<Look>& look) {
    if (!look) return failed("the snapshot has no further look");
    Outcome<Look> taken = std::move(*look);
    look.reset();
    return taken;
  }

  Origin origin_;
  std::optional<Look> before_;
  std::optional<Look> look_;
};

// What an operator does next.
std::string advice(const std::string& socket, const resmgr::Error& error) {
  const std::string start = "start it with 'resmgrd --socket " + socket +
                            "', or name another one by --socket or --domain";
  switch (error.code()) {
    case ErrorCode::NotFound:
    case ErrorCode::Disconnected:
      return "no resmgrd at " + socket + ": " + start;
    case ErrorCode::NotPermitted:
      return "the resmgrd at " + socket + " does not let this user in (" + error.message() +
             "): see [[attach]] in its configuration, or ask as root";
    case ErrorCode::CapacityExceeded:
      return "the domain at " + socket + " has no room for another client (" + error.message() +
             "): raise 'clients' in its configuration, or end a client";
    case ErrorCode::VersionMismatch:
      return "the resmgrd at " + socket + " is of another version (" + error.message() +
             "): use its own resmgrctl";
    default:
      break;
  }
  if (error.system_errno() == ENOENT || error.system_errno() == ECONNREFUSED) {
    return "no resmgrd at " + socket + ": " + start;
  }
  return "the resmgrd at " + socket + ": " + error.message();
}

Outcome<std::unique_ptr<Source>> attach(const std::vector<std::string>& sockets) {
  constexpr std::uint64_t kPatienceNs = 2'000'000'000;
  std::string text;
  for (const std::string& socket : sockets) {
    auto attached =
        ServedAuthority::attach({.socket_path = socket, .patience_ns = kPatienceNs, .log = {}});
    if (attached) return std::make_unique<Live>(std::move(*attached), socket);
    // The last one is where the system's daemon is: its advice is the most useful one.
    text = advice(socket, attached.error());
  }
  return failed(std::move(text));
}

}  // namespace

Outcome<std::unique_ptr<Source>> open_source(const Where& where) {
  if (where.snapshot) {
    auto snapshot = read_snapshot(*where.snapshot);
    if (!snapshot) return std::unexpected(snapshot.error());
    return std::make_unique<Saved>(std::move(*snapshot));
  }
  if (where.socket) return attach({*where.socket});
  return attach(resmgr::candidate_socket_paths(where.domain));
}

}  // namespace resmgrctl
