// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/event_loop.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "resmgr/base/clock.hpp"

namespace resmgr::daemon {
namespace {

// Best first.
constexpr std::array<const LoopBackend*, 2> kBackends{
    &kUringBackend,
    &kPollBackend,
};

std::span<const LoopBackend* const> candidates_for(EventLoop::Backend backend) noexcept {
  static constexpr std::array<const LoopBackend*, 1> kUring{&kUringBackend};
  static constexpr std::array<const LoopBackend*, 1> kPoll{&kPollBackend};
  switch (backend) {
    case EventLoop::Backend::Uring:
      return kUring;
    case EventLoop::Backend::Poll:
      return kPoll;
    case EventLoop::Backend::Automatic:
      break;
  }
  return kBackends;
}

// Whether the machine does without this backend, or forbids it. Other errors are not passed over:
// they would strike again later, and where it is harder to say why.
bool is_refused(const Error& error) noexcept {
  switch (error.system_errno()) {
    case EPERM:
    case EACCES:
    case ENOSYS:
    case EOPNOTSUPP:
    case ENOMEM:  // before Linux 5.12 a ring counts against RLIMIT_MEMLOCK
      return true;
    default:
      return error == ErrorCode::Unsupported;
  }
}

}  // namespace

Watcher::~Watcher() {
  if (loop_ != nullptr) loop_->forget(*this);
}

EventLoop::EventLoop(std::string_view backend_name, std::unique_ptr<Poller> poller) noexcept
    : backend_name_(backend_name), poller_(std::move(poller)), owner_(::getpid()) {}

EventLoop::~EventLoop() {
  for (Watcher* const watcher : watchers_) {
    if (watcher != nullptr) forget(*watcher);
  }
}

Result<std::unique_ptr<EventLoop>> EventLoop::create(Backend backend) {
  return create(candidates_for(backend));
}

Result<std::unique_ptr<EventLoop>> EventLoop::create(
    std::span<const LoopBackend* const> candidates) {
  auto poller = candidates.front()->create();
  while (!poller && is_refused(poller.error()) && candidates.size() > 1) {
    candidates = candidates.subspan(1);
    poller = candidates.front()->create();
  }
  if (!poller) return std::unexpected(std::move(poller.error()));
  return std::unique_ptr<EventLoop>(new EventLoop(candidates.front()->name, *std::move(poller)));
}

bool EventLoop::in_child() const noexcept { return ::getpid() != owner_; }

Result<void> EventLoop::check(unsigned events) const noexcept {
  if (in_child()) return fail(ErrorCode::Disconnected, "event loop in a child of fork()");
  if ((events & ~kInterests) != 0) return fail(ErrorCode::InvalidArgument, "events to watch for");
  return {};
}

Result<void> EventLoop::watch(Watcher& watcher, int fd, unsigned events) {
  if (auto fine = check(events); !fine) return fine;
  if (watcher.loop_ != nullptr) return fail(ErrorCode::AlreadyExists, "watched already");
  if (::fcntl(fd, F_GETFD) < 0) {
    return fail(ErrorCode::InvalidArgument, "watching a descriptor that is not open");
  }
  if (free_indices_.empty()) add_index();
  const std::uint32_t index = free_indices_.back();
  if (auto added = poller_->add(index, fd, events); !added) return added;
  free_indices_.pop_back();
  watchers_[index] = &watcher;
  watcher.loop_ = this;
  watcher.index_ = index;
  watcher.wanted_ = events;
  return {};
}

void EventLoop::add_index() {
  watchers_.push_back(nullptr);
  reports_.reserve(watchers_.capacity());
  free_indices_.reserve(watchers_.capacity());
  free_indices_.push_back(static_cast<std::uint32_t>(watchers_.size() - 1));
}

Result<void> EventLoop::change(Watcher& watcher, unsigned events) noexcept {
  if (auto fine = check(events); !fine) return fine;
  if (watcher.loop_ != this) return fail(ErrorCode::NotFound, "not watched by this loop");
  poller_->change(watcher.index_, events);
  watcher.wanted_ = events;
  watcher.reported_ &= events | kAlwaysReported;
  if (watcher.reported_ == 0) watcher.hook_.unlink();
  return {};
}

void EventLoop::forget(Watcher& watcher) noexcept {
  if (watcher.loop_ != this) return;
  watcher.hook_.unlink();
  watcher.loop_ = nullptr;
  watchers_[watcher.index_] = nullptr;
  if (!in_child()) poller_->remove(watcher.index_);
  free_indices_.push_back(watcher.index_);
}

void EventLoop::arm(Timer& timer, std::uint64_t deadline_ns) noexcept {
  disarm(timer);
  timer.deadline_ns_ = deadline_ns;
  timers_.insert(timer);
}

Result<void> EventLoop::run() {
  while (!stopping_) {
    if (auto turn = run_once(kNever); !turn) return std::unexpected(std::move(turn.error()));
  }
  stopping_ = false;
  return {};
}

Result<bool> EventLoop::run_once(std::uint64_t deadline_ns) {
  if (auto fine = check(0); !fine) return std::unexpected(std::move(fine.error()));
  // Not empty after an exception. What is still ready is found again.
  ready_.clear();
  reports_.clear();
  auto waited = poller_->wait(std::min(deadline_ns, next_deadline()), reports_);
  if (!waited) return std::unexpected(std::move(waited.error()));
  collect();
  const bool timers_called = call_timers(Clock::now());
  return call_watchers() || timers_called;
}

std::uint64_t EventLoop::next_deadline() const noexcept {
  if (!due_.empty()) return 0;
  return timers_.empty() ? kNever : timers_.begin()->deadline_ns_;
}

// From here on a report is found by its watcher, so that who is forgotten takes it along.
void EventLoop::collect() noexcept {
  for (const FdReport& report : reports_) {
    Watcher& watcher = *watchers_[report.index];
    watcher.reported_ = report.events;
    ready_.push_back(watcher);
  }
}

bool EventLoop::call_timers(std::uint64_t now_ns) {
  while (!timers_.empty() && timers_.begin()->deadline_ns_ <= now_ns) {
    Timer& timer = *timers_.begin();
    timer.hook_.unlink();
    due_.insert(timer);
  }
  const bool any = !due_.empty();
  while (!due_.empty()) {
    Timer& timer = *due_.begin();
    timer.hook_.unlink();
    timer.expired(now_ns);
  }
  return any;
}

bool EventLoop::call_watchers() {
  const bool any = !ready_.empty();
  while (!ready_.empty()) {
    Watcher& watcher = ready_.front();
    ready_.pop_front();
    watcher.ready(std::exchange(watcher.reported_, 0));
  }
  return any;
}

}  // namespace resmgr::daemon
