// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/control_line.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace demo {
namespace {

// Who it is that did so is for the caller to say.
std::unexpected<Failure> trouble(std::string_view text) {
  return std::unexpected(Failure{std::string(text)});
}

/// Kind and message as one packet.
struct Packet {
  Packet(std::uint32_t& kind, std::span<std::byte> message) noexcept
      : parts{iovec{&kind, sizeof(kind)}, iovec{message.data(), message.size()}} {
    header.msg_iov = parts.data();
    header.msg_iovlen = parts.size();
  }
  std::array<iovec, 2> parts;
  msghdr header{};
};

}  // namespace

Outcome<std::pair<ControlLine, ControlLine>> ControlLine::pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return failed_errno("socketpair", errno);
  }
  return std::pair(ControlLine(hal::UniqueFd(ends[0])), ControlLine(hal::UniqueFd(ends[1])));
}

Outcome<void> ControlLine::send_bytes(std::uint32_t kind, std::span<const std::byte> message) {
  std::vector<std::byte> copy(message.begin(), message.end());
  const Packet packet(kind, copy);
  while (::sendmsg(fd_.get(), &packet.header, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return failed_errno("sending a message", errno);
  }
  return {};
}

void ControlLine::send_trouble(std::string_view text) noexcept {
  Trouble trouble;
  text = text.substr(0, trouble.text.size() - 1);
  std::ranges::copy(text, trouble.text.begin());
  std::uint32_t kind = Trouble::kKind;
  const Packet packet(kind, std::as_writable_bytes(std::span(&trouble, 1)));
  static_cast<void>(::sendmsg(fd_.get(), &packet.header, MSG_NOSIGNAL));
}

Outcome<void> ControlLine::receive_bytes(std::uint32_t kind, std::span<std::byte> message,
                                         std::chrono::milliseconds patience) {
  pollfd source{fd_.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&source, 1, static_cast<int>(patience.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return trouble("does not answer");

  std::vector<std::byte> bytes(std::max(message.size(), sizeof(Trouble)));
  std::uint32_t got_kind = 0;
  Packet packet(got_kind, bytes);
  ssize_t got = 0;
  do {
    got = ::recvmsg(fd_.get(), &packet.header, 0);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno != ECONNRESET) return failed_errno("receiving a message", errno);
  if (got <= 0) return trouble("has ended");
  const std::size_t size = static_cast<std::size_t>(got) - sizeof(got_kind);
  if (got_kind == Trouble::kKind && size == sizeof(Trouble)) {
    Trouble said;
    std::memcpy(&said, bytes.data(), sizeof(said));
    return trouble(said.text.data());
  }
  if (got_kind != kind || size != message.size()) return trouble("said something else");
  std::ranges::copy(std::span(bytes).first(size), message.begin());
  return {};
}

bool ControlLine::readable() const noexcept {
  pollfd source{fd_.get(), POLLIN, 0};
  return ::poll(&source, 1, 0) != 0;
}

}  // namespace demo
