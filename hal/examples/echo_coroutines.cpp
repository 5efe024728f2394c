// SPDX-License-Identifier: Apache-2.0
//
// An echo as coroutines, which wait for the buffer with co_await.
#include <hal/ring.hpp>
#include <hal/task.hpp>

#include "hal/examples/echo_line.hpp"

namespace {

// A task that may wait beside others in its thread has a context of its own.
hal::Task<> echo(hal::Ring& ring, example::EchoLine& line, hal::Context& context, int message) {
  const auto buffer = example::must(
      co_await ring.acquire(line.manager(), line.buffer(),
                            {.mode = hal::AcquisitionMode::Blocking, .context = &context}));
  ::send(line.server(), &message, sizeof(message), MSG_NOSIGNAL);
}

hal::Task<> serve(hal::Ring& ring, example::EchoLine& line) {
  hal::Context context = example::must(line.manager().create_context());
  int message = 0;
  while (::recv(line.server(), &message, sizeof(message), 0) == sizeof(message)) {
    co_await echo(ring, line, context, message);
  }
}

}  // namespace

int main() {
  example::EchoLine line;
  const std::jthread server([&] {
    const auto ring = example::must(hal::Ring::create());
    example::must(hal::run(*ring, serve(*ring, line)));
  });
  return line.wait_for_client("coroutines");
}
