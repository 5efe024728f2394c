// SPDX-License-Identifier: Apache-2.0
//
// RealManager: systemd itself, as the first process of a machine of its own, with resmgrd's units.
//
// What it is: what FakeManager only plays: systemd in fresh namespaces (processes, mounts, control
// groups, network), in which the units that the build made are all that there is, with the program
// that the build made. Whoever the test forks is a process of that machine; once it has entered it
// sees its files as well. What it is not: a distribution; nothing else runs there, and nothing of
// it is left behind.
//
// Lifetime: ends the machine, with all that runs there. REQUIRES: impossible() says nothing, and
// the process, which starts no thread meanwhile, has one. Thread-safety: one thread.
//
//   RealManager manager;
//   ASSERT_EQ(manager.systemctl({"start", "resmgrd.socket"}), 0);
//   Child client([&](Child::Talk&) {
//     auto mine = manager.connect();           // which starts the service
//     return mine ? 0 : 1;
//   });
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <hal/resource_manager.hpp>

namespace hal::test {

class RealManager {
 public:
  /// Why there can't be one here; nothing if there can.
  [[nodiscard]] static std::optional<std::string> impossible();

  /// What the machine has besides the units.
  struct Additions {
    std::string settings = {};       ///< of the service
    std::string configuration = {};  ///< the daemon's
  };
  /// Starts the machine; systemd answers when this returns.
  explicit RealManager(const Additions& additions);
  RealManager() : RealManager(Additions()) {}
  ~RealManager();
  RealManager(const RealManager&) = delete;
  RealManager& operator=(const RealManager&) = delete;

  /// Returns its exit status.
  int systemctl(const std::vector<std::string>& arguments) const { return run(arguments).status; }
  /// What `systemctl show` says of a property of the service.
  [[nodiscard]] std::string property(const std::string& name) const;
  /// The main process, as the machine numbers it; 0: none.
  [[nodiscard]] pid_t main_process() const;

  /// For a forked process, which does not go back.
  [[nodiscard]] bool enter() const;
  /// A client, in a process that was forked for it; null if it can't be.
  [[nodiscard]] std::unique_ptr<ResourceManager> connect(ConnectOptions options = {}) const;
  /// Of a process as the machine numbers it.
  void signal(pid_t pid, int number) const;

 private:
  struct Output {
    int status = -1;
    std::string text;
  };
  [[nodiscard]] Output run(const std::vector<std::string>& arguments) const;

  UniqueFd own_;      ///< the PID namespace of this process
  UniqueFd machine_;  ///< the pidfd of its first process
  pid_t launcher_ = 0;
};

}  // namespace hal::test
