// SPDX-License-Identifier: Apache-2.0
//
// Wakeup: the one waiter who was told his outcome under a latch and has still to be woken.
//
// What it is: a debt of one FUTEX_WAKE. Who is woken may run at once, on this very processor: woken
// under the latch, he would find it taken when he releases, leave WORK, and have to sleep until the
// latch holder runs again. So the debt is paid when the latch is free, or before another is taken
// on. What it is not: needed for safety. Whoever dies owing it leaves a decided node that its owner
// has not consumed, which recovery wakes (R4); who is stopped owing it is outslept (bounded
// sleeps). Lifetime: on the stack of the latch holder, around his use of the latch. Thread-safety:
// his alone.
//
//   Wakeup owed;
//   ... decide(waiter, RM_NODE_GRANTED, owed); ... unlatch ...;   // then woken
#pragma once

#include <utility>

#include "resmgr/base/futex.hpp"

namespace resmgr::lock {

class Wakeup {
 public:
  Wakeup() noexcept = default;
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  ~Wakeup() { pay(); }

  /// `word`: a node's futex, of memory that outlives this object. Wakes whoever was owed before.
  void owe(const void* word) noexcept {
    pay();
    word_ = word;
  }

 private:
  void pay() noexcept {
    if (const void* word = std::exchange(word_, nullptr)) futex_wake(word, 1);
  }

  const void* word_ = nullptr;
};

}  // namespace resmgr::lock
