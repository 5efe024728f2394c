// SPDX-License-Identifier: Apache-2.0
//
// What the echo examples share: a line with a client at its other end, and somebody else who wants
// the same resource now and then.
//
// What it is: the surroundings, so that each example shows its own matter alone. What it is not: a
// part of the library. Lifetime: joins its threads. Thread-safety: the server's end is the
// example's.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>

#include <hal/resource_manager.hpp>

namespace example {

constexpr int kMessages = 1000;

/// The value, or an exception that says why there is none.
template <typename T>
T must(hal::Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

class EchoLine {
 public:
  EchoLine()
      : manager_(must(hal::ResourceManager::create())),
        buffer_(must(manager_->register_resource("echo/buffer", {}))) {
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_.data()) != 0) {
      throw std::runtime_error("socketpair");
    }
    client_ = std::thread([this] { ask(); });
    rival_ = std::thread([this] { use_it_too(); });
  }
  ~EchoLine() {
    over_.store(true);
    rival_.join();
    for (const int end : ends_) ::close(end);
  }
  EchoLine(const EchoLine&) = delete;
  EchoLine& operator=(const EchoLine&) = delete;

  [[nodiscard]] hal::ResourceManager& manager() { return *manager_; }
  [[nodiscard]] hal::Handle buffer() const { return buffer_; }
  /// Where messages come from and their echoes go.
  [[nodiscard]] int server() const { return ends_[0]; }
  /// Until it has asked all; the server finds the line closed then. Says how many came back as
  /// they were, and returns what main() returns.
  int wait_for_client(const char* face) {
    client_.join();
    ::shutdown(ends_[1], SHUT_RDWR);
    std::printf("%s: %d of %d echoed\n", face, echoed_, kMessages);
    return echoed_ == kMessages ? 0 : 1;
  }

 private:
  void ask() {
    for (int i = 0; i < kMessages; ++i) {
      int echo = -1;
      if (::send(ends_[1], &i, sizeof(i), MSG_NOSIGNAL) != sizeof(i)) return;
      if (::recv(ends_[1], &echo, sizeof(echo), 0) == sizeof(echo) && echo == i) ++echoed_;
    }
  }
  void use_it_too() {
    while (!over_.load()) {
      const auto hold = must(
          manager_->acquire_scoped_resource(buffer_, {.mode = hal::AcquisitionMode::Blocking}));
    }
  }

  std::unique_ptr<hal::ResourceManager> manager_;
  hal::Handle buffer_;
  std::array<int, 2> ends_{};
  int echoed_ = 0;  ///< the client's, until it is joined
  std::atomic<bool> over_{false};
  std::thread client_;
  std::thread rival_;
};

}  // namespace example
