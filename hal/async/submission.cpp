// SPDX-License-Identifier: Apache-2.0
#include "hal/async/submission.hpp"

#include <poll.h>

#include <cerrno>
#include <memory>

namespace hal::async {
namespace {

// Linux 6.7, include/uapi/linux/io_uring.h and futex.h; newer than the headers of Debian 12.
constexpr unsigned kFutexWait = 51;
constexpr int kFutexOf32Bits = 0x02;  // FUTEX2_SIZE_U32, shared
constexpr std::uint64_t kAnyWaker = 0xffffffff;

constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;

bool ask_for_futex_operations() noexcept {
  io_uring ring{};
  if (::io_uring_queue_init(2, &ring, 0) != 0) return false;
  const std::unique_ptr<io_uring_probe, void (*)(io_uring_probe*)> probe(
      ::io_uring_get_probe_ring(&ring), ::io_uring_free_probe);
  const bool has = probe && probe->last_op >= kFutexWait && probe->ops_len > kFutexWait &&
                   (probe->ops[kFutexWait].flags & IO_URING_OP_SUPPORTED) != 0;
  ::io_uring_queue_exit(&ring);
  return has;
}

}  // namespace

bool has_futex_operations() noexcept {
  static const bool has = ask_for_futex_operations();
  return has;
}

bool is_refusal(int result) noexcept {
  switch (-result) {
    case EACCES:  // restricted
    case EINVAL:
    case ENOSYS:
    case EOPNOTSUPP:
    case EPERM:
      return true;
    default:
      return false;
  }
}

void put_poll(io_uring_sqe& sqe, int fd, std::uint64_t user_data) noexcept {
  sqe = {};
  sqe.opcode = IORING_OP_POLL_ADD;
  sqe.fd = fd;
  sqe.poll32_events = POLLIN;  // little-endian, as the regions
  sqe.user_data = user_data;
}

void put_futex_wait(io_uring_sqe& sqe, const std::uint32_t* futex, std::uint32_t value,
                    std::uint64_t user_data) noexcept {
  sqe = {};
  sqe.opcode = kFutexWait;
  sqe.fd = kFutexOf32Bits;
  sqe.addr = reinterpret_cast<std::uint64_t>(futex);
  sqe.off = value;
  sqe.addr3 = kAnyWaker;
  sqe.user_data = user_data;
}

void put_deadline(io_uring_sqe& before, io_uring_sqe& sqe, const __kernel_timespec& deadline,
                  std::uint64_t user_data) noexcept {
  before.flags |= IOSQE_IO_LINK;
  sqe = {};
  sqe.opcode = IORING_OP_LINK_TIMEOUT;
  sqe.fd = -1;
  sqe.addr = reinterpret_cast<std::uint64_t>(&deadline);
  sqe.len = 1;
  sqe.timeout_flags = IORING_TIMEOUT_ABS;
  sqe.user_data = user_data;
}

void put_nothing(io_uring_sqe& sqe, std::uint64_t user_data) noexcept {
  sqe = {};
  sqe.opcode = IORING_OP_NOP;
  sqe.fd = -1;
  sqe.user_data = user_data;
}

__kernel_timespec to_timespec(std::uint64_t ns) noexcept {
  return {.tv_sec = static_cast<std::int64_t>(ns / kNanosecondsPerSecond),
          .tv_nsec = static_cast<long long>(ns % kNanosecondsPerSecond)};
}

}  // namespace hal::async
