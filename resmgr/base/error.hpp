// SPDX-License-Identifier: Apache-2.0
//
// Error: what every fallible call returns, with the blame for waits.
//
// What it is: a code, the errno behind it, who is in the way (driver, pid, context, age), and for
// deadlocks the whole cycle. `message()` is one line a person can act on. What it is not: an
// exception; nothing in this project throws across its interfaces.
//
// Lifetime: owns everything it names; valid after the domain is gone. Making an Error allocates
// only where it has an ErrorDetail. Thread-safety: a plain value.
//
//   auto hold = manager.try_acquire(handle);
//   if (!hold && hold.error() == hal::ErrorCode::WouldBlock)
//     log(hold.error().message());   // "gpu0/frame/3 is held by dma-edu (pid 812, ...) for 3.1 ms"
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "resmgr/base/export.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr {

enum class ErrorCode : int {
  InvalidArgument = 1,  ///< a parameter is out of its documented range
  InvalidName,          ///< a name is empty, too long, or outside [A-Za-z0-9._/-]
  NotFound,             ///< nothing is registered under that name
  AlreadyExists,        ///< the name is taken
  StaleHandle,          ///< the handle's resource is gone, or it never was a handle of this domain
  Revoked,              ///< this hold was fenced
  Preempted,            ///< wounded by an Emergency request
  NotPermitted,         ///< rights are missing, or the caller does not hold what it releases
  NotShareable,         ///< the resource does not allow what sharing or shared holds need
  WouldBlock,           ///< not available at once
  TimedOut,             ///< not available in time
  Cancelled,            ///< the request was withdrawn
  Deadlock,             ///< waiting would close a cycle
  OrderViolation,       ///< classes are acquired in an order that inverts a known one
  BudgetExceeded,       ///< see requested() and available()
  PoolExhausted,        ///< a pool has no block left
  CapacityExceeded,     ///< a table of the domain is full
  OwnerDied,            ///< the owner of the resource died and it was destroyed
  Quarantined,          ///< not granted until its owner reports it quiet
  DependencyCycle,      ///< the edge would close a cycle
  InUse,                ///< held, or needed by others
  Disconnected,         ///< the manager is closed or gone
  VersionMismatch,      ///< other layout; see both numbers in message()
  Unsupported,          ///< this kernel, machine or build can't
  System,               ///< a system call failed; see system_errno()
};

/// They are numbered from 1 without a gap.
inline constexpr int kErrorCodes = 25;

/// The category of ErrorCode in std::error_code.
[[nodiscard]] RESMGR_EXPORT const std::error_category& error_category() noexcept;
[[nodiscard]] RESMGR_EXPORT std::string_view to_string(ErrorCode code) noexcept;
/// For std::error_code's constructor, which finds it by argument-dependent lookup.
[[nodiscard]] inline std::error_code make_error_code(ErrorCode code) noexcept {
  return {static_cast<int>(code), error_category()};
}

/// One party of a wait or a cycle.
struct Participant {
  std::uint32_t context = 0;
  std::uint32_t pid = 0;
  std::uint64_t held_ns = 0;  ///< how long it has had, or waited for, `handle`
  Handle handle;              ///< what it holds, or, in a cycle, what it waits for
  HoldKind kind = HoldKind::Exclusive;
  std::array<char, 32> driver{};    ///< zero-terminated; empty when unnamed
  std::array<char, 96> resource{};  ///< name of `handle`, zero-terminated
};

/// What does not fit into the error itself: for deadlocks, lock-order reports, refusals by a rule.
struct ErrorDetail {
  /// Deadlock, Preempted: each participant waits for the next one's hold, the last for the first's.
  std::vector<Participant> cycle;
  std::string text;  ///< further explanation, one line
};

class [[nodiscard]] RESMGR_EXPORT Error {
 public:
  explicit Error(ErrorCode code) noexcept : code_(code) {}
  /// `context` must have static storage: it says what was tried, e.g. "timerfd_create".
  Error(ErrorCode code, const char* context) noexcept : code_(code), context_(context) {}
  /// For failed system calls; code System, or the better fitting one for ENOMEM, EPERM, ENOSYS.
  [[nodiscard]] static Error from_errno(int errno_value, const char* context) noexcept;

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  /// The errno behind it, 0 if none.
  [[nodiscard]] int system_errno() const noexcept { return errno_; }
  [[nodiscard]] std::error_code error_code() const noexcept;
  /// One line: what happened, to which resource, who is in the way. Allocates.
  [[nodiscard]] std::string message() const;
  /// What was tried; static text, may be empty.
  [[nodiscard]] const char* context() const noexcept { return context_; }

  /// WouldBlock, TimedOut, InUse, Deadlock: the first holder in the way; context 0 if it had gone
  /// when we looked.
  [[nodiscard]] const Participant& blame() const noexcept { return blame_; }
  /// How many holders or earlier waiters are in the way, `blame()` among them.
  [[nodiscard]] std::uint32_t blamed() const noexcept { return blamed_; }
  /// Deadlock, Preempted: all participants; empty if the cycle dissolved before it was named.
  [[nodiscard]] const std::vector<Participant>& cycle() const noexcept;
  /// Further explanation, for example both places of a lock-order inversion; may be empty.
  [[nodiscard]] std::string_view detail() const noexcept;
  /// BudgetExceeded, CapacityExceeded: what was asked for, and what there is.
  [[nodiscard]] std::uint64_t requested() const noexcept { return requested_; }
  [[nodiscard]] std::uint64_t available() const noexcept { return available_; }

  Error& with_blame(const Participant& who, std::uint32_t count) noexcept;
  Error& with_detail(ErrorDetail detail);
  Error& with_detail(std::unique_ptr<ErrorDetail> detail) noexcept {
    detail_ = std::move(detail);
    return *this;
  }
  /// The errno behind a code that came from elsewhere.
  Error& with_errno(int errno_value) noexcept {
    errno_ = errno_value;
    return *this;
  }
  Error& with_amounts(std::uint64_t requested, std::uint64_t available) noexcept;

  Error(const Error& other);
  Error& operator=(const Error& other);
  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  ~Error() = default;

  friend bool operator==(const Error& error, ErrorCode code) noexcept {
    return error.code_ == code;
  }

 private:
  ErrorCode code_;
  int errno_ = 0;
  const char* context_ = "";
  std::uint32_t blamed_ = 0;
  Participant blame_;
  std::uint64_t requested_ = 0;
  std::uint64_t available_ = 0;
  std::unique_ptr<ErrorDetail> detail_;
};

template <typename T>
using Result = std::expected<T, Error>;

/// Shorthand for `return std::unexpected(Error(...))`.
[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code,
                                                 const char* context = "") noexcept {
  return std::unexpected<Error>(Error(code, context));
}
[[nodiscard]] inline std::unexpected<Error> fail_errno(int errno_value,
                                                       const char* context) noexcept {
  return std::unexpected<Error>(Error::from_errno(errno_value, context));
}

/// Copies `text`, cut to fit, into a zero-terminated array.
template <std::size_t N>
constexpr void copy_text(std::array<char, N>& to, std::string_view text) noexcept {
  const std::size_t count = text.size() < N - 1 ? text.size() : N - 1;
  for (std::size_t i = 0; i < count; ++i) to[i] = text[i];
  to[count] = '\0';
}

}  // namespace resmgr

template <>
struct std::is_error_code_enum<resmgr::ErrorCode> : std::true_type {};
