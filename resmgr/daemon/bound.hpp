// SPDX-License-Identifier: Apache-2.0
//
// BoundWatcher, BoundTimer: a watcher or a timer that calls a function of who has it.
//
// What it is: for owners with several of them. What it is not: a queue; the call comes from the
// loop. Lifetime: a member of the owner, who does not move. Thread-safety: that of the loop.
//
//   BoundWatcher<Server> door_{*this, [](Server& self, unsigned) { self.accept(); }};
#pragma once

#include <cstdint>

#include "resmgr/daemon/event_loop.hpp"

namespace resmgr::daemon {

template <typename Owner>
class BoundWatcher final : public Watcher {
 public:
  using Call = void (*)(Owner&, unsigned events);
  BoundWatcher(Owner& owner, Call call) noexcept : owner_(owner), call_(call) {}

 private:
  void ready(unsigned events) override { call_(owner_, events); }

  Owner& owner_;
  Call call_;
};

template <typename Owner>
class BoundTimer final : public Timer {
 public:
  using Call = void (*)(Owner&, std::uint64_t now_ns);
  BoundTimer(Owner& owner, Call call) noexcept : owner_(owner), call_(call) {}

 private:
  void expired(std::uint64_t now_ns) override { call_(owner_, now_ns); }

  Owner& owner_;
  Call call_;
};

}  // namespace resmgr::daemon
