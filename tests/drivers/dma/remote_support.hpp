// SPDX-License-Identifier: Apache-2.0
//
// What the tests of remote channels share: a client's memory, two queues and a line, a thread that
// serves, and another process to be the client.
//
// Lifetime: as the members say. Thread-safety: one test's own.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <hal/resource_manager.hpp>

#include "drivers/dma/remote_server.hpp"
#include "drivers/dma/remote_wire.hpp"
#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {

/// A memfd, mapped here.
class MemoryFile {
 public:
  explicit MemoryFile(std::size_t bytes, int seals = kSealed);
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile();

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  /// A duplicate, to be sent away.
  [[nodiscard]] hal::UniqueFd fd() const;

  static const int kSealed;

 private:
  hal::UniqueFd fd_;
  std::span<std::byte> bytes_;
};

/// Mappings of such files in this process.
[[nodiscard]] int client_mappings();

/// What connects a server with its client: its own ends and those to send away.
struct Link {
  RemoteRequests requests;
  RemoteReplies replies;
  hal::UniqueFd line;
  hal::UniqueFd client_requests;
  hal::UniqueFd client_replies;
  hal::UniqueFd client_line;
};
[[nodiscard]] Link make_link(hal::ResourceManager& manager, const std::string& name,
                             std::uint32_t capacity = 128);
[[nodiscard]] std::unique_ptr<ChannelServer> serve_link(Channel& channel, Link& link,
                                                        const ServerOptions& options = {});

/// Serves until it fails or is stopped.
class ServingThread {
 public:
  explicit ServingThread(ChannelServer& server);
  ServingThread(const ServingThread&) = delete;
  ServingThread& operator=(const ServingThread&) = delete;
  ~ServingThread() = default;

  /// Returns how serving failed, if it did.
  std::optional<hal::ErrorCode> stop();
  /// Waits until serving fails.
  std::optional<hal::ErrorCode> join();

 private:
  std::optional<hal::ErrorCode> failure_;
  std::jthread thread_;
};

/// Sends one byte and descriptors over a socket, or receives as many; ends the program on failure.
void send_fds(int socket, const std::vector<int>& fds);
[[nodiscard]] std::vector<hal::UniqueFd> receive_fds(int socket, std::size_t count);
void send_value(int socket, std::uint64_t value);
/// Empty at the end of the stream.
[[nodiscard]] std::optional<std::uint64_t> receive_value(int socket);

/// This program in another process, as the client that `role` says; see remote_client.cpp.
class ClientProcess {
 public:
  explicit ClientProcess(const std::string& role);
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;
  ~ClientProcess();

  [[nodiscard]] int socket() const noexcept { return socket_.get(); }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  void signal(int number) const;
  /// Waits for its end. The exit code, or -1 if it was killed.
  int wait();

 private:
  hal::UniqueFd socket_;
  pid_t pid_ = -1;
};

}  // namespace drivers::dma
