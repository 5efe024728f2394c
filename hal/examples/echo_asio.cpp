// SPDX-License-Identifier: Apache-2.0
//
// An echo in an io_context of Asio's: messages and the buffer are awaited side by side.
#include <hal/asio.hpp>

#include <unistd.h>

#include <boost/asio.hpp>

#include "hal/examples/echo_line.hpp"

namespace {

namespace net = boost::asio;

net::awaitable<void> serve(hal::AsioRing& ring, example::EchoLine& line) {
  net::posix::stream_descriptor client(ring.get_executor(), ::dup(line.server()));
  int message = 0;
  const net::mutable_buffer whole(&message, sizeof(message));
  boost::system::error_code closed;
  for (;;) {
    co_await client.async_read_some(whole, net::redirect_error(net::use_awaitable, closed));
    if (closed) co_return;
    const auto buffer = example::must(
        co_await hal::async_acquire(ring, line.manager(), line.buffer(),
                                    {.mode = hal::AcquisitionMode::Blocking}, net::use_awaitable));
    co_await client.async_write_some(whole, net::use_awaitable);
  }
}

}  // namespace

int main() {
  example::EchoLine line;
  const std::jthread server([&] {
    net::io_context io;
    auto ring = example::must(hal::AsioRing::create(io.get_executor()));
    net::co_spawn(io, serve(ring, line), net::detached);
    io.run();
  });
  return line.wait_for_client("asio");
}
