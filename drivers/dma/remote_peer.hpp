// SPDX-License-Identifier: Apache-2.0
//
// RemotePeer: whether the process at the other end of two queues is still there.
//
// What it is: a descriptor that becomes readable when the peer is gone, and never before. Two kinds
// do: one end of a socketpair over which nothing is ever sent (it tells of a peer that let go, too;
// but a child that the peer forked and that did not exec keeps the line up), and a pidfd (it tells
// of the process alone; a zombie is gone, a stopped process is not). What it is not: a way to talk.
//
// Lifetime: owns the descriptor; the other side of a socketpair learns of its end. Thread-safety:
// gone() from any thread.
//
//   if (peer.gone()) ...
#pragma once

#include <poll.h>

#include <chrono>
#include <utility>

#include <hal/resource.hpp>

namespace drivers::dma {

/// How long it takes at most to notice that a peer is gone.
inline constexpr std::chrono::milliseconds kPeerLook{50};

class RemotePeer {
 public:
  explicit RemotePeer(hal::UniqueFd line) noexcept : line_(std::move(line)) {}

  [[nodiscard]] bool gone() const noexcept {
    pollfd line{.fd = line_.get(), .events = POLLIN, .revents = 0};
    return !line_ || ::poll(&line, 1, 0) == 1;
  }
  /// Lets the peer know that we are. gone() is true from then on.
  void hang_up() noexcept { line_.reset(); }

 private:
  hal::UniqueFd line_;
};

}  // namespace drivers::dma
