// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/pressure_stall.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <optional>

#include "resmgr/budget/cgroup_folder.hpp"

namespace resmgr::budget {
namespace {

using std::chrono::microseconds;

constexpr microseconds kShortestWindow = std::chrono::milliseconds(500);
constexpr microseconds kLongestWindow = std::chrono::seconds(10);
/// Of which the windows of who is not privileged are multiples.
constexpr microseconds kCommonWindow = std::chrono::seconds(2);

// The kernel takes one trigger for each opening of the file.
Result<UniqueFd> open_with(const char* file, const StallTrigger& trigger) noexcept {
  UniqueFd fd(::open(file, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    return fail(ErrorCode::Unsupported, "this kernel tells nothing of stalls");
  }
  if (!fd) return fail_errno(errno, "opening a file of stalls");
  std::array<char, 64> words{};
  const int length = std::snprintf(words.data(), words.size(), "%s %lld %lld",
                                   trigger.kind == StallKind::Some ? "some" : "full",
                                   static_cast<long long>(trigger.stall.count()),
                                   static_cast<long long>(trigger.window.count()));
  // The zero at the end is part of it.
  const auto bytes = static_cast<std::size_t>(length) + 1;
  if (::write(fd.get(), words.data(), bytes) >= 0) return fd;
  return fail_errno(errno, "asking to be told of stalls");
}

// The same share of a window that everybody may have; none if that is the window already.
std::optional<StallTrigger> for_everybody(const StallTrigger& trigger) noexcept {
  const auto rest = trigger.window % kCommonWindow;
  if (rest == microseconds::zero()) return std::nullopt;
  StallTrigger longer = trigger;
  longer.window += kCommonWindow - rest;
  longer.stall = trigger.stall * longer.window.count() / trigger.window.count();
  return longer;
}

}  // namespace

Result<PressureStall> PressureStall::watch(const std::string& file,
                                           const StallTrigger& trigger) noexcept {
  if (trigger.window < kShortestWindow || trigger.window > kLongestWindow ||
      trigger.stall <= microseconds::zero() || trigger.stall > trigger.window) {
    return fail(ErrorCode::InvalidArgument, "a trigger of stalls out of range");
  }
  auto fd = open_with(file.c_str(), trigger);
  if (fd) return PressureStall(std::move(*fd), trigger);
  const auto longer = for_everybody(trigger);
  if (fd.error().system_errno() != EINVAL || !longer) return std::unexpected(std::move(fd.error()));
  auto second = open_with(file.c_str(), *longer);
  if (second) return PressureStall(std::move(*second), *longer);
  return std::unexpected(std::move(second.error()));
}

Result<bool> PressureStall::has_stalled() noexcept {
  pollfd ready{.fd = fd_.get(), .events = kEvents, .revents = 0};
  int count = ::poll(&ready, 1, 0);
  while (count < 0 && errno == EINTR) count = ::poll(&ready, 1, 0);
  if (count < 0) return fail_errno(errno, "poll");
  if ((ready.revents & (POLLERR | POLLNVAL)) != 0) {
    return fail(ErrorCode::Disconnected, "the group whose stalls were watched is gone");
  }
  return (ready.revents & kEvents) != 0;
}

std::string stall_file(const std::string& root) {
  if (const auto folder = CgroupFolder::find({}, root)) {
    std::string file = folder->group + "/memory.pressure";
    if (::access(file.c_str(), R_OK | W_OK) == 0) return file;
  }
  return root + "/proc/pressure/memory";
}

}  // namespace resmgr::budget
