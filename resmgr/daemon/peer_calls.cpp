// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/peer_calls.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>

namespace resmgr::daemon {
namespace {

constexpr std::size_t kUsualGroups = 32;
constexpr int kPeerPidfd = 77;  // SO_PEERPIDFD, which Debian 12's headers do not name

// ESRCH, ENODATA: the process was waited for, so that even its pid is gone.
std::unexpected<Error> pidfd_failed(int error, const char* call) noexcept {
  switch (error) {
    case ESRCH:
    case ENODATA:
      return fail(ErrorCode::Disconnected, call);
    case ENOPROTOOPT:
      return fail(ErrorCode::Unsupported, call);
    default:
      return fail_errno(error, call);
  }
}

std::unexpected<Error> malformed() noexcept {
  return fail(ErrorCode::System, "/proc/PID/stat is not as expected");
}

class KernelCalls final : public PeerCalls {
 public:
  Result<PeerCredentials> credentials(int socket) noexcept override {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
      return fail_errno(errno, "getsockopt(SO_PEERCRED)");
    }
    return PeerCredentials{.pid = peer.pid, .uid = peer.uid, .gid = peer.gid};
  }

  Result<std::vector<gid_t>> groups(int socket) override {
    std::vector<gid_t> groups(kUsualGroups);
    for (;;) {
      socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
      const int status = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
      if (status != 0 && errno != ERANGE) return fail_errno(errno, "getsockopt(SO_PEERGROUPS)");
      groups.resize(size / sizeof(gid_t));
      // ERANGE says how many there are.
      if (status == 0) return groups;
    }
  }

  Result<UniqueFd> peer_pidfd(int socket) noexcept override {
    int fd = -1;
    socklen_t size = sizeof fd;
    if (::getsockopt(socket, SOL_SOCKET, kPeerPidfd, &fd, &size) != 0) {
      return pidfd_failed(errno, "getsockopt(SO_PEERPIDFD)");
    }
    return UniqueFd(fd);
  }

  Result<UniqueFd> open_pidfd(pid_t pid) noexcept override {
    // Close-on-exec by itself.
    UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!fd) return pidfd_failed(errno, "pidfd_open");
    return fd;
  }

  Result<std::uint64_t> start_time(pid_t pid) noexcept override {
    return in_stat(pid, start_time_in);
  }

  Result<bool> is_stopped(pid_t pid) noexcept override {
    const auto state = in_stat(pid, state_in);
    if (!state) return std::unexpected(state.error());
    return *state == 'T' || *state == 't';
  }

 private:
  template <typename Value>
  static Result<Value> in_stat(pid_t pid, Result<Value> (*find)(std::string_view)) noexcept {
    std::array<char, 32> path{};
    std::snprintf(path.data(), path.size(), "/proc/%d/stat", pid);
    const UniqueFd file(::open(path.data(), O_RDONLY | O_CLOEXEC));
    if (!file && errno == ENOENT) return fail(ErrorCode::NotFound, "/proc/PID/stat");
    if (!file) return fail_errno(errno, "open(/proc/PID/stat)");
    // Field 22 is well within it: a name of 64 bytes and 21 numbers of at most 20 digits.
    std::array<char, 1024> text{};
    const ssize_t bytes = ::read(file.get(), text.data(), text.size());
    // The process may end between the two calls.
    if (bytes < 0 && errno == ESRCH) return fail(ErrorCode::NotFound, "/proc/PID/stat");
    if (bytes < 0) return fail_errno(errno, "read(/proc/PID/stat)");
    return find({text.data(), static_cast<std::size_t>(bytes)});
  }
};

// What follows the name of the program. Whatever the name has in it, its own bracket is the last.
Result<std::string_view> after_name(std::string_view stat) noexcept {
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return malformed();
  return stat.substr(name_end + 1);
}

}  // namespace

PeerCalls& PeerCalls::kernel() noexcept {
  static KernelCalls calls;
  return calls;
}

Result<char> state_in(std::string_view stat) noexcept {
  const auto rest = after_name(stat);
  if (!rest) return std::unexpected(rest.error());
  // A blank, the letter, and a blank.
  if (rest->size() < 3 || (*rest)[0] != ' ' || (*rest)[2] != ' ') return malformed();
  return (*rest)[1];
}

Result<std::uint64_t> start_time_in(std::string_view stat) noexcept {
  const auto rest = after_name(stat);
  if (!rest) return std::unexpected(rest.error());
  stat = *rest;
  constexpr int kFieldsBetween = 20;  // " S" is field 3
  for (int field = 0; field < kFieldsBetween; ++field) {
    const std::size_t space = stat.find(' ');
    if (space == std::string_view::npos) return malformed();
    stat.remove_prefix(space + 1);
  }
  std::uint64_t ticks = 0;
  const auto [end, error] = std::from_chars(stat.data(), stat.data() + stat.size(), ticks);
  // A number that the text ends with may have been cut.
  if (error != std::errc{} || end == stat.data() + stat.size()) return malformed();
  return ticks;
}

}  // namespace resmgr::daemon
