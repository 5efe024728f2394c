// SPDX-License-Identifier: Apache-2.0
//
// FakeManager: a service manager that starts one resmgrd, and keeps descriptors for it.
//
// What it is: what systemd does for the unit: the listening socket, NOTIFY_SOCKET, and the
// descriptor store, which every start gets back, the newest first; and who goes by without it for a
// while: one that is alone keeps nothing, and has a door at which the next one asks. What it is
// not: a supervisor; the test says when the daemon ends and begins. Lifetime: ends its daemon.
// Thread-safety: one thread; the messages are read by another one of its own.
//
//   FakeManager manager;
//   manager.start();
//   manager.crash();        // both processes
//   manager.start_alone();  // with what they left
//   manager.take_over(FakeManager::Next::Kept);   // one that stores it again
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <hal/resource_manager.hpp>

namespace hal::test {

class FakeManager {
 public:
  struct Stored {
    std::string name;
    UniqueFd fd;
  };

  /// `arguments`: of each daemon.
  explicit FakeManager(std::vector<std::string> arguments = {});
  ~FakeManager();
  FakeManager(const FakeManager&) = delete;
  FakeManager& operator=(const FakeManager&) = delete;

  /// Starts it, and returns when it is ready, or has ended.
  void start();
  /// Starts it with what is stored, but as one that nobody keeps anything for: the store is empty
  /// afterwards, as when a unit was stopped. Returns when it serves.
  void start_alone();
  enum class Next : std::uint8_t { Kept, Alone };
  /// Starts another one that takes the domain over from this one, and returns when it serves.
  /// REQUIRES: this one is alone. Returns the exit status of the one before, or minus the signal
  /// that killed it.
  int take_over(Next next) { return end_takeover(begin_takeover(next)); }
  // The same step by step, for who comes between the two.
  /// Starts another one that asks for the domain. Returns the keeper of the one before.
  [[nodiscard]] pid_t begin_takeover(Next next);
  /// It has it. Returns the exit status of the one before, or minus the signal that killed it.
  int end_takeover(pid_t before);
  /// The next one is gone, and the one before, which is alone, goes on.
  void go_back_to(pid_t before);
  /// Whether the last one that was started is alone.
  [[nodiscard]] bool is_alone() const noexcept { return alone_; }
  /// Starts it, and kills it once it has sent so many messages. Returns whether it was: it may be
  /// ready with fewer.
  [[nodiscard]] bool start_and_kill_after(unsigned messages);
  /// Ends it, as for a restart. Returns its exit status.
  int stop();
  /// Kills keeper and worker.
  void crash();
  void kill_worker() const;
  [[nodiscard]] pid_t keeper() const noexcept { return keeper_; }
  /// The worker that there is now; 0 if there is none.
  [[nodiscard]] pid_t worker() const;

  /// From here on messages wait, with room for so many more.
  void be_busy(unsigned room);
  void be_busy_no_more();

  [[nodiscard]] const std::string& socket() const noexcept { return socket_; }
  /// Whether it was ready, and has not ended.
  [[nodiscard]] bool is_serving();
  /// The exit status of one that ended by itself; -1: none did.
  [[nodiscard]] int exit_status() const noexcept { return exit_status_; }
  /// A client, in the calling process; null if it can't be.
  [[nodiscard]] std::unique_ptr<ResourceManager> connect(ConnectOptions options = {}) const;
  /// What is stored. REQUIRES: no daemon runs.
  [[nodiscard]] std::vector<Stored>& store();
  /// The only one whose name begins so; null if there is none, or several.
  [[nodiscard]] Stored* stored(const std::string& prefix);

 private:
  void spawn(Next kind, const std::vector<std::string>& more = {});
  void wait_until_ready();
  void wait_until_served();
  void listen_to_messages();
  void take(const std::string& message, UniqueFd fd);
  [[nodiscard]] bool send(const char* text) const;
  [[nodiscard]] int reap();
  void settle();

  std::vector<std::string> arguments_;
  std::string folder_;
  std::string socket_;
  UniqueFd listener_;
  UniqueFd notify_;
  pid_t keeper_ = 0;
  bool alone_ = false;
  int exit_status_ = -1;
  std::mutex mutex_;
  std::vector<Stored> store_;
  unsigned messages_ = 0;      ///< of this daemon
  unsigned kill_after_ = ~0u;  ///< messages
  bool ready_ = false;
  bool over_ = false;
  bool busy_ = false;
  std::condition_variable not_busy_;
  std::thread reader_;
};

}  // namespace hal::test
