// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/reply_line.hpp"

#include <algorithm>
#include <utility>

namespace drivers::dma {

using hal::ErrorCode;

ReplyLine::ReplyLine(RemoteReplies queue, std::size_t room, std::chrono::nanoseconds patience)
    : patience_(patience), queue_(std::move(queue)) {
  waiting_.reserve(room);  // so that send() allocates nothing
}

void ReplyLine::send(const wire::Reply& reply) noexcept {
  const std::lock_guard lock(mutex_);
  if (failure_) return;
  if (waiting_.empty()) {
    auto pushed = queue_.try_push(reply);
    if (pushed) return;
    if (pushed.error() != ErrorCode::WouldBlock) {
      failure_ = std::move(pushed.error());
      return;
    }
    stuck_since_ = Clock::now();
  }
  waiting_.push_back(reply);
}

hal::Result<bool> ReplyLine::flush(Clock::time_point deadline) noexcept {
  std::unique_lock lock(mutex_);
  while (!failure_ && !waiting_.empty()) {
    const wire::Reply oldest = waiting_.front();
    const Clock::time_point limit = stuck_since_ + patience_;
    lock.unlock();
    // Who sends meanwhile sees that some wait, and does not touch the ring.
    auto pushed = queue_.push(oldest, std::min(deadline, limit));
    lock.lock();
    if (failure_) break;
    const Clock::time_point now = Clock::now();
    if (pushed) {
      waiting_.erase(waiting_.begin());
      stuck_since_ = now;
    } else if (pushed.error() != ErrorCode::TimedOut) {
      failure_ = std::move(pushed.error());
    } else if (now >= limit) {
      failure_ = hal::Error(ErrorCode::TimedOut, "the client does not take its replies");
    } else {
      return false;
    }
  }
  if (failure_) return std::unexpected(*failure_);
  return true;
}

bool ReplyLine::idle() const noexcept {
  const std::lock_guard lock(mutex_);
  return waiting_.empty();
}

void ReplyLine::shut() noexcept {
  const std::lock_guard lock(mutex_);
  waiting_.clear();
  failure_ = hal::Error(ErrorCode::Disconnected, "replies");
}

}  // namespace drivers::dma
