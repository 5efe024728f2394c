// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/threaded_channel.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "drivers/dma/futex.hpp"

namespace drivers::dma {
namespace {

constexpr std::size_t kThreadNameBytes = 15;

/// Blocks the signals of the process in a thread that is started meanwhile: they are meant for the
/// program's own threads. Faults are left, because blocked ones kill without a handler's chance.
class NoSignals {
 public:
  NoSignals() {
    sigset_t blocked;
    ::sigfillset(&blocked);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) {
      ::sigdelset(&blocked, fault);
    }
    ::pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;
  ~NoSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

ThreadedChannel::ThreadedChannel(std::chrono::nanoseconds spin) noexcept
    : spin_(spinning_helps() ? spin : std::chrono::nanoseconds::zero()) {}

hal::Result<void> ThreadedChannel::start(const std::string& name,
                                         std::move_only_function<void() noexcept> work) {
  const std::lock_guard joining(join_mutex_);
  try {
    const NoSignals while_starting;
    thread_ = std::thread(std::move(work));
  } catch (const std::system_error& error) {
    return resmgr::fail_errno(error.code().value(), "thread of a DMA channel");
  }
  thread_id_ = thread_.get_id();
  ::pthread_setname_np(thread_.native_handle(), name.substr(0, kThreadNameBytes).c_str());
  return {};
}

void ThreadedChannel::join() noexcept {
  if (on_thread()) return;
  const std::lock_guard joining(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

hal::Result<void> ThreadedChannel::wait(const Ticket& ticket, Clock::time_point deadline) {
  if (auto mine = check_owner(ticket); !mine) return mine;
  if (auto ended = wait_for(*ticket.batch(), deadline); !ended) return ended;
  return ticket.result();
}

hal::Result<void> ThreadedChannel::check_owner(const Ticket& ticket) const {
  if (ticket && ticket.batch()->owner() == this) return {};
  return fail(hal::ErrorCode::InvalidArgument, "ticket of another channel, or none");
}

hal::Result<void> ThreadedChannel::wait_for(Batch& batch, Clock::time_point deadline) const {
  if (on_thread() && !batch.finished()) {
    return fail(hal::ErrorCode::Deadlock, "a callback waits for work behind it");
  }
  if (!batch.wait(deadline, spin_)) return fail(hal::ErrorCode::TimedOut, "DMA batch");
  return {};
}

hal::Result<int> ThreadedChannel::completion_fd() {
  const std::lock_guard lock(event_mutex_);
  if (!event_) {
    event_ = hal::UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event_) return resmgr::fail_errno(errno, "eventfd");
    event_fd_.store(event_.get(), std::memory_order_release);
  }
  return event_.get();
}

void ThreadedChannel::tell(const std::shared_ptr<Batch>& batch) noexcept {
  if (Callback on_done = batch->take_callback()) on_done(Ticket(batch));
  const int event = event_fd_.load(std::memory_order_acquire);
  if (event >= 0) ::eventfd_write(event, 1);
}

hal::Result<void> ThreadedChannel::drain(Clock::time_point deadline) {
  // Each of them: one that was cancelled is finished before those in front of it.
  for (const auto& batch : in_flight()) {
    if (auto ended = wait_for(*batch, deadline); !ended) return ended;
  }
  return {};
}

hal::Result<void> ThreadedChannel::quiesce(Clock::time_point deadline) {
  const auto batches = in_flight();
  for (const auto& batch : batches) {
    if (auto asked = cancel(Ticket(batch)); !asked) return std::unexpected(asked.error());
  }
  for (const auto& batch : batches) {
    if (auto ended = wait_for(*batch, deadline); !ended) return ended;
  }
  return {};
}

}  // namespace drivers::dma
