// SPDX-License-Identifier: Apache-2.0
//
// ThreadedChannel: what channels with a thread of their own have in common.
//
// What it is: the thread, which tells of finished batches by callback and eventfd, and the waiting
// for it from other threads. What it is not: an engine; a backend derives from it and says what the
// thread does and what is in flight.
//
// Lifetime: the derived class joins the thread before its own members go. Thread-safety: as
// Channel; start() comes before everything else.
//
//   if (auto started = start(options.name, [this] { work(); }); !started) ...
//   tell(batch);                     // on the thread, for each batch that is finished
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <hal/resource.hpp>

#include "drivers/dma/batch.hpp"
#include "drivers/dma/channel.hpp"
#include "drivers/dma/ticket.hpp"

namespace drivers::dma {

/// How long to poll before sleeping, if nobody says otherwise. More than a sleeper needs to wake,
/// some 20 us: two threads that answer each other would else fall asleep in turn.
inline constexpr std::chrono::nanoseconds kUsualSpin = std::chrono::microseconds(30);

class ThreadedChannel : public Channel {
 public:
  hal::Result<void> wait(const Ticket& ticket, Clock::time_point deadline) override;
  [[nodiscard]] hal::Result<int> completion_fd() override;
  hal::Result<void> drain(Clock::time_point deadline) override;
  hal::Result<void> quiesce(Clock::time_point deadline) override;

 protected:
  /// `spin`: how long waiters poll before they sleep; not at all where there is only one CPU.
  explicit ThreadedChannel(std::chrono::nanoseconds spin) noexcept;
  /// REQUIRES: joined.
  ~ThreadedChannel() override = default;

  /// Starts the thread, named `name` cut to 15 bytes, with no signals but faults. Errors: System.
  hal::Result<void> start(const std::string& name, std::move_only_function<void() noexcept> work);
  /// Waits for the thread to end, except on the thread itself. May be repeated.
  void join() noexcept;
  /// Whether the caller is the thread, as a callback is.
  [[nodiscard]] bool on_thread() const noexcept { return std::this_thread::get_id() == thread_id_; }
  /// REQUIRES: started and not joined.
  [[nodiscard]] std::thread::native_handle_type thread() noexcept {
    return thread_.native_handle();
  }
  [[nodiscard]] std::chrono::nanoseconds spin() const noexcept { return spin_; }

  /// Tells that a batch is finished: calls its callback, if it has one, then rings the eventfd.
  void tell(const std::shared_ptr<Batch>& batch) noexcept;
  /// Errors: InvalidArgument (empty ticket, or of another channel).
  [[nodiscard]] hal::Result<void> check_owner(const Ticket& ticket) const;
  /// Waits until `batch` is finished. Errors: TimedOut, Deadlock.
  hal::Result<void> wait_for(Batch& batch, Clock::time_point deadline) const;
  /// The batches that were submitted and not told of yet.
  [[nodiscard]] virtual std::vector<std::shared_ptr<Batch>> in_flight() = 0;

 private:
  const std::chrono::nanoseconds spin_;

  std::mutex join_mutex_;  ///< guards thread_
  std::thread thread_;
  std::thread::id thread_id_;  ///< does not change while there are callers

  std::mutex event_mutex_;  ///< guards event_
  hal::UniqueFd event_;
  std::atomic<int> event_fd_{-1};  ///< of event_
};

}  // namespace drivers::dma
