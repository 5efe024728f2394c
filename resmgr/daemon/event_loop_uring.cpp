// SPDX-License-Identifier: Apache-2.0
//
// The io_uring backend: a one-shot poll for each descriptor, put into the ring anew after each
// report, which is what makes it level-triggered: a poll of what is ready completes at once.
//
// The kernel never sees an address of ours. What comes back is an index and a generation, and each
// poll has a generation of its own: completions of polls that were taken back find nobody.
#include <liburing.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "resmgr/daemon/event_loop.hpp"
#include "resmgr/daemon/event_loop_backend.hpp"

namespace resmgr::daemon {
namespace {

constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;

// Of the submission queue. More only means more calls; what does not fit into the completion queue,
// which is twice as long, the kernel keeps.
constexpr unsigned kSubmissions = 256;

// Waiting with a timeout (Linux 5.11), and keeping completions that find the queue full (5.5).
constexpr unsigned kNeededFeatures = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;

// Best first: the kernel works for the ring only when asked (Linux 6.1), without interrupting
// (5.19), or whenever. The flag that there is work makes a turn see all that is ready.
constexpr std::array<unsigned, 3> kSetups{
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    0,
};

// Of completions that tell nothing: those of taking back. No index is as high.
constexpr std::uint64_t kNobody = ~std::uint64_t{0};

// Whether it passes, or is for the next turn: a signal, a timeout, memory, a full queue.
constexpr bool is_passing(int error) noexcept {
  return error == EINTR || error == ETIME || error == EAGAIN || error == EBUSY || error == EBADR;
}

class UringPoller final : public Poller {
 public:
  UringPoller() noexcept = default;
  UringPoller(const UringPoller&) = delete;
  UringPoller& operator=(const UringPoller&) = delete;
  ~UringPoller() override {
    if (open_) ::io_uring_queue_exit(&ring_);
  }

  // For create() alone.
  Result<void> open() noexcept {
    int result = -EINVAL;
    for (std::size_t i = 0; i < kSetups.size() && result == -EINVAL; ++i) {
      result = ::io_uring_queue_init(kSubmissions, &ring_, kSetups[i]);
    }
    if (result < 0) return fail_errno(-result, "io_uring_setup");
    open_ = true;
    if ((ring_.features & kNeededFeatures) != kNeededFeatures) {
      return fail(ErrorCode::Unsupported, "this kernel's io_uring");
    }
    return {};
  }

  Result<void> add(std::uint32_t index, int fd, unsigned events) override {
    if (index >= entries_.size()) entries_.resize(index + std::size_t{1});
    unsettled_.reserve(entries_.capacity());
    entries_[index].fd = fd;
    entries_[index].events = events;
    unsettle(index);
    return {};
  }

  void change(std::uint32_t index, unsigned events) noexcept override {
    Entry& entry = entries_[index];
    if (entry.events == events) return;
    entry.events = events;
    take_back(index);
  }

  void remove(std::uint32_t index) noexcept override {
    Entry& entry = entries_[index];
    entry.fd = -1;
    take_back(index);
    // At once, for a poll keeps its file open: who closes the descriptor would not close the file.
    // Completions are asked for because the kernel lets go of the file with the poll's.
    if (entry.taken_back && put_removal(index)) (void)::io_uring_submit_and_get_events(&ring_);
  }

  Result<void> wait(std::uint64_t deadline_ns, std::vector<FdReport>& reports) noexcept override {
    do {
      const bool settled = settle();
      const std::uint64_t left = settled ? time_left(deadline_ns) : 0;
      __kernel_timespec timeout{
          .tv_sec = static_cast<std::int64_t>(left / kNanosecondsPerSecond),
          .tv_nsec = static_cast<long long>(left % kNanosecondsPerSecond),
      };
      io_uring_cqe* first = nullptr;
      const int result = ::io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr);
      if (result < 0 && !is_passing(-result)) return fail_errno(-result, "io_uring_enter");
      collect(reports);
      // Completions that tell nothing end the wait, too.
    } while (reports.empty() && time_left(deadline_ns) > 0);
    return {};
  }

 private:
  struct Entry {
    int fd = -1;  // -1: free
    unsigned events = 0;
    std::uint32_t generation = 0;  // of its last poll
    bool polled = false;           // that poll is in the ring
    bool taken_back = false;       // or it is to be removed from there
    bool unsettled = false;        // it is in `unsettled_`
  };

  static constexpr std::uint64_t name_of(std::uint32_t index, std::uint32_t generation) noexcept {
    return std::uint64_t{generation} << 32 | index;
  }

  void unsettle(std::uint32_t index) noexcept {
    if (!std::exchange(entries_[index].unsettled, true)) unsettled_.push_back(index);
  }

  // At most one poll of an index waits for its removal: it gets the next one only after that.
  void take_back(std::uint32_t index) noexcept {
    Entry& entry = entries_[index];
    if (!std::exchange(entry.polled, false)) return;
    entry.taken_back = true;
    unsettle(index);
  }

  // Brings the ring to what `entries_` say. False if the kernel has no room for that now.
  bool settle() noexcept {
    std::size_t done = 0;
    while (done < unsettled_.size() && settle(unsettled_[done])) ++done;
    unsettled_.erase(unsettled_.begin(), unsettled_.begin() + static_cast<std::ptrdiff_t>(done));
    return unsettled_.empty();
  }

  bool settle(std::uint32_t index) noexcept {
    Entry& entry = entries_[index];
    if (entry.taken_back && !put_removal(index)) return false;
    if (entry.fd >= 0 && !entry.polled && !put_poll(index)) return false;
    entry.unsettled = false;
    return true;
  }

  bool put_removal(std::uint32_t index) noexcept {
    io_uring_sqe* const request = next_request();
    if (request == nullptr) return false;
    Entry& entry = entries_[index];
    ::io_uring_prep_poll_remove(request, name_of(index, entry.generation));
    request->user_data = kNobody;
    entry.taken_back = false;
    return true;
  }

  bool put_poll(std::uint32_t index) noexcept {
    io_uring_sqe* const request = next_request();
    if (request == nullptr) return false;
    Entry& entry = entries_[index];
    ::io_uring_prep_poll_add(request, entry.fd, entry.events | EventLoop::kAlwaysReported);
    request->user_data = name_of(index, ++entry.generation);
    entry.polled = true;
    return true;
  }

  io_uring_sqe* next_request() noexcept {
    io_uring_sqe* request = ::io_uring_get_sqe(&ring_);
    if (request == nullptr && ::io_uring_submit(&ring_) > 0) request = ::io_uring_get_sqe(&ring_);
    return request;
  }

  // Ends, for each poll completes once and the next one is put only by the next wait.
  void collect(std::vector<FdReport>& reports) noexcept {
    do {
      unsigned head = 0;
      unsigned count = 0;
      io_uring_cqe* completion = nullptr;
      io_uring_for_each_cqe(&ring_, head, completion) {
        take(*completion, reports);
        ++count;
      }
      ::io_uring_cq_advance(&ring_, count);
      // Nothing came: who has work for us says so after it is there, and when we have done it by
      // then, that is never taken back.
    } while (more_to_come() && ::io_uring_get_events(&ring_) >= 0 &&
             ::io_uring_cq_ready(&ring_) != 0);
    // What even the kernel had no memory to keep is lost: ask for everything anew.
    const unsigned lost = IO_URING_READ_ONCE(*ring_.cq.koverflow);
    if (std::exchange(lost_, lost) != lost) {
      for (std::uint32_t index = 0; index < entries_.size(); ++index) take_back(index);
    }
  }

  [[nodiscard]] bool more_to_come() const noexcept {
    return (IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) !=
           0;
  }

  void take(const io_uring_cqe& completion, std::vector<FdReport>& reports) noexcept {
    const auto index = static_cast<std::uint32_t>(completion.user_data);
    if (index >= entries_.size()) return;
    Entry& entry = entries_[index];
    if (!entry.polled || completion.user_data != name_of(index, entry.generation)) return;
    entry.polled = false;
    unsettle(index);
    const unsigned events = events_of(completion.res) & (entry.events | EventLoop::kAlwaysReported);
    if (events != 0) reports.push_back({.index = index, .events = events});
  }

  // A poll that failed is put again like any other, so that this may pass.
  static unsigned events_of(int result) noexcept {
    if (result >= 0) return static_cast<unsigned>(result);
    return result == -EBADF ? POLLNVAL : POLLERR;
  }

  io_uring ring_{};
  bool open_ = false;
  unsigned lost_ = 0;                     // completions, as the ring counts them
  std::vector<Entry> entries_;            // by index
  std::vector<std::uint32_t> unsettled_;  // each once, with room for all
};

Result<std::unique_ptr<Poller>> create() {
  auto poller = std::make_unique<UringPoller>();
  if (auto opened = poller->open(); !opened) return std::unexpected(std::move(opened.error()));
  return poller;
}

}  // namespace

const LoopBackend kUringBackend{.name = "io_uring", .create = create};

}  // namespace resmgr::daemon
