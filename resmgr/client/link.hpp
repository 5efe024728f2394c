// SPDX-License-Identifier: Apache-2.0
//
// Link: a client's connection to resmgrd.
//
// What it is: requests and their answers, one at a time, over one socket; and the patience that a
// daemon needs which is being restarted: the connection is made anew, under the same place in the
// domain, and the request is sent again. A daemon that took the domain over has its registry in
// another file: who maps it is told before anything else is asked. Attempts that come to nothing
// are made at growing intervals, and each reason for that is told once. What it is not: what
// requests mean (served_authority.hpp). A request that was sent twice may have been carried out
// twice; who asks can tell from Attempt.
//
// Lifetime: owns the socket. Thread-safety: call() and close() from any thread.
//
//   auto link = Link::connect({.socket_path = "/run/resmgr/main.sock"}).value();
//   Link::Regions regions = link->take_regions();
//   auto pong = link->call([](std::uint64_t id, auto out) { return encode(ping, id, out); }, {},
//                          [](const Link::Attempt& reply) { return result_of(reply); });
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "resmgr/abi/client_place.hpp"
#include "resmgr/abi/events.hpp"
#include "resmgr/abi/frame.hpp"
#include "resmgr/base/backoff.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/log.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgr::client {

/// What became of a resource whose owner died, or that some of this was not told.
struct Notice {
  enum class What : std::uint8_t { Orphaned, OwnerDied, Missed };
  What what = What::Orphaned;
  Handle handle = {};
  std::uint64_t missed = 0;  ///< how many were not told
};

enum class LinkState : std::uint8_t {
  Lost,      ///< changes wait; what is registered is acquired and released as before
  Restored,  ///< under the same place in the domain
  Ended,     ///< the daemon has another domain now, or speaks another version: this one is over
};

struct LinkChange {
  LinkState state = LinkState::Lost;
  /// What the daemon said before it ended the connection, if it said anything.
  std::optional<wire::ClosingReason> reason = {};
};

struct LinkOptions {
  std::string socket_path;
  /// How long a request waits for a daemon that is away, and for one that does not answer.
  std::uint64_t patience_ns = 10'000'000'000;
  LogSink log = {};
  /// Called by a thread of the link's own, under no lock, and so late that a state may be over
  /// already. May call anything, close() too.
  std::function<void(const LinkChange&)> on_state = {};
  /// Called likewise. Null: the daemon is not asked for that.
  std::function<void(const Notice&)> on_notice = {};
};

class Link {
 public:
  /// What the daemon hands to a new client.
  struct Regions {
    wire::ClientPlace place;
    UniqueFd registry;
    UniqueFd locks;
    std::string daemon_version;  ///< printable
  };
  /// The answer to a request.
  struct Attempt {
    const wire::Frame& frame;  ///< valid during the call
    std::span<UniqueFd> fds;   ///< came beside, may be moved from
    bool repeated;             ///< it was sent before, and nobody knows what became of it
  };
  using Encode = std::function<Result<std::size_t>(std::uint64_t request_id, std::span<std::byte>)>;
  using Read = std::function<Result<void>(const Attempt&)>;

  /// Connects, once, and asks for a place in the domain. Errors: those of PacketSocket::connect(),
  /// what the daemon refuses (NotPermitted, CapacityExceeded, VersionMismatch), System.
  [[nodiscard]] static Result<std::unique_ptr<Link>> connect(LinkOptions options);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// The regions, for who maps them; once.
  [[nodiscard]] Regions take_regions() noexcept;
  /// Maps the registry of a later epoch where the one before is. Called under a lock, by whichever
  /// thread connects again, before anything else is asked; after an error it is as if there were no
  /// daemon.
  using Follow = std::function<Result<void>(UniqueFd registry)>;
  /// To be said once, by who took the regions: from here on the link follows the domain from one
  /// daemon to the next. Errors: those of `follow`, which is called at once if the domain has moved
  /// since the regions were taken.
  [[nodiscard]] Result<void> on_new_epoch(Follow follow);
  /// To be said once: what to call when the domain is over for this client, for good: the daemon
  /// has another one, or nobody in this client's place, or speaks another version. Called before
  /// LinkState::Ended is told, by whichever thread learns of it, under a lock, and at once if it is
  /// over already: it is quick, and calls nothing of the link. It has to work until close() has
  /// returned.
  using OnEnd = std::function<void()>;
  void on_end(OnEnd on_end);
  /// How often the connection was made anew.
  [[nodiscard]] std::uint32_t reconnections() const noexcept { return reconnections_; }

  /// Whether there is a connection now; one that hung up just now may still count.
  [[nodiscard]] bool is_connected() noexcept {
    const std::lock_guard lock(socket_mutex_);
    return static_cast<bool>(socket_);
  }

  /// Sends a request with duplicates of `fds`, and calls `read` with its answer. Errors: those of
  /// `encode` and `read`; Disconnected (closed, or patience is at an end, or the daemon has another
  /// domain now); System.
  [[nodiscard]] Result<void> call(const Encode& encode, std::span<const int> fds, const Read& read);
  /// From now on each event is told, as soon as it comes, by whichever thread reads it, under a
  /// lock of the link: `on_event` is quick, and calls nothing of it. Before that they are dropped.
  using OnEvent = std::function<void(const wire::Frame&)>;
  void listen(OnEvent on_event);
  /// A driver that this client speaks for: named again on each new connection. May throw
  /// std::bad_alloc.
  void remember_driver(std::string_view name);

  /// Says goodbye. Calls under way end with Disconnected. Idempotent.
  void close() noexcept;

  // For client/forks.hpp: the socket stays as it is meanwhile.
  void before_fork() noexcept { socket_mutex_.lock(); }
  void after_fork_in_parent() noexcept { socket_mutex_.unlock(); }
  /// The connection is the parent's: it is let go without a word.
  void after_fork_in_child() noexcept;

 private:
  explicit Link(LinkOptions options);

  /// The watcher's life: sees that the daemon hangs up though nobody asks for anything, and
  /// connects again; and what it tells unasked, for who listens.
  void watch() noexcept;
  void tell(LinkState state) noexcept;
  void tell(const Notice& notice) const noexcept;
  /// One attempt that is due, and how long to wait after it; mutex_ held.
  [[nodiscard]] std::uint64_t attempt() noexcept;
  /// Waits until the socket hangs up or is another one, or for so long where there is none.
  /// `engaged`: what comes may be an answer to somebody else's question; until it is read, that
  /// long too.
  void wait_for_change(std::uint64_t pause_ns, bool engaged) noexcept;

  void set_socket(PacketSocket socket) noexcept;
  // REQUIRES of all that follow: mutex_ held.
  [[nodiscard]] Result<void> open_connection();
  [[nodiscard]] Result<void> greet();
  [[nodiscard]] Result<void> settle();
  /// Whether the daemon that gave `place` has the same domain, and this client's place in it.
  [[nodiscard]] bool is_same_domain(const wire::ClientPlace& place) const noexcept;
  [[nodiscard]] static bool is_final(const Error& refusal) noexcept;
  void end() noexcept;
  [[nodiscard]] Result<void> move_to(const wire::ClientPlace& place, UniqueFd registry);
  [[nodiscard]] Result<void> name_drivers();
  /// When the next attempt is due. Errors: Disconnected (not by then).
  [[nodiscard]] Result<void> connect_again(std::uint64_t deadline_ns);
  void put_off(const Error& failure) noexcept;
  void lose() noexcept;
  void read_events() noexcept;
  void hear(const wire::Frame& event) noexcept;
  void hear_of_owner(const wire::Frame& event) noexcept;
  [[nodiscard]] bool keep(const Notice& notice) noexcept;
  [[nodiscard]] bool listens() const noexcept {
    return listens_.load() || options_.on_notice != nullptr;
  }
  /// One request and one answer on the connection there is.
  [[nodiscard]] Result<void> exchange(const Encode& encode, std::span<const int> fds,
                                      const Read& read, bool repeated);
  void log(LogLevel level, std::string_view line) const noexcept;

  LinkOptions options_;
  std::timed_mutex mutex_;
  mutable std::mutex socket_mutex_;  ///< held for moments: which socket it is
  PacketSocket socket_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> over_{false};  ///< as LinkState::Ended
  std::vector<std::byte> buffer_;
  std::uint64_t next_request_ = 1;
  Backoff backoff_;
  std::uint64_t next_attempt_ns_ = 0;     ///< to connect again
  bool nobody_listens_ = false;           ///< the last attempt found nobody
  std::optional<ErrorCode> told_reason_;  ///< why it can't be connected; nothing: not told
  wire::ClientPlace place_;
  Regions regions_;
  Follow follow_;
  OnEnd on_end_;
  UniqueFd moved_to_;  ///< a later registry than was taken, where nobody follows yet
  std::vector<std::string> drivers_;
  OnEvent on_event_;
  std::vector<Notice> notices_;  ///< not told yet
  std::uint64_t missed_ = 0;     ///< beside those
  std::atomic<std::optional<wire::ClosingReason>> closing_{};
  std::atomic<bool> listens_{false};
  std::atomic<std::uint32_t> reconnections_{0};
  UniqueFd changed_;  ///< eventfd: the socket is another one, or the link is closed
  std::thread watcher_;
};

}  // namespace resmgr::client
