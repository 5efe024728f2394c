// SPDX-License-Identifier: Apache-2.0
//
// Meter: so many tokens a second, for bandwidth, processor time or operations ("fuel"), shared by
// all who charge it.
//
// What it is: a resource of type Performance, found by name, whose tokens anybody of the domain
// takes by one compare-and-swap, without a message; its rate counts in the budget of that type.
// Tokens come one by one, at most a burst of them lies ready, and over any time no more are given
// than came. What it is not: a scheduler: it binds those who ask it, who charges first goes on
// first, and nobody is woken early when a rate is raised. Nor is it held: acquiring it means what
// it means for other resources.
//
// Waiting: who charges takes his tokens at once and sleeps until they have come, so nobody asks
// twice. AsyncCharge does that with a timeout on the author's ring.
//
// Lifetime: may outlive the manager, and says Disconnected then. Thread-safety: all functions from
// any thread.
//
//   auto bandwidth = hal::Meter::open(*manager, "dma0/bandwidth",
//                                     {.tokens_per_second = 2'000'000'000, .burst = 1 << 20});
//   if (auto paid = bandwidth->charge(descriptor.bytes); !paid) return paid;
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include <hal/export.hpp>
#include <hal/resource_manager.hpp>

// NOLINTBEGIN(readability-identifier-naming): liburing names them
struct io_uring_cqe;
struct io_uring_sqe;
// NOLINTEND(readability-identifier-naming)

namespace hal {

struct MeterOptions {
  std::uint64_t tokens_per_second = 0;  ///< 1 to 10^12
  std::uint64_t burst = 0;              ///< the most at once; 0: what comes in a tenth of a second
  DriverId driver = {};                 ///< the owner
};

class HAL_EXPORT Meter {
 public:
  /// Opens the meter, or registers it. Errors: InvalidArgument (a rate or burst out of range; it
  /// exists with another one, or is no meter), those of ResourceManager::register_resource(),
  /// BudgetExceeded among them.
  [[nodiscard]] static Result<Meter> open(ResourceManager& manager, std::string_view name,
                                          const MeterOptions& options);
  /// Opens one that is registered. Errors: NotFound, InvalidName, InvalidArgument (no meter),
  /// Disconnected.
  [[nodiscard]] static Result<Meter> find(ResourceManager& manager, std::string_view name);

  Meter(Meter&&) noexcept;
  Meter& operator=(Meter&&) noexcept;
  ~Meter();

  [[nodiscard]] Handle handle() const noexcept;
  [[nodiscard]] std::uint64_t tokens_per_second() const noexcept;
  [[nodiscard]] std::uint64_t burst() const noexcept;

  /// Takes the tokens if they have all come: true. An amount of 0 asks whether there are debts.
  /// Errors: InvalidArgument (more than the burst: it could never be), StaleHandle, Disconnected.
  [[nodiscard]] Result<bool> try_charge(std::uint64_t amount) noexcept;
  /// Takes the tokens, which may be more than the burst, and sleeps until they have come. Errors:
  /// TimedOut (at once, and nothing was taken: they would not have come by then), InvalidArgument
  /// (more than the burst and what comes in 1,024 seconds), StaleHandle, Disconnected.
  Result<void> charge(std::uint64_t amount,
                      std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max()) noexcept;
  /// Takes the tokens whether they have come or not, and says when they will have: who goes on
  /// before owes them. Errors: as charge(), but TimedOut.
  [[nodiscard]] Result<std::chrono::steady_clock::time_point> charge_ahead(
      std::uint64_t amount) noexcept;
  /// Gives back what was taken and not used. What goes beyond the burst is lost. Errors:
  /// StaleHandle, Disconnected.
  Result<void> refund(std::uint64_t amount) noexcept;
  /// Tokens that could be taken at once; below 0: those that are owed. Errors: StaleHandle,
  /// Disconnected.
  [[nodiscard]] Result<std::int64_t> level() const noexcept;

 private:
  friend class AsyncCharge;
  struct [[gnu::visibility("hidden")]] State;
  explicit Meter(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

/// A charge that no thread sleeps for: an absolute timeout on an io_uring of the author's own.
///
/// Lifetime: stays at its address; borrows the meter. Destroying it before it is done gives the
/// tokens back; its completion, if one is in flight, is for the author to ignore, or to cancel.
/// Thread-safety: none.
///
///   hal::AsyncCharge charge(meter, bytes);
///   if (!charge.done()) charge.prepare(io_uring_get_sqe(&ring), kMyCharge);
///   ...
///   if (charge.complete(cqe)) go_on();
class HAL_EXPORT AsyncCharge {
 public:
  AsyncCharge(Meter& meter, std::uint64_t amount,
              std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max()) noexcept;
  AsyncCharge(const AsyncCharge&) = delete;
  AsyncCharge& operator=(const AsyncCharge&) = delete;
  ~AsyncCharge();

  /// The tokens are here, or there is an error.
  [[nodiscard]] bool done() const noexcept { return done_; }
  /// What Meter::charge() would return. REQUIRES: done().
  [[nodiscard]] const Result<void>& outcome() const noexcept { return outcome_; }
  /// Fills the one submission that it needs. Errors: CapacityExceeded (null, as where the
  /// submission queue is full), InvalidArgument (it is done, or in flight).
  Result<void> prepare(io_uring_sqe* sqe, std::uint64_t user_data) noexcept;
  /// Tells it a completion: whether it was its own. Then it is done, unless the timeout was ended
  /// early: prepare() once more.
  bool complete(const io_uring_cqe* completion) noexcept;

 private:
  Meter* meter_;
  std::uint64_t amount_;
  std::uint64_t ready_ns_ = 0;
  std::uint64_t user_data_ = 0;
  Result<void> outcome_;
  struct {
    std::int64_t seconds = 0;
    long long nanoseconds = 0;
  } until_;  ///< as the kernel reads it
  bool done_ = false;
  bool in_flight_ = false;
};

}  // namespace hal
