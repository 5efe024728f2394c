// SPDX-License-Identifier: Apache-2.0
//
// Accounts: the numbers behind names of users and groups.
//
// What it is: the seam between configuration and the system's databases, so that a test needs no
// account on the machine it runs on. What it is not: a list of a user's groups; the kernel says
// those of a connected peer. Lifetime: `of_system()` lives as long as the program. Thread-safety:
// `of_system()` from any thread.
//
//   auto user = Accounts::of_system().user("www-data");
#pragma once

#include <sys/types.h>

#include <string>

#include "resmgr/base/error.hpp"

namespace resmgr::daemon {

class Accounts {
 public:
  /// getpwnam_r(3), getgrnam_r(3): whatever nsswitch.conf names.
  [[nodiscard]] static Accounts& of_system() noexcept;
  virtual ~Accounts() = default;

  /// Errors: NotFound, System.
  [[nodiscard]] virtual Result<uid_t> user(const std::string& name) = 0;
  /// Errors: NotFound, System.
  [[nodiscard]] virtual Result<gid_t> group(const std::string& name) = 0;
};

}  // namespace resmgr::daemon
