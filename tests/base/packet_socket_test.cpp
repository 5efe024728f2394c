// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/packet_socket.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/base/support.hpp"

namespace resmgr {
namespace {

using test::code_of;
using test::open_fds;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

bool is_close_on_exec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }

ino_t inode_of(int fd) {
  struct stat file{};
  EXPECT_EQ(::fstat(fd, &file), 0);
  return file.st_ino;
}

UniqueFd memory_file() { return UniqueFd(::memfd_create("packet-test", MFD_CLOEXEC)); }

class Packets : public testing::Test {
 protected:
  void SetUp() override {
    auto ends = PacketSocket::pair(PacketMode::NonBlocking);
    ASSERT_TRUE(ends) << ends.error().message();
    near_ = std::move(ends->first);
    far_ = std::move(ends->second);
    fds_before_ = open_fds();
  }

  /// What `far_` receives, as text.
  std::string received() {
    const auto packet = far_.receive(buffer_);
    if (!packet) return packet.error().message();
    return {reinterpret_cast<const char*>(buffer_.data()), packet->bytes};
  }

  PacketSocket near_;
  PacketSocket far_;
  std::array<std::byte, 64> buffer_{};
  std::ptrdiff_t fds_before_ = 0;
};

TEST_F(Packets, ArriveWholeAndInOrder) {
  EXPECT_EQ(code_of(far_.receive(buffer_)), ErrorCode::WouldBlock);
  ASSERT_TRUE(near_.send(bytes_of("first")));
  ASSERT_TRUE(near_.send(bytes_of("the second")));
  EXPECT_EQ(received(), "first");
  EXPECT_EQ(received(), "the second");
  EXPECT_EQ(code_of(far_.receive(buffer_)), ErrorCode::WouldBlock);
  EXPECT_TRUE(is_close_on_exec(near_.fd()));
}

TEST_F(Packets, BringDescriptors) {
  for (std::size_t count = 0; count <= kMaxPacketFds; ++count) {
    std::vector<UniqueFd> files;
    std::vector<int> sent;
    for (std::size_t i = 0; i < count; ++i) sent.push_back(files.emplace_back(memory_file()).get());
    ASSERT_TRUE(near_.send(bytes_of("x"), sent));
    const auto packet = far_.receive(buffer_, count);
    ASSERT_TRUE(packet) << packet.error().message();
    ASSERT_EQ(packet->fd_count, count);
    for (std::size_t i = 0; i < kMaxPacketFds; ++i) {
      EXPECT_EQ(static_cast<bool>(packet->fds[i]), i < count);
      if (i >= count) continue;
      EXPECT_EQ(inode_of(packet->fds[i].get()), inode_of(sent[i])) << i;
      EXPECT_TRUE(is_close_on_exec(packet->fds[i].get()));
    }
  }
  EXPECT_EQ(open_fds(), fds_before_);
}

TEST_F(Packets, WithMoreDescriptorsThanAskedForAreRefusedAndLeaveNone) {
  const UniqueFd file = memory_file();
  const std::vector<int> sent(kMaxPacketFds, file.get());
  for (std::size_t asked = 0; asked < kMaxPacketFds; ++asked) {
    ASSERT_TRUE(near_.send(bytes_of("x"), std::span(sent).first(asked + 1)));
    EXPECT_EQ(code_of(far_.receive(buffer_, asked)), ErrorCode::InvalidArgument) << asked;
    EXPECT_EQ(open_fds(), fds_before_ + 1);
  }
  ASSERT_TRUE(near_.send(bytes_of("next")));
  EXPECT_EQ(received(), "next");
}

// A peer of its own making may send up to 253.
TEST_F(Packets, WithMoreDescriptorsThanTheMostAreRefusedAndLeaveNone) {
  const UniqueFd file = memory_file();
  constexpr std::size_t kMany = 200;
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kMany * sizeof(int))> control{};
  std::byte byte{};
  iovec part{.iov_base = &byte, .iov_len = 1};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* const rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(kMany * sizeof(int));
  const std::vector<int> sent(kMany, file.get());
  std::memcpy(CMSG_DATA(rights), sent.data(), kMany * sizeof(int));
  ASSERT_EQ(::sendmsg(near_.fd(), &header, 0), 1);
  EXPECT_EQ(code_of(far_.receive(buffer_)), ErrorCode::InvalidArgument);
  // Nor do they stay with an empty packet, which is the end of a connection.
  part.iov_len = 0;
  header.msg_controllen = CMSG_SPACE(sizeof(int));
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  ASSERT_EQ(::sendmsg(near_.fd(), &header, 0), 0);
  EXPECT_EQ(code_of(far_.receive(buffer_)), ErrorCode::Disconnected);
  EXPECT_EQ(open_fds(), fds_before_ + 1);
}

TEST_F(Packets, ThatAreLongerThanTheBufferAreRefusedAndLeaveNoDescriptor) {
  const UniqueFd file = memory_file();
  const int sent = file.get();
  const std::string exact(buffer_.size(), 'x');
  ASSERT_TRUE(near_.send(bytes_of(exact), {&sent, 1}));
  ASSERT_TRUE(near_.send(bytes_of(exact + "y"), {&sent, 1}));
  ASSERT_TRUE(near_.send(bytes_of("next")));
  EXPECT_EQ(received(), exact);
  EXPECT_EQ(code_of(far_.receive(buffer_)), ErrorCode::InvalidArgument);
  EXPECT_EQ(received(), "next");
  EXPECT_EQ(open_fds(), fds_before_ + 1);
}

TEST_F(Packets, LeaveNoDescriptorWhereTheTableIsFull) {
  const UniqueFd file = memory_file();
  const std::vector<int> sent(3, file.get());
  ASSERT_TRUE(near_.send(bytes_of("x"), sent));
  ASSERT_TRUE(near_.send(bytes_of("x"), sent));
  ASSERT_TRUE(near_.send(bytes_of("next")));
  const std::ptrdiff_t before = open_fds();
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  // The next two descriptors are one that is allowed and one that is not.
  UniqueFd lowest = file.duplicate().value();
  rlimit few = old;
  few.rlim_cur = static_cast<rlim_t>(lowest.get()) + 1;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const ErrorCode none_left = code_of(far_.receive(buffer_));
  lowest.reset();
  const ErrorCode one_left = code_of(far_.receive(buffer_));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(none_left, ErrorCode::CapacityExceeded);
  EXPECT_EQ(one_left, ErrorCode::CapacityExceeded);
  EXPECT_EQ(open_fds(), before);
  EXPECT_EQ(received(), "next");
}

TEST_F(Packets, ThatCannotBeSentAreRefused) {
  const std::vector<int> many(kMaxPacketFds + 1, near_.fd());
  const int closed = 1 << 20;
  EXPECT_EQ(code_of(near_.send({})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(near_.send(bytes_of("x"), many)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(near_.send(bytes_of(std::string(1 << 22, 'x')))), ErrorCode::InvalidArgument);
  EXPECT_EQ(near_.send(bytes_of("x"), {&closed, 1}).error().system_errno(), EBADF);
  EXPECT_EQ(code_of(far_.receive(buffer_)), ErrorCode::WouldBlock);
  EXPECT_EQ(code_of(far_.receive({})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(far_.receive(buffer_, kMaxPacketFds + 1)), ErrorCode::InvalidArgument);
}

TEST_F(Packets, FillTheirQueueAndNoMore) {
  std::size_t sent = 0;
  while (sent < 1'000'000 && near_.send(bytes_of("x"))) ++sent;
  EXPECT_EQ(code_of(near_.send(bytes_of("x"))), ErrorCode::WouldBlock);
  std::size_t arrived = 0;
  while (far_.receive(buffer_)) ++arrived;
  EXPECT_EQ(arrived, sent);
}

TEST_F(Packets, ArriveThoughTheirSenderHasClosed) {
  ASSERT_TRUE(near_.send(bytes_of("last")));
  near_ = {};
  EXPECT_EQ(received(), "last");
  EXPECT_EQ(code_of(far_.receive(buffer_)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(far_.send(bytes_of("x"))), ErrorCode::Disconnected);  // and no SIGPIPE
}

// The kernel says ECONNRESET where the other end had packets unread.
TEST_F(Packets, ThatWereNotReadByWhoClosedAreADisconnection) {
  ASSERT_TRUE(near_.send(bytes_of("lost")));
  far_ = {};
  EXPECT_EQ(code_of(near_.receive(buffer_)), ErrorCode::Disconnected);
}

extern "C" void ignore_signal(int /*signal*/) {}

TEST(PacketSocket, WaitsOnThroughSignals) {
  auto [near, far] = PacketSocket::pair(PacketMode::Blocking).value();
  struct sigaction action{};
  struct sigaction old{};
  action.sa_handler = ignore_signal;  // without SA_RESTART
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &old), 0);
  ErrorCode code = ErrorCode::System;
  std::atomic<bool> done = false;
  std::thread waiter([&] {
    std::array<std::byte, 8> buffer{};
    code = code_of(far.receive(buffer));
    done = true;
  });
  for (int i = 0; i < 1000 && !done; ++i) {
    ::pthread_kill(waiter.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  EXPECT_TRUE(near.send(bytes_of("x")));
  waiter.join();
  EXPECT_EQ(code, ErrorCode{});
  ASSERT_EQ(::sigaction(SIGUSR1, &old, nullptr), 0);
}

class PacketPaths : public testing::Test {
 protected:
  [[nodiscard]] Result<PacketListener> listen() const {
    return PacketListener::listen(path_.native(), 0640, PacketMode::NonBlocking);
  }
  [[nodiscard]] Result<PacketSocket> connect() const {
    return PacketSocket::connect(path_.native(), PacketMode::NonBlocking);
  }
  /// A socket of any type, bound to `path_`.
  [[nodiscard]] UniqueFd bound(int type) const {
    UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.native().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }

  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "main.sock";
};

TEST_F(PacketPaths, LeadToWhoListens) {
  EXPECT_EQ(code_of(connect()), ErrorCode::Disconnected);
  auto listener = listen();
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_TRUE(is_close_on_exec(listener->fd()));
  EXPECT_EQ(code_of(listener->accept(PacketMode::NonBlocking)), ErrorCode::WouldBlock);
  auto client = connect();
  ASSERT_TRUE(client) << client.error().message();
  auto server = listener->accept(PacketMode::NonBlocking);
  ASSERT_TRUE(server) << server.error().message();
  EXPECT_TRUE(is_close_on_exec(server->fd()));
  ASSERT_TRUE(client->send(bytes_of("hello")));
  std::array<std::byte, 8> buffer{};
  EXPECT_EQ(server->receive(buffer)->bytes, 5u);
  EXPECT_EQ(code_of(server->receive(buffer)), ErrorCode::WouldBlock);
}

TEST_F(PacketPaths, HaveThePermissionsThatWereAskedForWhateverTheUmask) {
  const mode_t old = ::umask(0777);
  const auto listener = PacketListener::listen(path_.native(), 0666, PacketMode::NonBlocking);
  ::umask(old);
  ASSERT_TRUE(listener) << listener.error().message();
  struct stat file{};
  ASSERT_EQ(::stat(path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777u, 0666u);
}

TEST_F(PacketPaths, AreTakenOverFromTheDeadOnly) {
  auto first = listen();
  ASSERT_TRUE(first);
  EXPECT_EQ(code_of(listen()), ErrorCode::InUse);
  EXPECT_TRUE(connect());
  first = PacketListener();
  EXPECT_EQ(code_of(connect()), ErrorCode::Disconnected);
  const auto second = listen();
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_TRUE(connect());
}

TEST_F(PacketPaths, AreInUseWhileTheQueueOfAListenerIsFull) {
  const UniqueFd full = bound(SOCK_SEQPACKET);
  ASSERT_EQ(::listen(full.get(), 0), 0);
  std::vector<PacketSocket> clients;
  while (clients.size() < 100) {
    auto client = connect();
    if (!client) {
      EXPECT_EQ(code_of(client), ErrorCode::WouldBlock);
      break;
    }
    clients.push_back(*std::move(client));
  }
  ASSERT_LT(clients.size(), 100u);
  EXPECT_EQ(code_of(listen()), ErrorCode::InUse);
}

TEST_F(PacketPaths, AreNotTakenFromOtherKindsOfSocketOrFile) {
  UniqueFd stream = bound(SOCK_STREAM);
  ASSERT_EQ(::listen(stream.get(), 1), 0);
  EXPECT_EQ(code_of(listen()), ErrorCode::InUse);
  stream.reset();
  EXPECT_TRUE(listen());
  std::filesystem::remove(path_);
  std::ofstream(path_) << "something dear";
  EXPECT_EQ(code_of(listen()), ErrorCode::AlreadyExists);
  EXPECT_EQ(std::filesystem::file_size(path_), 14u);
}

// Somebody who has bound, and does not listen yet, would look stale.
TEST_F(PacketPaths, AreNotTakenFromWhoIsStarting) {
  const std::string lock = path_.native() + ".lock";
  const UniqueFd starting(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::flock(starting.get(), LOCK_EX), 0);
  const UniqueFd socket = bound(SOCK_SEQPACKET);
  EXPECT_EQ(code_of(listen()), ErrorCode::InUse);
  EXPECT_EQ(::listen(socket.get(), 1), 0);
  EXPECT_TRUE(connect());
}

TEST_F(PacketPaths, ThatCannotBeOnesAreRefused) {
  const std::string longest = folder_.path().native() + "/" + std::string(300, 'x');
  const std::string with_zero = path_.native() + std::string("\0x", 2);
  for (const std::string& path : {std::string(), with_zero, longest.substr(0, 108)}) {
    EXPECT_EQ(code_of(PacketSocket::connect(path, PacketMode::Blocking)),
              ErrorCode::InvalidArgument);
    EXPECT_EQ(code_of(PacketListener::listen(path, 0600, PacketMode::Blocking)),
              ErrorCode::InvalidArgument);
  }
  const auto listener =
      PacketListener::listen(longest.substr(0, 107), 0600, PacketMode::NonBlocking);
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_TRUE(PacketSocket::connect(longest.substr(0, 107), PacketMode::Blocking));
  EXPECT_EQ(listener->path(), longest.substr(0, 107));
  EXPECT_EQ(PacketListener().path(), "");
}

TEST_F(PacketPaths, SocketsMadeElsewhereAreAdopted) {
  UniqueFd made = bound(SOCK_SEQPACKET);
  ASSERT_EQ(::listen(made.get(), 1), 0);
  ASSERT_EQ(::fcntl(made.get(), F_SETFD, 0), 0);
  auto listener = PacketListener::adopt(std::move(made), PacketMode::NonBlocking);
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_EQ(listener->path(), path_);
  EXPECT_TRUE(is_close_on_exec(listener->fd()));
  EXPECT_EQ(code_of(listener->accept(PacketMode::Blocking)), ErrorCode::WouldBlock);
  auto [near, far] = PacketSocket::pair(PacketMode::Blocking).value();
  UniqueFd inherited(::dup(near.fd()));
  auto socket = PacketSocket::adopt(std::move(inherited), PacketMode::NonBlocking);
  ASSERT_TRUE(socket) << socket.error().message();
  EXPECT_TRUE(is_close_on_exec(socket->fd()));
  std::array<std::byte, 8> buffer{};
  EXPECT_EQ(code_of(socket->receive(buffer)), ErrorCode::WouldBlock);
}

TEST_F(PacketPaths, SocketsOfOtherKindsAreNotAdopted) {
  const std::ptrdiff_t before = open_fds();
  const auto socket_of = [](int domain, int type) { return UniqueFd(::socket(domain, type, 0)); };
  for (const bool listening : {false, true}) {
    const auto adopt = [&](UniqueFd fd) {
      return listening ? code_of(PacketListener::adopt(std::move(fd), PacketMode::Blocking))
                       : code_of(PacketSocket::adopt(std::move(fd), PacketMode::Blocking));
    };
    EXPECT_EQ(adopt(memory_file()), ErrorCode::InvalidArgument);
    EXPECT_EQ(adopt(socket_of(AF_UNIX, SOCK_STREAM)), ErrorCode::InvalidArgument);
    EXPECT_EQ(adopt(socket_of(AF_INET, SOCK_STREAM)), ErrorCode::InvalidArgument);
    EXPECT_EQ(adopt(UniqueFd()), ErrorCode::System);
  }
  auto listener = listen();
  EXPECT_EQ(code_of(PacketSocket::adopt(UniqueFd(::dup(listener->fd())), PacketMode::Blocking)),
            ErrorCode::InvalidArgument);
  const auto client = connect();
  EXPECT_EQ(code_of(PacketListener::adopt(UniqueFd(::dup(client->fd())), PacketMode::Blocking)),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(open_fds(), before + 2);
}

}  // namespace
}  // namespace resmgr
