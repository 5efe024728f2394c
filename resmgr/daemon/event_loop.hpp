// SPDX-License-Identifier: Apache-2.0
//
// EventLoop: the one thread of the daemon waits here for descriptors and for points in time.
//
// What it is: level-triggered watchers and one-shot timers, in turns. A turn waits, then calls the
// timers that are due and then every watcher that is ready, each of them once: who floods the
// daemon delays nobody by more than one callback a turn, and a watcher that read one packet of many
// is called again in the next turn. Without anything to do it sleeps for as long as it takes. It
// waits by io_uring, or by poll(2) where io_uring is forbidden.
// What it is not: a place for signals (watch a signalfd), nor a queue for other threads.
//
// A report may be late: what another callback did to the descriptor in the same turn is not in it.
// So descriptors are non-blocking, and "ready" is a hint to try.
//
// Lifetime: the loop, its watchers and its timers are independent: who goes leaves the others. It
// is not destroyed from a callback. What a callback throws leaves the turn; the next one goes on
// with what was left. In a child of fork() it can only be destroyed, and so can what it watched.
// Thread-safety: thread-bound; all calls come from the thread that created it.
//
//   class Greeter : public Watcher {
//     void ready(unsigned events) override {
//       if (events & POLLIN) greet(listener_.accept(PacketMode::NonBlocking));
//     }
//   };
//   auto loop = EventLoop::create().value();
//   if (auto watched = loop->watch(greeter, listener.fd(), POLLIN); !watched) return watched;
//   return loop->run();
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>

#include "resmgr/base/error.hpp"
#include "resmgr/daemon/event_loop_backend.hpp"

namespace resmgr::daemon {

class EventLoop;

/// Something with a descriptor. Forgotten by its destructor, if not before; that its members closed
/// the descriptor shortly before is fine.
class Watcher {
 public:
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  virtual ~Watcher();

  [[nodiscard]] bool watched() const noexcept { return loop_ != nullptr; }

 protected:
  Watcher() noexcept = default;
  /// What can be done: of what was asked for, and of kAlwaysReported. May call anything of the
  /// loop but run() and run_once(), and may destroy watchers and timers, this one too.
  virtual void ready(unsigned events) = 0;

 private:
  friend class EventLoop;

  boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
      hook_;  ///< linked while it is to be called in this turn
  EventLoop* loop_ = nullptr;
  std::uint32_t index_ = 0;
  unsigned wanted_ = 0;
  unsigned reported_ = 0;
};

/// Something that happens at a time. Disarmed by its destructor, if not before.
class Timer {
 public:
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer() = default;

  [[nodiscard]] bool armed() const noexcept { return hook_.is_linked(); }
  /// CLOCK_MONOTONIC; of the last arm().
  [[nodiscard]] std::uint64_t deadline_ns() const noexcept { return deadline_ns_; }

 protected:
  Timer() noexcept = default;
  /// Its time has come; it is not armed any more. `now_ns` is the same for all of a turn. May do
  /// what Watcher::ready may.
  virtual void expired(std::uint64_t now_ns) = 0;

 private:
  friend class EventLoop;

  boost::intrusive::set_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
      hook_;
  std::uint64_t deadline_ns_ = 0;
};

class EventLoop {
 public:
  enum class Backend : std::uint8_t {
    Automatic,  ///< io_uring, or poll where it is refused
    Uring,
    Poll,
  };
  /// What watch() and change() take.
  static constexpr unsigned kInterests = POLLIN | POLLPRI | POLLOUT;
  /// What is reported without being asked for. POLLRDHUP: the peer sends nothing any more.
  /// POLLNVAL: the descriptor was closed, or can't be waited for.
  static constexpr unsigned kAlwaysReported = POLLERR | POLLHUP | POLLNVAL | POLLRDHUP;

  /// Errors: Unsupported or NotPermitted (no io_uring, and no other was allowed), CapacityExceeded
  /// (no descriptor left), System.
  [[nodiscard]] static Result<std::unique_ptr<EventLoop>> create(
      Backend backend = Backend::Automatic);
  /// By the first of `candidates` that the machine doesn't refuse; there is at least one.
  [[nodiscard]] static Result<std::unique_ptr<EventLoop>> create(
      std::span<const LoopBackend* const> candidates);
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  /// "io_uring" or "poll".
  [[nodiscard]] std::string_view backend_name() const noexcept { return backend_name_; }

  /// From the next turn on calls `watcher` in each turn in which `fd` is ready for one of `events`
  /// (kInterests). The descriptor stays the caller's, and open until forget(). Errors:
  /// AlreadyExists (it is watched, by whichever loop), InvalidArgument (events, or `fd` is not
  /// open), CapacityExceeded, Disconnected (in a child of fork()). May throw std::bad_alloc.
  [[nodiscard]] Result<void> watch(Watcher& watcher, int fd, unsigned events);
  /// Replaces the events; 0 leaves kAlwaysReported. What was found in this turn and is not wanted
  /// any more isn't reported. Errors: NotFound (not watched here), InvalidArgument, Disconnected.
  [[nodiscard]] Result<void> change(Watcher& watcher, unsigned events) noexcept;
  /// No callback comes afterwards, not even one that was found in this turn already; and who then
  /// closes the descriptor closes the file, whose peer sees it. Does nothing to what is not watched
  /// here.
  void forget(Watcher& watcher) noexcept;

  /// Calls `timer` once, in the first turn that ends its wait at `deadline_ns` (CLOCK_MONOTONIC) or
  /// later; for a past one that is the next turn. Those of one turn come by deadline, and equal
  /// ones in the order in which they were armed. Arming again, whichever loop had it, moves it.
  void arm(Timer& timer, std::uint64_t deadline_ns) noexcept;
  static void disarm(Timer& timer) noexcept { timer.hook_.unlink(); }

  /// Turns until stop(). Errors: Disconnected (in a child of fork()), System.
  [[nodiscard]] Result<void> run();
  /// One turn, which waits until `deadline_ns` at most. Returns whether anything was called.
  [[nodiscard]] Result<bool> run_once(std::uint64_t deadline_ns);
  /// Ends run() with the turn that it is in; if there is none, the next run() returns at once.
  void stop() noexcept { stopping_ = true; }

 private:
  using ReadyList = boost::intrusive::list<
      Watcher, boost::intrusive::member_hook<Watcher, decltype(Watcher::hook_), &Watcher::hook_>,
      boost::intrusive::constant_time_size<false>>;
  struct Earlier {
    bool operator()(const Timer& left, const Timer& right) const noexcept {
      return left.deadline_ns_ < right.deadline_ns_;
    }
  };
  using TimerSet = boost::intrusive::multiset<
      Timer, boost::intrusive::member_hook<Timer, decltype(Timer::hook_), &Timer::hook_>,
      boost::intrusive::compare<Earlier>, boost::intrusive::constant_time_size<false>>;

  EventLoop(std::string_view backend_name, std::unique_ptr<Poller> poller) noexcept;
  [[nodiscard]] bool in_child() const noexcept;
  [[nodiscard]] Result<void> check(unsigned events) const noexcept;
  void add_index();
  [[nodiscard]] std::uint64_t next_deadline() const noexcept;
  void collect() noexcept;
  [[nodiscard]] bool call_timers(std::uint64_t now_ns);
  [[nodiscard]] bool call_watchers();

  std::string_view backend_name_;
  std::unique_ptr<Poller> poller_;
  pid_t owner_;  ///< what the ring has in common with a child of fork() is the parent's
  std::vector<Watcher*> watchers_;           ///< by index; null where it is free
  std::vector<std::uint32_t> free_indices_;  ///< with room for all, as forget() can't fail
  std::vector<FdReport> reports_;            ///< of this turn, likewise
  ReadyList ready_;                          ///< still to be called in this turn
  TimerSet timers_;
  TimerSet due_;  ///< to be called in this turn; what is armed meanwhile waits for the next one
  bool stopping_ = false;
};

}  // namespace resmgr::daemon
