// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/served_stream.hpp"

#include <fmt/format.h>

#include <csignal>
#include <utility>

#include "tools/demo/served_messages.hpp"

namespace demo {

Outcome<std::unique_ptr<Stream>> ServedStream::open(ServedHardware& hardware, Fate& fate,
                                                    Screen& screen) {
  auto stream = std::make_unique<ServedStream>(Key(), hardware, fate, screen);
  if (auto acquired = stream->acquire(); !acquired) return std::unexpected(acquired.error());
  if (auto linked = stream->connect(); !linked) return std::unexpected(linked.error());
  return stream;
}

Outcome<void> ServedStream::acquire() {
  using namespace std::chrono_literals;
  hal::ResourceManager& manager = hardware_.manager();
  auto holds = manager.acquire_aggregate(hardware_.stream(),
                                         {.mode = hal::AcquisitionMode::Timeout, .timeout = 1s});
  if (!holds) return failed("acquiring the stream", holds.error());
  holds_ = std::move(*holds);
  auto timer = BorrowedTimer::open(manager, hardware_.timer(), hardware_.producer());
  if (!timer) return std::unexpected(std::move(timer.error()));
  timer_ = std::move(*timer);
  parts_.timer = &timer_->timer();
  auto window = manager.map(hardware_.window(), hardware_.producer());
  if (!window) return failed("mapping the input window", window.error());
  parts_.window = *window;
  return {};
}

Outcome<void> ServedStream::connect() {
  if (auto opened = hardware_.open_link(); !opened) return opened;
  DmaLink& link = hardware_.link();
  parts_.channel = &link.channel();
  parts_.window_id = link.window_id();
  parts_.frame_ids = link.frame_ids();
  return {};
}

ServedStream::~ServedStream() {
  // What fails here is found when the hardware is closed.
  if (timer_) static_cast<void>(timer_->timer().disarm());
  if (parts_.channel != nullptr) hardware_.link().hang_up();
}

hal::Result<drivers::dma::Ticket> ServedStream::submit(
    std::span<const drivers::dma::Descriptor> work, std::uint64_t number) {
  const ChildProcess& driver = hardware_.dma().process();
  if (fate_.killed != 0 || number != fate_.frame || !driver.freeze()) {
    return Stream::submit(work, number);
  }
  auto ticket = Stream::submit(work, number);
  killed_at_ = std::chrono::steady_clock::now();
  driver.signal(SIGKILL);
  ++fate_.killed;
  screen_.line("kill", fmt::format("{}, pid {}, by SIGKILL, with frame {} under way", kDmaDriver,
                                   driver.pid(), number));
  return ticket;
}

Outcome<void> ServedStream::recover(const hal::Error& why) {
  const bool expected = fate_.killed != 0 && fate_.recovered == fate_.recovered.zero();
  if (!expected || why != hal::ErrorCode::Disconnected) return failed("the DMA engine", why);
  if (auto buried = hardware_.link().bury(); !buried) return buried;
  if (auto restarted = hardware_.restart_dma(); !restarted) return restarted;
  if (auto linked = connect(); !linked) return linked;
  fate_.recovered = std::chrono::steady_clock::now() - killed_at_;
  screen_.line(
      "restart",
      fmt::format("{} is pid {} now; its channel was usable again after {:.1f} ms;\n"
                  "frame {} is sent once more",
                  kDmaDriver, hardware_.dma().process().pid(),
                  std::chrono::duration<double, std::milli>(fate_.recovered).count(), fate_.frame));
  return {};
}

}  // namespace demo
