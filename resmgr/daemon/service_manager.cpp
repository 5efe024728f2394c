// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/service_manager.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <limits>

namespace resmgr::daemon {
namespace {

using std::chrono::microseconds;

constexpr std::size_t kMaxNameBytes = 255;
constexpr const char* kUnnamed = "unknown";

/// What the variables of the protocols say, each as it is.
struct Said {
  std::optional<std::string> notify_socket;
  std::optional<std::string> listen_pid;
  std::optional<std::string> listen_fds;
  std::optional<std::string> listen_names;
  std::optional<std::string> watchdog_pid;
  std::optional<std::string> watchdog_usec;
  std::optional<std::string> fd_store;
};

Said read_variables(Surroundings& surroundings, Variables variables) {
  Said said;
  const std::array<std::pair<const char*, std::optional<std::string>*>, 7> places{{
      {"NOTIFY_SOCKET", &said.notify_socket},
      {"LISTEN_PID", &said.listen_pid},
      {"LISTEN_FDS", &said.listen_fds},
      {"LISTEN_FDNAMES", &said.listen_names},
      {"WATCHDOG_PID", &said.watchdog_pid},
      {"WATCHDOG_USEC", &said.watchdog_usec},
      {"FDSTORE", &said.fd_store},
  }};
  for (const auto& [name, place] : places) {
    *place = surroundings.variable(name);
    if (variables == Variables::Unset) surroundings.unset(name);
  }
  return said;
}

// Decimal digits and nothing else.
template <typename Number>
std::optional<Number> number_in(std::string_view text) noexcept {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stopped != end || number < 0) return std::nullopt;
  return number;
}

// Whether what comes with a variable that holds a pid is for this process: a child that inherited
// the variables, or a program that a shell ran, is not meant.
Result<bool> is_for(pid_t self, std::string_view variable) noexcept {
  const auto pid = number_in<pid_t>(variable);
  if (!pid || *pid == 0) return fail(ErrorCode::InvalidArgument, "LISTEN_PID or WATCHDOG_PID");
  return *pid == self;
}

Result<std::string> socket_address(std::string_view name) {
  sockaddr_un address{};
  // An abstract name fills the address exactly, a path is ended by a zero.
  const bool is_abstract = name.starts_with('@');
  if (!is_abstract && !name.starts_with('/')) {
    return fail(ErrorCode::Unsupported, "NOTIFY_SOCKET is neither a path nor an abstract name");
  }
  const std::size_t bytes = is_abstract ? name.size() : name.size() + 1;
  if (bytes > sizeof address.sun_path || name.size() < 2) {
    return fail(ErrorCode::InvalidArgument, "NOTIFY_SOCKET is no name of a socket");
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  if (is_abstract) address.sun_path[0] = '\0';
  return std::string(reinterpret_cast<const char*>(&address),
                     offsetof(sockaddr_un, sun_path) + bytes);
}

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t colon = names.find(':');
    parts.emplace_back(names.substr(0, colon));
    if (colon == std::string_view::npos) return parts;
    names.remove_prefix(colon + 1);
  }
}

Result<std::vector<PassedFd>> passed_fds(const Said& said, Surroundings& surroundings) {
  std::vector<PassedFd> passed;
  if (!said.listen_pid || !said.listen_fds) return passed;
  const auto is_mine = is_for(surroundings.pid(), *said.listen_pid);
  if (!is_mine) return std::unexpected(is_mine.error());
  if (!*is_mine) return passed;
  const int first = surroundings.first_passed_fd();
  const auto count = number_in<int>(*said.listen_fds);
  if (!count || *count > std::numeric_limits<int>::max() - first) {
    return fail(ErrorCode::InvalidArgument, "LISTEN_FDS is no number of descriptors");
  }
  for (int fd = first; fd < first + *count; ++fd) {
    // The only way to fail is not to be open.
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      return fail(ErrorCode::InvalidArgument, "LISTEN_FDS counts descriptors that are not open");
    }
    passed.push_back({.fd = UniqueFd(fd), .name = kUnnamed});
  }
  if (!said.listen_names || passed.empty()) return passed;
  std::vector<std::string> names = split_names(*said.listen_names);
  if (names.size() != passed.size()) {
    return fail(ErrorCode::InvalidArgument, "LISTEN_FDNAMES has another count than LISTEN_FDS");
  }
  for (std::size_t i = 0; i < names.size(); ++i) passed[i].name = std::move(names[i]);
  return passed;
}

Result<std::optional<microseconds>> watchdog_of(const Said& said, pid_t self) noexcept {
  if (!said.watchdog_usec) return std::nullopt;
  const auto usec = number_in<microseconds::rep>(*said.watchdog_usec);
  if (!usec || *usec == 0) {
    return fail(ErrorCode::InvalidArgument, "WATCHDOG_USEC is no number of microseconds");
  }
  if (!said.watchdog_pid) return microseconds(*usec);
  const auto is_mine = is_for(self, *said.watchdog_pid);
  if (!is_mine) return std::unexpected(is_mine.error());
  return *is_mine ? std::optional(microseconds(*usec)) : std::nullopt;
}

// As the manager itself checks it; it ignores what comes by another name.
bool is_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::ranges::all_of(name, [](char c) { return c >= ' ' && c <= '~' && c != ':'; });
}

std::unexpected<Error> send_failed(int error) noexcept {
  switch (error) {
    case EAGAIN:
      return fail(ErrorCode::WouldBlock, "the service manager has not read its messages yet");
    case ENOENT:
    case ECONNREFUSED:
      return fail(ErrorCode::Disconnected, "nobody reads from NOTIFY_SOCKET");
    default:
      return fail_errno(error, "sendmsg to NOTIFY_SOCKET");
  }
}

}  // namespace

Result<ServiceManager> ServiceManager::from_environment(Surroundings& surroundings,
                                                        Variables variables) {
  const Said said = read_variables(surroundings, variables);
  ServiceManager manager;
  // First, for whatever is opened before it could have one of their numbers.
  auto passed = passed_fds(said, surroundings);
  if (!passed) return std::unexpected(std::move(passed.error()));
  manager.passed_ = *std::move(passed);
  const auto watchdog = watchdog_of(said, surroundings.pid());
  if (!watchdog) return std::unexpected(watchdog.error());
  manager.watchdog_ = *watchdog;
  if (said.fd_store) {
    manager.store_limit_ = number_in<std::uint64_t>(*said.fd_store);
    if (!manager.store_limit_) {
      return fail(ErrorCode::InvalidArgument, "FDSTORE is no number of descriptors");
    }
  }
  if (!said.notify_socket || said.notify_socket->empty()) return manager;
  auto address = socket_address(*said.notify_socket);
  if (!address) return std::unexpected(std::move(address.error()));
  manager.address_ = *std::move(address);
  manager.socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!manager.socket_) return fail_errno(errno, "socket");
  return manager;
}

Result<void> ServiceManager::ready(std::string_view status) noexcept {
  return send(TextBuffer().add("READY=1\nSTATUS=").add_escaped(status));
}

Result<void> ServiceManager::status(std::string_view text) noexcept {
  return send(TextBuffer().add("STATUS=").add_escaped(text));
}

Result<void> ServiceManager::reloading(microseconds since) noexcept {
  const auto usec = static_cast<std::uint64_t>(since.count());
  return send(TextBuffer().add("RELOADING=1\nMONOTONIC_USEC=").add(usec));
}

Result<void> ServiceManager::stopping() noexcept { return send(TextBuffer().add("STOPPING=1")); }

Result<void> ServiceManager::ping_watchdog() noexcept {
  return send(TextBuffer().add("WATCHDOG=1"));
}

Result<void> ServiceManager::main_pid(pid_t pid) noexcept {
  if (pid <= 0) return fail(ErrorCode::InvalidArgument, "pid of the main process");
  return send(TextBuffer().add("MAINPID=").add(static_cast<std::uint64_t>(pid)));
}

Result<void> ServiceManager::store_fd(int fd, std::string_view name) noexcept {
  if (fd < 0 || !is_name(name)) {
    return fail(ErrorCode::InvalidArgument, "storing no descriptor, or under no name");
  }
  return send(TextBuffer().add("FDSTORE=1\nFDPOLL=0\nFDNAME=").add(name), fd);
}

Result<void> ServiceManager::remove_fd(std::string_view name) noexcept {
  if (!is_name(name)) return fail(ErrorCode::InvalidArgument, "name of a stored descriptor");
  return send(TextBuffer().add("FDSTOREREMOVE=1\nFDNAME=").add(name));
}

Result<void> ServiceManager::send(const TextBuffer& message, int fd) noexcept {
  if (!socket_) return {};
  const std::string_view text = message.text();
  // sendmsg only reads them, but its structures have no const.
  iovec part{.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof fd)> control{};
  msghdr header{};
  header.msg_name = address_.data();
  header.msg_namelen = static_cast<socklen_t>(address_.size());
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fd >= 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  // Nothing interrupts a call that does not wait.
  if (::sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return send_failed(errno);
  return {};
}

}  // namespace resmgr::daemon
