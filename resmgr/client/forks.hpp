// SPDX-License-Identifier: Apache-2.0
//
// Forks: the domains of this process, and what becomes of them in a child of fork().
//
// What it is: a list that handlers of pthread_atfork() go through. The regions are shared with the
// child, so it must change nothing in them: there every domain is closed (calls return
// Disconnected), its contexts belong to nobody (refs do nothing when they go), and it is never
// destroyed, for its threads did not come along. A child makes a manager of its own. What it is
// not: needed by vfork() or posix_spawn(), or by clone() without libc, which calls no handlers.
//
// Lifetime: of the process. Thread-safety: any thread.
//
//   Forks::add(domain);      // once it is complete
//   Forks::remove(domain);   // before it goes
#pragma once

namespace resmgr::client {

class Domain;

class Forks {
 public:
  /// Where the handlers can't be registered, for want of memory, children are on their own.
  static void add(Domain& domain);
  static void remove(Domain& domain) noexcept;
};

}  // namespace resmgr::client
