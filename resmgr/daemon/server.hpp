// SPDX-License-Identifier: Apache-2.0
//
// Server: a worker's dealings with all clients of a domain.
//
// What it is: accepts connections of those who may attach, has the clerk answer them, and has those
// buried who left, or whose process ended. It also waits for clients without a connection, who had
// one with it or with a predecessor: they come back to their places, or their processes end. What
// it is not: the keeper, which outlives it.
//
// Only the dead are buried, for the living go on with what they hold, and it must not be somebody
// else's meanwhile (I1, I4). A process that has the lock region still lives there, though it may
// have no descriptor left to connect with for as long as it likes. One that lives, but has it no
// more, called exec, and that is the same as death. Of one that can't be told (base/presence.hpp)
// the end of its connection is believed to be its own.
//
// Lifetime: borrows loop, clerk and audit log. Thread-safety: that of the loop.
//
//   auto server = Server::start(*loop, clerk, std::move(listener), policy, {}).value();
//   return loop->run();
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <boost/intrusive/list.hpp>

#include "resmgr/base/log.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/budget/memory_observer.hpp"
#include "resmgr/daemon/bound.hpp"
#include "resmgr/daemon/clerk.hpp"
#include "resmgr/daemon/event_loop.hpp"
#include "resmgr/daemon/peer.hpp"
#include "resmgr/daemon/session.hpp"

namespace resmgr::daemon {

struct ServerOptions {
  std::size_t sessions = 1024;  ///< at most, those without a place too
  LogSink log = {};
  AuditLog* audit = nullptr;  ///< null: nothing is written down
  /// Memory around the daemon, which presses its clients too; empty: it is not looked at.
  std::optional<budget::MemoryObserver> memory = {};
};

class Server : private SessionOwner, private Outbox {
 public:
  /// Errors: those of EventLoop::watch().
  [[nodiscard]] static Result<std::unique_ptr<Server>> start(EventLoop& loop, Clerk& clerk,
                                                             PacketListener listener,
                                                             std::shared_ptr<const Policy> policy,
                                                             ServerOptions options);
  ~Server() override;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// From here on, also for those who are there: nobody is sent away, but what its drivers may
  /// register is asked anew.
  void set_policy(std::shared_ptr<const Policy> policy);
  /// A client without a connection: it has its place until its process ends, or has given the lock
  /// region up; or, where that can't be told, until it has had the policy's time to connect again
  /// and is not stopped. (One that has called exec closed its connection, perhaps while nobody saw
  /// it, and lives.) Errors: those of EventLoop::watch().
  Result<void> expect(const Client& client, UniqueFd pidfd);
  /// A client that a predecessor was burying. `pidfd`: its process, borrowed for the call.
  void finish_burial(const Client& client, int pidfd);
  [[nodiscard]] std::size_t sessions() const noexcept { return sessions_.size(); }
  /// Tells all clients that their connections are about to end.
  void say_closing(wire::ClosingReason reason);

 private:
  /// A client without a connection.
  class Absent final : public Watcher, public boost::intrusive::list_base_hook<> {
   public:
    Absent(Server& server, const Client& client, UniqueFd pidfd) noexcept
        : server_(server),
          index_(client.index),
          pid_(static_cast<pid_t>(client.pid)),
          uid_(client.uid),
          pidfd_(std::move(pidfd)),
          had_region_(server.clerk_.has_region(client.index)) {}
    [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] uid_t uid() const noexcept { return uid_; }
    [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
    /// It gave the region up.
    [[nodiscard]] bool has_left() const noexcept {
      return had_region_ && !server_.clerk_.has_region(index_);
    }
    /// At the end of its time: whether it has had it. One that is stopped can't come back, and goes
    /// on some day: it gets as much again when it was stopped at the beginning or is at the end.
    /// One that has the region has no end of its time.
    [[nodiscard]] bool had_its_time() noexcept;

   private:
    void ready(unsigned) override { server_.give_up(*this, true); }
    [[nodiscard]] bool is_stopped() const noexcept;
    Server& server_;
    std::uint32_t index_;
    pid_t pid_;
    uid_t uid_;
    UniqueFd pidfd_;
    bool had_region_;  ///< when it was missed
    bool was_stopped_ = is_stopped();
  };
  Server(EventLoop& loop, Clerk& clerk, PacketListener listener,
         std::shared_ptr<const Policy> policy, ServerOptions options);

  // SessionOwner
  Clerk::Answer answer(Session& session, std::span<const std::byte> frame,
                       std::span<UniqueFd> fds) override;
  [[nodiscard]] std::span<std::byte> out() noexcept override { return out_; }
  [[nodiscard]] std::span<std::byte> in() noexcept override { return in_; }
  void ended(Session& session, std::string_view why) override;
  [[nodiscard]] std::uint32_t frames_in_a_row() const noexcept override {
    return policy_->limits().requests_in_flight;
  }

  // Outbox
  bool post(std::uint32_t client, std::span<const std::byte> event) override;
  void for_each_listener(const std::function<void(const Client&)>& visit) override;
  void warn(const std::string& line) noexcept override { log(LogLevel::Warning, line); }

  void accept();
  void say_that_it_is_here(const Session& session);
  [[nodiscard]] Result<void> check(const Peer& peer) const;
  /// Its connection ended, and it did not.
  [[nodiscard]] bool is_missed(const Session& session) const noexcept;
  void miss(Session& session, std::string_view why);
  void give_up(Absent& absent, bool ended);
  void give_up_all();
  void give_up_who_left();
  void look_again_after(std::uint64_t pause_ns);
  void grant_return();
  void recover();
  void destroy_orphans(std::uint64_t now_ns);
  void quiesce(std::uint64_t now_ns);
  void see_to_emergencies(std::uint64_t now_ns);
  void look_at_pressure(std::uint64_t now_ns);
  void watch_memory();
  void stalled(unsigned events);
  void tell(AuditEvent event, pid_t pid, uid_t uid, std::string_view detail = {}) const noexcept;
  void log(LogLevel level, const std::string& line) const noexcept;

  template <typename Node>
  struct Dispose {
    void operator()(Node* node) const noexcept { std::default_delete<Node>()(node); }
  };

  EventLoop& loop_;
  Clerk& clerk_;
  PacketListener listener_;
  std::shared_ptr<const Policy> policy_;
  ServerOptions options_;
  std::vector<std::byte> in_;
  std::vector<std::byte> out_;
  boost::intrusive::list<Session> sessions_;
  boost::intrusive::list<Absent> absent_;
  std::unordered_map<std::uint32_t, Session*> present_;  ///< those who said hello, by place
  BoundWatcher<Server> door_{*this, [](Server& self, unsigned) { self.accept(); }};
  BoundTimer<Server> reopening_{
      *this, [](Server& self, std::uint64_t) { (void)self.loop_.change(self.door_, POLLIN); }};
  BoundTimer<Server> rest_of_recovery_{*this, [](Server& self, std::uint64_t) { self.recover(); }};
  BoundTimer<Server> return_grace_{*this, [](Server& self, std::uint64_t) { self.give_up_all(); }};
  std::uint64_t look_pause_ = 0;
  BoundTimer<Server> next_look_{*this,
                                [](Server& self, std::uint64_t) { self.give_up_who_left(); }};
  BoundTimer<Server> orphans_grace_{
      *this, [](Server& self, std::uint64_t now_ns) { self.destroy_orphans(now_ns); }};
  BoundTimer<Server> quiescing_{*this,
                                [](Server& self, std::uint64_t now_ns) { self.quiesce(now_ns); }};
  BoundTimer<Server> emergencies_{
      *this, [](Server& self, std::uint64_t now_ns) { self.see_to_emergencies(now_ns); }};
  BoundTimer<Server> pressure_{
      *this, [](Server& self, std::uint64_t now_ns) { self.look_at_pressure(now_ns); }};
  BoundWatcher<Server> stalls_{*this, [](Server& self, unsigned events) { self.stalled(events); }};
};

}  // namespace resmgr::daemon
