// SPDX-License-Identifier: Apache-2.0
//
// AsyncAcquireAll: several resources, all or nothing, that no thread waits for, on an io_uring of
// the author's own.
//
// What it is: ResourceManager::acquire_all() in the manner of AsyncAcquire, whose header says how
// it is used, and all of which is true here. One is waited for at a time, and the others that are
// had are kept meanwhile, or let go of where that would be a deadlock. So Rearm says: prepare()
// once more, for the same one or for the next. Each time that takes as many submissions: 2 with a
// deadline, 1 without one. What it is not: one wait for all of them; a deadline is that of the
// whole.
//
// Lifetime: that of AsyncAcquire. Destroying it gives the wait up, and lets go of all that was had.
// Thread-safety: none; all operations of one context belong to one thread at a time.
//
//   hal::AsyncAcquireAll wait(manager, wanted, {.mode = hal::AcquisitionMode::Blocking});
//   while (!wait.done()) {
//     if (wait.submissions() != 0) ...prepare() and submit...;
//     (void)wait.complete(...a completion with its user_data...);
//   }
//   auto all = wait.take();                             // each in its place
#pragma once

#include <cstdint>
#include <memory>
#include <source_location>
#include <span>
#include <vector>

#include <hal/async_acquire.hpp>
#include <hal/export.hpp>
#include <hal/refs.hpp>
#include <hal/resource_manager.hpp>

namespace hal {

class HAL_EXPORT AsyncAcquireAll {
 public:
  using Step = AsyncAcquire::Step;

  /// Acquires, or begins to wait. `wanted` is read before this returns. What is wrong with the
  /// request is its outcome, as what ResourceManager::acquire_all() returns.
  AsyncAcquireAll(ResourceManager& manager, std::span<const Wanted> wanted,
                  const AcquireOptions& options = {},
                  std::source_location where = std::source_location::current()) noexcept;
  AsyncAcquireAll(const AsyncAcquireAll&) = delete;
  AsyncAcquireAll& operator=(const AsyncAcquireAll&) = delete;
  ~AsyncAcquireAll();

  /// There is an outcome, or it was taken.
  [[nodiscard]] bool done() const noexcept { return wait_.done(); }
  /// How many submissions prepare() wants: 2 with a deadline, 1 without one, 0 if it is done, or
  /// while some are in flight.
  [[nodiscard]] unsigned submissions() const noexcept {
    return left_over_ == 0 ? wait_.submissions() : 0;
  }
  /// As AsyncAcquire::prepare(). Each time `user_data` may be another.
  Result<void> prepare(std::span<io_uring_sqe* const> sqes, std::uint64_t user_data) noexcept;
  /// Tells it a completion. Null is NotMine.
  Step complete(const io_uring_cqe* completion) noexcept;
  /// Looks without a completion. True: it is done, and what is in flight is not its own any more.
  /// (Where it is not, it may wait for the next one by now; what is in flight for the last is still
  /// to be told.)
  bool check() noexcept;
  /// Gives it up. False if there is an outcome already. Where submissions are in flight, the
  /// outcome, Cancelled or what was faster, comes with their completions; else it is there now.
  bool cancel() noexcept;
  /// The outcome, once: each in the order in which it was acquired. Errors: those of
  /// ResourceManager::acquire_all(); Cancelled; WouldBlock (it is not done), InvalidArgument (taken
  /// already).
  [[nodiscard]] Result<std::vector<ScopedResource>> take() noexcept;

 private:
  friend class Ring;
  struct [[gnu::visibility("hidden")]] Steps;

  Step look() noexcept;

  std::unique_ptr<Steps> steps_;  ///< null: no memory for them
  AsyncAcquire wait_;
  unsigned left_over_ = 0;  ///< completions to come of a wait that is over
  std::uint64_t left_over_data_ = 0;
};

}  // namespace hal
