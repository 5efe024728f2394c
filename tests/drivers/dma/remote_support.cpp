// SPDX-License-Identifier: Apache-2.0
#include "tests/drivers/dma/remote_support.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <source_location>
#include <utility>

namespace drivers::dma {
namespace {

void must(bool fine, std::source_location where = std::source_location::current()) {
  if (fine) return;
  std::cerr << where.file_name() << ':' << where.line() << ": " << std::strerror(errno) << '\n';
  std::exit(EXIT_FAILURE);
}

std::array<hal::UniqueFd, 2> socket_pair() {
  std::array<int, 2> ends{};
  must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  return {hal::UniqueFd(ends[0]), hal::UniqueFd(ends[1])};
}

constexpr std::size_t kMostFds = 4;

/// One byte with room for descriptors beside it.
struct Parcel {
  explicit Parcel(std::size_t fds) {
    must(fds <= kMostFds);
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(fds * sizeof(int));
  }
  char byte = 0;
  iovec part{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostFds * sizeof(int))> control{};
  msghdr header{};
};

}  // namespace

const int MemoryFile::kSealed = F_SEAL_SHRINK;

MemoryFile::MemoryFile(std::size_t bytes, int seals)
    : fd_(::memfd_create("client", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  must(::ftruncate(fd_.get(), static_cast<off_t>(bytes)) == 0);
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  must(address != MAP_FAILED);
  // After mapping, which some seals forbid.
  must(::fcntl(fd_.get(), F_ADD_SEALS, seals) == 0);
  bytes_ = {static_cast<std::byte*>(address), bytes};
}

MemoryFile::~MemoryFile() { ::munmap(bytes_.data(), bytes_.size()); }

hal::UniqueFd MemoryFile::fd() const { return fd_.duplicate().value(); }

int client_mappings() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:client") != std::string::npos) ++count;
  }
  return count;
}

Link make_link(hal::ResourceManager& manager, const std::string& name, std::uint32_t capacity) {
  auto requests = RemoteRequests::create(manager, name + "/requests", {.capacity = capacity});
  auto replies = RemoteReplies::create(manager, name + "/replies", {.capacity = capacity});
  must(requests && replies);
  auto requests_fd = requests->queue().memory_fd();
  auto replies_fd = replies->queue().memory_fd();
  must(requests_fd && replies_fd);
  auto [ours, theirs] = socket_pair();
  return {.requests = *std::move(requests),
          .replies = *std::move(replies),
          .line = std::move(ours),
          .client_requests = *std::move(requests_fd),
          .client_replies = *std::move(replies_fd),
          .client_line = std::move(theirs)};
}

std::unique_ptr<ChannelServer> serve_link(Channel& channel, Link& link,
                                          const ServerOptions& options) {
  auto server = ChannelServer::create(channel, std::move(link.requests), std::move(link.replies),
                                      std::move(link.line), options);
  if (!server) {
    std::cerr << "no server: " << server.error().message() << '\n';
    std::exit(EXIT_FAILURE);
  }
  return *std::move(server);
}

ServingThread::ServingThread(ChannelServer& server)
    : thread_([this, &server](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          const auto served = server.serve(Channel::Clock::now() + std::chrono::milliseconds(20));
          if (served) continue;
          failure_ = served.error().code();
          return;
        }
      }) {}

std::optional<hal::ErrorCode> ServingThread::stop() {
  thread_.request_stop();
  return join();
}

std::optional<hal::ErrorCode> ServingThread::join() {
  if (thread_.joinable()) thread_.join();
  return failure_;
}

void send_fds(int socket, const std::vector<int>& fds) {
  Parcel parcel(fds.size());
  cmsghdr* const control = CMSG_FIRSTHDR(&parcel.header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(control), fds.data(), fds.size() * sizeof(int));
  must(::sendmsg(socket, &parcel.header, MSG_NOSIGNAL) == 1);
}

std::vector<hal::UniqueFd> receive_fds(int socket, std::size_t count) {
  Parcel parcel(count);
  must(::recvmsg(socket, &parcel.header, MSG_CMSG_CLOEXEC) == 1);
  const cmsghdr* const control = CMSG_FIRSTHDR(&parcel.header);
  must(control != nullptr && control->cmsg_len == CMSG_LEN(count * sizeof(int)));
  std::array<int, kMostFds> numbers{};
  std::memcpy(numbers.data(), CMSG_DATA(control), count * sizeof(int));
  std::vector<hal::UniqueFd> fds;
  for (std::size_t i = 0; i < count; ++i) fds.emplace_back(numbers[i]);
  return fds;
}

void send_value(int socket, std::uint64_t value) {
  must(::send(socket, &value, sizeof(value), MSG_NOSIGNAL) == sizeof(value));
}

std::optional<std::uint64_t> receive_value(int socket) {
  std::uint64_t value = 0;
  if (::recv(socket, &value, sizeof(value), MSG_WAITALL) != sizeof(value)) return std::nullopt;
  return value;
}

ClientProcess::ClientProcess(const std::string& role) {
  auto [ours, theirs] = socket_pair();
  socket_ = std::move(ours);
  // The child finds its end as its standard input.
  posix_spawn_file_actions_t actions;
  must(::posix_spawn_file_actions_init(&actions) == 0);
  must(::posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDIN_FILENO) == 0);
  std::string program = "/proc/self/exe";
  std::string option = "--client=" + role;
  std::array<char*, 3> arguments = {program.data(), option.data(), nullptr};
  must(::posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments.data(), environ) == 0);
  ::posix_spawn_file_actions_destroy(&actions);
}

ClientProcess::~ClientProcess() {
  if (pid_ < 0) return;
  signal(SIGKILL);
  wait();
}

void ClientProcess::signal(int number) const { must(::kill(pid_, number) == 0); }

int ClientProcess::wait() {
  int status = 0;
  must(::waitpid(std::exchange(pid_, -1), &status, 0) > 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace drivers::dma
