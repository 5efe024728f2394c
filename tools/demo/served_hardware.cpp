// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/served_hardware.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <csignal>
#include <string_view>
#include <tuple>
#include <utility>

#include "tools/demo/leaks.hpp"
#include "tools/demo/served_messages.hpp"
#include "tools/demo/served_notes.hpp"

namespace demo {
namespace {

using hal::ResourceFlags;
using hal::ResourceType;
using hal::Rights;

}  // namespace

Outcome<std::unique_ptr<ServedHardware>> ServedHardware::create(const Options& options,
                                                                hal::LogSink log) {
  auto daemon = DaemonProcess::start(options.resmgrd);
  if (!daemon) return std::unexpected(std::move(daemon.error()));
  auto manager = daemon->connect(std::move(log));
  if (!manager) return std::unexpected(std::move(manager.error()));
  auto hardware =
      std::make_unique<ServedHardware>(Key(), options, std::move(*daemon), std::move(*manager));
  for (const auto step : {&ServedHardware::name_drivers, &ServedHardware::start_processes,
                          &ServedHardware::add_memory, &ServedHardware::add_stream}) {
    if (auto done = ((*hardware).*step)(); !done) return std::unexpected(std::move(done.error()));
  }
  return hardware;
}

ServedHardware::ServedHardware(Key, const Options& options, DaemonProcess daemon,
                               std::unique_ptr<hal::ResourceManager> manager) noexcept
    : options_(options), daemon_(std::move(daemon)), manager_(std::move(manager)) {}

Outcome<void> ServedHardware::name_drivers() {
  for (const auto& [to, name] : {std::pair(&producer_, kProducerDriver),
                                 {&checker_driver_, kCheckerDriver},
                                 {&dma_driver_, kDmaDriver}}) {
    auto id = manager_->register_driver(name);
    if (!id) return failed("naming the drivers", id.error());
    *to = *id;
  }
  return {};
}

Outcome<void> ServedHardware::start_processes() {
  for (const auto& [to, role] :
       {std::pair(&timer_, Role::Timer), {&checker_, Role::Checker}, {&dma_, Role::Dma}}) {
    auto process = RoleProcess::start(role, options_, daemon_.socket());
    if (!process) return std::unexpected(std::move(process.error()));
    *to = std::make_unique<RoleProcess>(std::move(*process));
  }
  for (const auto& process : {&timer_, &checker_, &dma_}) {
    const auto ready = (*process)->hear<Ready>();
    if (!ready) return std::unexpected(ready.error());
    if (process == &checker_) frame_bytes_ = (*ready)->frame_bytes;
  }
  const auto timer = manager_->find(kTimerName);
  if (!timer) return failed("finding the timer", timer.error());
  timer_channel_ = *timer;
  for (std::uint32_t i = 0; i < options_.pool; ++i) {
    const auto frame = manager_->find(frame_name(i));
    if (!frame) return failed("finding a frame buffer", frame.error());
    frames_.push_back(*frame);
  }
  return {};
}

Outcome<void> ServedHardware::add_memory() {
  auto window =
      manager_->register_resource(kWindowName,
                                  {.type = ResourceType::Memory,
                                   .class_name = "file-window",
                                   .size_bytes = frame_bytes_,
                                   .flags = ResourceFlags::Shareable},
                                  {.driver = producer_, .backing = hal::Backing::memfd()});
  if (!window) return failed("registering the input window", window.error());
  window_ = *window;
  auto notes = register_notes(*manager_, producer_, options_.pool);
  if (!notes) return std::unexpected(std::move(notes.error()));
  notes_handle_ = *notes;
  auto mapped = map_notes(*manager_, producer_);
  if (!mapped) return std::unexpected(std::move(mapped.error()));
  notes_ = *mapped;
  for (const auto& [what, with, rights] :
       {std::tuple(window_, dma_driver_, Rights::Read | Rights::Write),
        {notes_handle_, checker_driver_, Rights::Read}}) {
    if (auto shared = manager_->share_resource(what, producer_, with, rights); !shared) {
      return failed("sharing memory", shared.error());
    }
  }
  return {};
}

Outcome<void> ServedHardware::add_stream() {
  auto stream = manager_->register_resource(
      "demo/stream", {.class_name = "stream", .flags = ResourceFlags::Aggregate},
      {.driver = producer_});
  if (!stream) return failed("registering the stream", stream.error());
  stream_ = *stream;
  for (const hal::Handle part : {timer_channel_, window_}) {
    if (auto added = manager_->add_dependency(stream_, part); !added) {
      return failed("putting the stream together", added.error());
    }
  }
  return {};
}

Pool ServedHardware::pool() {
  return {.manager = *manager_, .frames = frames_, .notes = notes_, .frame_bytes = frame_bytes_};
}

Outcome<void> ServedHardware::open_link() {
  auto link = DmaLink::open(*manager_, {.client = producer_, .driver = dma_driver_}, links_++,
                            *dma_, options_.pool);
  if (!link) return std::unexpected(std::move(link.error()));
  link_ = std::move(*link);
  return {};
}

Outcome<void> ServedHardware::restart_dma() {
  const int status = dma_->process().wait(RoleProcess::kPatience);
  if (status != -SIGKILL) return failed(role_name(Role::Dma), fate_text(status));
  auto process = RoleProcess::start(Role::Dma, options_, daemon_.socket());
  if (!process) return std::unexpected(std::move(process.error()));
  dma_ = std::make_unique<RoleProcess>(std::move(*process));
  if (auto ready = dma_->hear<Ready>(); !ready) return std::unexpected(std::move(ready.error()));
  return {};
}

void ServedHardware::describe(Screen& screen) const {
  const std::string pace = options_.rate_hz == 0
                               ? std::string("not used: as fast as it goes")
                               : fmt::format("{} ticks a second", options_.rate_hz);
  screen.line("resmgrd", fmt::format("pid {}, at {}", daemon_.pid(), daemon_.socket()));
  screen.line("timer", fmt::format("{} of pid {}; {}", kTimerName, timer_->process().pid(), pace));
  screen.line("dma", fmt::format("{} of pid {}, which serves it over queues", kChannelName,
                                 dma_->process().pid()));
  screen.line("gpu",
              fmt::format("{} to {} of pid {}: {} x {}, {} bytes each;\n"
                          "shared with {} to write; the checker is with them",
                          frame_name(0), frame_name(options_.pool - 1), checker_->process().pid(),
                          options_.width, options_.height, frame_bytes_, kDmaDriver));
  screen.line("stream", fmt::format("demo/stream: timer and {}, acquired as a whole", kWindowName));
}

std::vector<std::string> ServedHardware::close() {
  std::vector<std::string> left;
  const auto stop = [&](std::unique_ptr<RoleProcess>& process) {
    if (auto trouble = process->stop()) left.push_back(*std::move(trouble));
    process.reset();
  };
  // Each before what it uses: the DMA driver writes into frames, the stream needs the timer.
  stop(dma_);
  if (link_) {
    if (auto closed = link_->close(); !closed) left.push_back(closed.error().text);
  }
  unregister_own(left);
  stop(checker_);
  stop(timer_);
  look_for_leaks(left);
  manager_->close();
  if (const int status = daemon_.stop(); status != 0) {
    left.push_back("resmgrd " + fate_text(status));
  }
  return left;
}

void ServedHardware::unregister_own(std::vector<std::string>& left) {
  const auto expect = [&](std::string_view what, const hal::Result<void>& done) {
    if (!done) left.push_back(fmt::format("{} stays registered: {}", what, done.error().message()));
  };
  expect("demo/stream", manager_->unregister_resource(stream_));
  // What a driver uses stays, and one that was killed can't say that it is done.
  expect(kWindowName, manager_->unshare_resource(window_, producer_, dma_driver_));
  expect(kWindowName, manager_->unregister_resource(window_));
  expect(kNotesName, manager_->unshare_resource(notes_handle_, producer_, checker_driver_));
  expect(kNotesName, manager_->unregister_resource(notes_handle_));
}

void ServedHardware::look_for_leaks(std::vector<std::string>& left) const {
  for (std::string& line : hold_lines(*manager_)) left.push_back(std::move(line));
  const auto looked = manager_->for_each([&](const hal::ResourceInfo& info) {
    left.push_back(fmt::format("{} of {} stays registered", info.name, info.owner_name));
    return true;
  });
  if (!looked) left.push_back("what stays registered is not known: " + looked.error().message());
}

}  // namespace demo
