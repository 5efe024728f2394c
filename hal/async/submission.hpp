// SPDX-License-Identifier: Apache-2.0
//
// Submission queue entries for waiting on a futex.
//
// What it is: the entries that liburing 2.3 has no helpers for, and whether the kernel knows them.
// What it is not: a ring. Lifetime: none; what an entry points at must stay until it is submitted.
// Thread-safety: any thread.
//
//   put_futex_wait(*sqe, word, value, user_data);
//   put_deadline(*sqe, *next, deadline, user_data);   // the two are linked
#pragma once

#include <liburing.h>

#include <cstdint>

#include <hal/resource.hpp>

namespace hal::async {

/// Whether io_uring is allowed here and has IORING_OP_FUTEX_WAIT (Linux 6.7); asked once.
[[nodiscard]] bool has_futex_operations() noexcept;
/// What AsyncPath::Auto stands for.
[[nodiscard]] inline AsyncPath usual_path(AsyncPath asked) noexcept {
  if (asked != AsyncPath::Auto) return asked;
  return has_futex_operations() ? AsyncPath::Futex : AsyncPath::Doorbell;
}
/// Whether a completion says that the kernel has no such operation, or none for this ring. What was
/// woken, cancelled or is over says other things.
[[nodiscard]] bool is_refusal(int result) noexcept;
/// Completes when the descriptor is readable.
void put_poll(io_uring_sqe& sqe, int fd, std::uint64_t user_data) noexcept;
/// Completes when the futex is woken, or at once if it does not say `value`.
void put_futex_wait(io_uring_sqe& sqe, const std::uint32_t* futex, std::uint32_t value,
                    std::uint64_t user_data) noexcept;
/// Links a deadline to the entry before it.
void put_deadline(io_uring_sqe& before, io_uring_sqe& sqe, const __kernel_timespec& deadline,
                  std::uint64_t user_data) noexcept;
/// Completes at once.
void put_nothing(io_uring_sqe& sqe, std::uint64_t user_data) noexcept;
/// Of CLOCK_MONOTONIC.
[[nodiscard]] __kernel_timespec to_timespec(std::uint64_t ns) noexcept;

}  // namespace hal::async
