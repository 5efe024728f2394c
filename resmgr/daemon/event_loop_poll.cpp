// SPDX-License-Identifier: Apache-2.0
//
// The poll backend: one array of descriptors, which each ppoll(2) goes through.
#include <poll.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <vector>

#include "resmgr/daemon/event_loop.hpp"
#include "resmgr/daemon/event_loop_backend.hpp"

namespace resmgr::daemon {
namespace {

constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;

// What ppoll() reports without being asked is no more than POLLERR, POLLHUP and POLLNVAL.
constexpr short asked(unsigned events) noexcept { return static_cast<short>(events | POLLRDHUP); }

class PpollPoller final : public Poller {
 public:
  Result<void> add(std::uint32_t index, int fd, unsigned events) override {
    // Above this limit ppoll() fails.
    rlimit descriptors{};
    if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0 && index >= descriptors.rlim_cur) {
      return fail(ErrorCode::CapacityExceeded, "more to poll than there can be descriptors");
    }
    if (index >= entries_.size()) entries_.resize(index + std::size_t{1}, kFree);
    entries_[index] = {.fd = fd, .events = asked(events), .revents = 0};
    return {};
  }

  void change(std::uint32_t index, unsigned events) noexcept override {
    entries_[index].events = asked(events);
  }

  void remove(std::uint32_t index) noexcept override {
    entries_[index] = kFree;
    while (!entries_.empty() && entries_.back().fd < 0) entries_.pop_back();
  }

  Result<void> wait(std::uint64_t deadline_ns, std::vector<FdReport>& reports) noexcept override {
    int ready = 0;
    do {
      const std::uint64_t left = time_left(deadline_ns);
      const timespec timeout{.tv_sec = static_cast<time_t>(left / kNanosecondsPerSecond),
                             .tv_nsec = static_cast<long>(left % kNanosecondsPerSecond)};
      ready = ::ppoll(entries_.data(), entries_.size(), &timeout, nullptr);
    } while (ready < 0 && errno == EINTR);
    if (ready < 0) return fail_errno(errno, "ppoll");
    for (std::uint32_t index = 0; ready > 0; ++index) {
      const short events = entries_[index].revents;
      if (events == 0) continue;
      reports.push_back({.index = index, .events = static_cast<unsigned short>(events)});
      --ready;
    }
    return {};
  }

 private:
  // ppoll() passes over negative descriptors.
  static constexpr pollfd kFree{.fd = -1, .events = 0, .revents = 0};

  std::vector<pollfd> entries_;  // by index
};

Result<std::unique_ptr<Poller>> create() { return std::make_unique<PpollPoller>(); }

}  // namespace

const LoopBackend kPollBackend{.name = "poll", .create = create};

}  // namespace resmgr::daemon
