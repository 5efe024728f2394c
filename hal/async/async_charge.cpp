// SPDX-License-Identifier: Apache-2.0
#include <liburing.h>

#include <hal/meter.hpp>

#include "hal/async/submission.hpp"
#include "hal/src/convert.hpp"
#include "hal/src/meter_state.hpp"
#include "resmgr/base/clock.hpp"

namespace hal {

using resmgr::fail;

// Its tokens are taken at once, and come while it waits.
AsyncCharge::AsyncCharge(Meter& meter, std::uint64_t amount,
                         std::chrono::nanoseconds timeout) noexcept
    : meter_(&meter), amount_(amount) {
  auto asked = meter.state_->meter();
  if (!asked) {
    outcome_ = std::unexpected(std::move(asked.error()));
    done_ = true;
    return;
  }
  const std::uint64_t now = resmgr::monotonic_ns();
  const auto charge = asked->charge_by(amount, now, convert::latest(timeout));
  if (!charge) {
    outcome_ = std::unexpected(charge.error());
  } else if (!charge->taken) {
    outcome_ = fail(ErrorCode::TimedOut, "meter");
  } else {
    ready_ns_ = charge->ready_ns;
  }
  done_ = !outcome_ || ready_ns_ <= now;
}

AsyncCharge::~AsyncCharge() {
  if (!done_) (void)meter_->refund(amount_);
}

Result<void> AsyncCharge::prepare(io_uring_sqe* sqe, std::uint64_t user_data) noexcept {
  if (done_ || in_flight_) return fail(ErrorCode::InvalidArgument, "nothing to wait for");
  if (sqe == nullptr) return fail(ErrorCode::CapacityExceeded, "submission queue");
  const __kernel_timespec until = async::to_timespec(ready_ns_);
  static_assert(sizeof(until_) == sizeof(until));
  until_ = {.seconds = until.tv_sec, .nanoseconds = until.tv_nsec};
  io_uring_prep_timeout(sqe, reinterpret_cast<__kernel_timespec*>(&until_), 0, IORING_TIMEOUT_ABS);
  sqe->user_data = user_data;
  user_data_ = user_data;
  in_flight_ = true;
  return {};
}

bool AsyncCharge::complete(const io_uring_cqe* completion) noexcept {
  if (completion == nullptr || !in_flight_ || completion->user_data != user_data_) return false;
  in_flight_ = false;
  done_ = resmgr::monotonic_ns() >= ready_ns_;
  return true;
}

}  // namespace hal
