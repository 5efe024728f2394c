// SPDX-License-Identifier: Apache-2.0
//
// FakeManager: a service manager that starts one resmgrd, and keeps descriptors for it.
//
// What it is: what systemd does for the unit: the listening socket, NOTIFY_SOCKET, and the
// descriptor store, which every start gets back. What it is not: a supervisor; the test says when
// the daemon ends and begins. Lifetime: ends its daemon. Thread-safety: one thread; the messages
// are read by another one of its own.
//
//   FakeManager manager;
//   manager.start();
//   manager.crash();      // both processes
//   manager.start();      // with what they left
#pragma once

#include <sys/types.h>

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
  void spawn();
  void listen_to_messages();
  void take(const std::string& message, UniqueFd fd);
  [[nodiscard]] int reap();
  void settle();

  std::vector<std::string> arguments_;
  std::string folder_;
  std::string socket_;
  UniqueFd listener_;
  UniqueFd notify_;
  pid_t keeper_ = 0;
  int exit_status_ = -1;
  std::mutex mutex_;
  std::vector<Stored> store_;
  unsigned messages_ = 0;      ///< of this daemon
  unsigned kill_after_ = ~0u;  ///< messages
  bool ready_ = false;
  bool over_ = false;
  std::thread reader_;
};

}  // namespace hal::test
