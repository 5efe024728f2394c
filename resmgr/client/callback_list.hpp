// SPDX-License-Identifier: Apache-2.0
//
// CallbackList: callbacks of authors that are called one after the other, by rank and age.
//
// What it is: a list that may change while it is being gone through, by callbacks too. What it is
// not: a thread; whoever goes through it is one at a time. What a callback throws ends there.
//
// Lifetime: of the domain. Thread-safety: all functions from any thread. When remove() returns the
// callback does not run, unless it is the caller.
//
//   const auto id = list.add(callback, rank);
//   list.for_each([&](const Callback& call) { call(event); return true; });
//   list.remove(id);
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace resmgr::client {

template <typename Callback>
class CallbackList {
 public:
  /// Those of lower rank are called first, and of one rank the older. Returns its number, never 0.
  /// May throw std::bad_alloc.
  [[nodiscard]] std::uint64_t add(Callback callback, int rank = 0) {
    auto kept = std::make_shared<const Callback>(std::move(callback));
    const std::lock_guard lock(mutex_);
    const std::uint64_t id = ++last_id_;
    entries_.emplace(Place(rank, id), std::move(kept));
    return id;
  }
  /// Of a number that there is not, nothing.
  void remove(std::uint64_t id) noexcept {
    std::shared_ptr<const Callback> gone;  // what it holds on to goes under no lock
    std::unique_lock lock(mutex_);
    for (auto each = entries_.begin(); each != entries_.end(); ++each) {
      if (each->first.second != id) continue;
      gone = std::move(each->second);
      entries_.erase(each);
      break;
    }
    done_.wait(lock, [&] { return running_ != id || runner_ == std::this_thread::get_id(); });
  }
  [[nodiscard]] bool empty() const noexcept {
    const std::lock_guard lock(mutex_);
    return entries_.empty();
  }
  void clear() noexcept {
    decltype(entries_) gone;
    const std::lock_guard lock(mutex_);
    gone.swap(entries_);
  }

  /// Calls `visit` with each, under no lock, until it returns false. REQUIRES: one at a time.
  template <typename Visit>
  void for_each(Visit&& visit) {
    std::unique_lock lock(mutex_);
    runner_ = std::this_thread::get_id();
    for (auto next = entries_.begin(); next != entries_.end();) {
      const Place place = next->first;
      const auto keep = next->second;
      running_ = place.second;
      lock.unlock();
      bool goes_on = true;
      try {
        goes_on = visit(*keep);
      } catch (...) {
        // An author's callback that throws must not end the process.
      }
      lock.lock();
      running_ = 0;
      done_.notify_all();
      if (!goes_on) return;
      next = entries_.upper_bound(place);
    }
  }

 private:
  using Place = std::pair<int, std::uint64_t>;  ///< rank, number

  mutable std::mutex mutex_;
  std::condition_variable done_;
  std::map<Place, std::shared_ptr<const Callback>> entries_;
  std::uint64_t last_id_ = 0;
  std::uint64_t running_ = 0;
  std::thread::id runner_;
};

}  // namespace resmgr::client
