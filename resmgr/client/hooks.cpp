// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/hooks.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <new>
#include <system_error>
#include <utility>

#include "resmgr/base/clock.hpp"

namespace resmgr::client {
namespace {

// What a time point can say.
constexpr auto kLatestWakeNs = std::numeric_limits<std::int64_t>::max();

}  // namespace

HookTable::~HookTable() { stop(); }

// REQUIRES: mutex_ held.
Result<void> HookTable::start() {
  if (thread_.joinable()) return {};
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return fail_errno(error.code().value(), "hook thread");
  }
  return {};
}

Result<void> HookTable::schedule(std::uint64_t due_ns, std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return {};
  if (auto started = start(); !started) return started;
  jobs_.emplace(due_ns, std::move(job));
  ready_.notify_one();
  return {};
}

Result<void> HookTable::add(Handle handle, Hooks hooks) {
  const std::lock_guard lock(mutex_);
  if (auto started = start(); !started) return started;
  auto entry = std::make_shared<Entry>();
  entry->handle = handle;
  if (hooks.on_create) entry->created.push_back({handle, std::move(hooks.on_create)});
  if (hooks.on_cleanup) entry->removed.push_back({handle, std::move(hooks.on_cleanup)});
  entry->on_access = std::move(hooks.on_access);
  entry->on_quiesce = std::move(hooks.on_quiesce);
  Entry& added = *entry;
  entries_.insert_or_assign(handle, std::move(entry));
  if (const auto early = early_.extract(handle)) ask(added, early.mapped());
  return {};
}

std::shared_ptr<void> HookTable::forget(Handle handle) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  if (found == entries_.end()) return nullptr;
  leave_queues(*found->second);
  std::shared_ptr<void> gone = std::move(found->second);
  entries_.erase(found);
  return gone;
}

void HookTable::created(Handle handle) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  if (found == entries_.end()) return;
  Entry& entry = *found->second;
  events_.splice(events_.end(), entry.created);
  entry.told_of = true;
  if (entry.early) tell_access(entry);
  ready_.notify_one();
}

void HookTable::accessed(Handle handle) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  if (found == entries_.end()) return;
  Entry& entry = *found->second;
  if (entry.queued || entry.muted || !entry.on_access) return;
  if (!entry.told_of) {
    entry.early = true;
    return;
  }
  tell_access(entry);
  ready_.notify_one();
}

// REQUIRES: mutex_ held, and the entry is not queued.
void HookTable::tell_access(Entry& entry) noexcept {
  entry.queued = true;
  accessed_.push_back(entry);
}

void HookTable::quiesce(Handle handle, std::uint32_t attempt) noexcept try {
  const std::lock_guard lock(mutex_);
  if (const auto found = entries_.find(handle); found != entries_.end()) {
    ask(*found->second, attempt);
    return;
  }
  // What was unregistered meanwhile nobody comes for.
  constexpr std::size_t kMostEarly = 1024;
  if (early_.size() >= kMostEarly) early_.clear();
  early_[handle] = attempt;
} catch (const std::bad_alloc&) {
  // He is asked again.
}

// REQUIRES: mutex_ held.
void HookTable::ask(Entry& entry, std::uint32_t attempt) noexcept {
  if (!entry.on_quiesce) return;
  if (std::exchange(entry.attempt, attempt) == 0) asked_.push_back(entry);
  ready_.notify_one();
}

// REQUIRES: mutex_ held.
void HookTable::leave_queues(Entry& entry) noexcept {
  if (entry.queued) accessed_.erase(accessed_.iterator_to(entry));
  if (entry.attempt != 0) asked_.erase(asked_.iterator_to(entry));
}

void HookTable::mute(Handle handle, bool muted) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  if (found != entries_.end()) found->second->muted = muted;
}

// Here and in run(), what an author's hooks hold on to goes under no lock: a destructor of his may
// unregister something.
void HookTable::remove(Handle handle) noexcept {
  std::shared_ptr<Entry> gone;
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  if (found == entries_.end()) return;
  Entry& entry = *found->second;
  leave_queues(entry);
  events_.splice(events_.end(), entry.removed);
  gone = std::move(found->second);
  entries_.erase(found);
  ready_.notify_one();
}

void HookTable::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    ready_.notify_one();
  }
  // A hook that closes the manager can't wait for itself.
  if (thread_.joinable() && thread_.get_id() != std::this_thread::get_id()) thread_.join();
  decltype(entries_) gone;
  decltype(jobs_) too_late;
  const std::lock_guard lock(mutex_);
  too_late.swap(jobs_);
  accessed_.clear();
  asked_.clear();
  gone.swap(entries_);
}

bool HookTable::on_own_thread() const noexcept {
  const std::lock_guard lock(mutex_);
  return thread_.get_id() == std::this_thread::get_id();
}

bool HookTable::empty() const noexcept {
  const std::lock_guard lock(mutex_);
  return entries_.empty();
}

template <typename Hook, typename... Arguments>
void HookTable::call(const Hook& hook, Arguments... arguments) noexcept {
  try {
    hook(arguments...);
  } catch (...) {
    // An author's hook that throws must not end the process.
  }
}

void HookTable::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto job_is_due = [&] {
      return !jobs_.empty() && jobs_.begin()->first <= monotonic_ns();
    };
    const auto has_something = [&] {
      return stopping_ || !events_.empty() || !accessed_.empty() || !asked_.empty() || job_is_due();
    };
    while (!has_something()) {
      if (jobs_.empty()) {
        ready_.wait(lock);
      } else {
        // The steady clock is CLOCK_MONOTONIC. What comes earlier wakes it.
        const std::chrono::nanoseconds due(
            std::min(jobs_.begin()->first, std::uint64_t{kLatestWakeNs}));
        ready_.wait_until(lock, std::chrono::steady_clock::time_point(due));
      }
    }
    if (job_is_due() && !stopping_) {
      const auto job = jobs_.extract(jobs_.begin());
      lock.unlock();
      call(job.mapped());
      lock.lock();
    } else if (!asked_.empty()) {
      Entry& entry = asked_.front();
      asked_.pop_front();
      const std::uint32_t attempt = std::exchange(entry.attempt, 0u);
      auto keep = entries_.at(entry.handle);
      lock.unlock();
      call(keep->on_quiesce, keep->handle, attempt);
      keep.reset();
      lock.lock();
    } else if (!events_.empty()) {
      std::list<Event> told;
      told.splice(told.end(), events_, events_.begin());
      lock.unlock();
      call(told.front().call, told.front().handle);
      told.clear();
      lock.lock();
    } else if (!accessed_.empty()) {
      Entry& entry = accessed_.front();
      accessed_.pop_front();
      entry.queued = false;
      // A copy: the resource may be unregistered while its hook runs.
      auto keep = entries_.at(entry.handle);
      lock.unlock();
      call(keep->on_access, keep->handle);
      keep.reset();
      lock.lock();
    } else {
      return;  // stopping, and everything was told
    }
  }
}

}  // namespace resmgr::client
