// SPDX-License-Identifier: Apache-2.0
//
// An echo that is called back: hal::Ring beside a socket in a loop of poll(2).
#include <poll.h>

#include <array>

#include <hal/ring.hpp>

#include "hal/examples/echo_line.hpp"

namespace {

void serve(example::EchoLine& line) {
  const auto ring = example::must(hal::Ring::create());
  std::array<pollfd, 2> ready{pollfd{line.server(), POLLIN, 0}, pollfd{ring->fd(), POLLIN, 0}};
  for (;;) {
    example::must(ring->poll());
    // At most so long while something is waited for: see hal/ring.hpp.
    ::poll(ready.data(), ready.size(), ring->pending() != 0 ? 100 : -1);
    if (ready[0].revents == 0) continue;
    int message = 0;
    if (::recv(line.server(), &message, sizeof(message), MSG_DONTWAIT) != sizeof(message)) return;
    const auto echo = [&line, message](hal::Result<hal::ScopedResource> hold) {
      const auto buffer = example::must(std::move(hold));
      ::send(line.server(), &message, sizeof(message), MSG_NOSIGNAL);
    };
    example::must(ring->acquire(line.manager(), line.buffer(),
                                {.mode = hal::AcquisitionMode::Blocking}, echo));
  }
}

}  // namespace

int main() {
  example::EchoLine line;
  const std::jthread server([&] { serve(line); });
  return line.wait_for_client("callbacks");
}
