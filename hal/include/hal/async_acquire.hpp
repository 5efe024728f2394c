// SPDX-License-Identifier: Apache-2.0
//
// AsyncAcquire: one acquisition that no thread waits for, on an io_uring of the author's own.
//
// What it is: the request, its place in the queue, and its outcome. What was free is had at once,
// without a system call; else the request is queued like that of a thread that waits, with the same
// checks, and one completion on the ring says that there is an outcome. What it is not: a ring; see
// hal::Ring for one. Nor a shortcut past the queue.
//
// What wakes it: the kernel waits on the request's own futex (Linux 6.7). Where it can't, or the
// ring is not allowed to, or ManagerOptions::async_path says so, a thread, one for all waits of the
// process, tells an eventfd that the request then has, and the ring polls. All else is the same.
//
// One submission for each wait, two where there is a deadline, with the author's user_data, which
// no other request in flight may have: the kernel finds what a deadline ends by it. Each brings a
// completion. Whose completion comes first says nothing: the outcome is what was decided (I6).
//
// Lifetime: stays at its address; may outlive the manager, and says Disconnected then. Destroying
// it gives the wait up, and lets go of what was granted and not taken; completions that are still
// on their way are for the author to ignore. Its context must not be destroyed before. Thread-
// safety: none; all operations of one context belong to one thread at a time, which may be any.
//
// While the granter of a resource is stopped (SIGSTOP) between deciding and waking, which are next
// to each other, no completion comes until he goes on, or the deadline does. Who can't have that
// calls check() now and then.
//
//   hal::AsyncAcquire wait(manager, handle, {.mode = hal::AcquisitionMode::Blocking});
//   if (!wait.done()) {
//     io_uring_sqe* sqe = io_uring_get_sqe(&ring);
//     if (!wait.prepare({&sqe, 1}, kMyWait)) ...;       // full: submit, and once more
//   }
//   ...
//   switch (wait.complete(cqe)) {                       // of each completion with kMyWait
//     case hal::AsyncAcquire::Step::Done: use(wait.take()); break;
//     case hal::AsyncAcquire::Step::Rearm: ...prepare() once more...; break;
//     default: break;
//   }
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <span>

#include <hal/export.hpp>
#include <hal/refs.hpp>
#include <hal/resource_manager.hpp>

// NOLINTBEGIN(readability-identifier-naming): liburing names them
struct io_uring_cqe;
struct io_uring_sqe;
// NOLINTEND(readability-identifier-naming)

namespace resmgr::client {
class Domain;
class Doorbell;
class DoorbellListener;
}  // namespace resmgr::client
namespace resmgr::lock {
struct Context;
struct Grant;
struct Request;
}  // namespace resmgr::lock

namespace hal {

class HAL_EXPORT AsyncAcquire {
 public:
  /// What a completion meant.
  enum class Step : std::uint8_t {
    Done,     ///< there is an outcome: take() it
    Rearm,    ///< it waits on: prepare() once more
    More,     ///< the other completion of the two is still to come
    NotMine,  ///< other user_data, or nothing of it is in flight
  };

  /// Acquires, or begins to wait. What is wrong with the request is its outcome, as what
  /// ResourceManager::acquire_scoped_resource() returns. A context waits for a resource once:
  /// Deadlock otherwise.
  AsyncAcquire(ResourceManager& manager, Handle handle, const AcquireOptions& options = {},
               std::source_location where = std::source_location::current()) noexcept
      : AsyncAcquire(manager, handle, options, where, AsyncPath::Auto) {}
  /// Any of several, as ResourceManager::acquire_any(); its submissions are those of one. The list
  /// is read before this returns.
  AsyncAcquire(ResourceManager& manager, Selection& any, const AcquireOptions& options = {},
               std::source_location where = std::source_location::current()) noexcept
      : AsyncAcquire(manager, any, options, where, AsyncPath::Auto) {}
  AsyncAcquire(const AsyncAcquire&) = delete;
  AsyncAcquire& operator=(const AsyncAcquire&) = delete;
  ~AsyncAcquire() {
    if (state_ > State::Acquired) [[unlikely]]
      clear();
  }

  /// There is an outcome, or it was taken.
  [[nodiscard]] bool done() const noexcept { return state_ != State::Waiting; }
  /// How many submissions prepare() wants: 2 with a deadline, 1 without one, 0 if it is done or
  /// they are in flight.
  [[nodiscard]] unsigned submissions() const noexcept;
  /// Fills them; the first ones of `sqes` if those are more. They must be submitted together, in
  /// this order, with nothing between. Errors: CapacityExceeded (too few of them, or null, as they
  /// are when the submission queue is full), InvalidArgument (submissions() is 0), Unsupported (the
  /// kernel has no futex operations, and no other path may be taken; or the ring refused whatever
  /// was tried); where a thread does the waiting also CapacityExceeded (descriptors), System. On an
  /// error none was touched: fill what the ring gave out with a NOP, for it will submit it.
  Result<void> prepare(std::span<io_uring_sqe* const> sqes, std::uint64_t user_data) noexcept;
  /// Tells it a completion. Null is NotMine.
  Step complete(const io_uring_cqe* completion) noexcept;
  /// Looks without a completion. True: it is done, and what is in flight is not its own any more.
  bool check() noexcept;
  /// Gives the wait up. False if there is an outcome already. Where submissions are in flight, the
  /// outcome, Cancelled or what was faster, comes with their completions; else it is there now.
  bool cancel() noexcept;
  /// The outcome, once. Errors: those of ResourceManager::acquire_scoped_resource(); Cancelled;
  /// WouldBlock (it is not done), InvalidArgument (taken already).
  [[nodiscard]] Result<ScopedResource> take() noexcept {
    if (state_ != State::Acquired) [[unlikely]]
      return failure();
    state_ = State::Taken;
    return std::move(hold_);
  }

 private:
  friend class AsyncAcquireAll;
  friend class Ring;
  enum class State : std::uint8_t { Taken, Acquired, Waiting, Failed };
  struct Waiting;
  static constexpr std::size_t kRoom = 400;

  /// Nothing yet; see begin().
  AsyncAcquire() noexcept {}  // NOLINT(cppcoreguidelines-pro-type-member-init): as below
  /// `path`: not Auto: instead of the manager's.
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): room_ is for who waits
  AsyncAcquire(ResourceManager& manager, Handle handle, const AcquireOptions& options,
               std::source_location where, AsyncPath path) noexcept {
    if (!try_at_once(manager, handle, options, where)) [[unlikely]]
      begin(manager, handle, options, where, path);
  }
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): as above
  AsyncAcquire(ResourceManager& manager, Selection& any, const AcquireOptions& options,
               std::source_location where, AsyncPath path) noexcept {
    if (!try_at_once(manager, any, options, where)) begin(manager, any, options, where, path);
  }
  [[nodiscard]] bool try_at_once(ResourceManager& manager, Handle handle,
                                 const AcquireOptions& options,
                                 std::source_location where) noexcept {
    if (!ResourceManager::are_plain(options, HoldKind::Exclusive) || options.context) return false;
    hold_ = ScopedResource(manager.acquire_at_once(handle, where));
    if (!hold_) return false;
    state_ = State::Acquired;
    return true;
  }
  [[nodiscard]] bool try_at_once(ResourceManager& manager, Selection& any,
                                 const AcquireOptions& options,
                                 std::source_location where) noexcept;
  /// For who has no ring: from here on the listener is told when there may be an outcome. False:
  /// there is one. Errors: those of the doorbell. REQUIRES: the path is Doorbell.
  [[nodiscard]] Result<bool> listen(resmgr::client::DoorbellListener& listener,
                                    std::uint64_t cookie) noexcept;
  /// Where it listens.
  [[nodiscard]] const std::shared_ptr<resmgr::client::Doorbell>& doorbell() noexcept;
  /// When it times out; of what is not done.
  [[nodiscard]] std::uint64_t deadline_ns() noexcept;
  void begin(ResourceManager& manager, Handle handle, const AcquireOptions& options,
             std::source_location where, AsyncPath path) noexcept;
  void begin(ResourceManager& manager, Selection& any, const AcquireOptions& options,
             std::source_location where, AsyncPath path) noexcept;
  template <typename Ask>
  void begin_with(resmgr::client::Domain& domain, resmgr::lock::Context& context, AsyncPath path,
                  Ask&& ask) noexcept;
  /// REQUIRES: it is new, or was taken.
  void begin(resmgr::client::Domain& domain, resmgr::lock::Context& context, Handle handle,
             const resmgr::lock::Request& request, AsyncPath path) noexcept;
  [[nodiscard]] Result<ScopedResource> failure() noexcept;
  void fail_with(Error error) noexcept;
  void conclude() noexcept;
  void end_with(Result<resmgr::lock::Grant> grant) noexcept;
  Step settle() noexcept;
  void fall_back() noexcept;
  void clear() noexcept;
  [[nodiscard]] Waiting& waiting() noexcept;
  [[nodiscard]] Error& error() noexcept;

  State state_ = State::Taken;
  std::uint8_t in_flight_ = 0;
  std::uint64_t user_data_ = 0;
  ScopedResource hold_;
  alignas(8) std::array<std::byte, kRoom> room_;  ///< of a Waiting, or an Error
};

}  // namespace hal
