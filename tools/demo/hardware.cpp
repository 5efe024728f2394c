// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/hardware.hpp"

#include <fmt/format.h>

#include <chrono>
#include <string_view>
#include <utility>

#include "drivers/gpu/format.hpp"
#include "tools/demo/leaks.hpp"

namespace demo {
namespace {

using hal::ResourceFlags;
using hal::ResourceType;
using hal::Rights;

constexpr Rights kWriter = Rights::Acquire | Rights::Read | Rights::Write;
constexpr Rights kReader = Rights::Acquire | Rights::Read;

}  // namespace

Outcome<std::unique_ptr<Hardware>> Hardware::create(const Options& options, hal::LogSink log) {
  auto manager = hal::ResourceManager::create({.name = "demo", .log = std::move(log)});
  if (!manager) return failed("making a resource manager", manager.error());
  auto hardware = std::make_unique<Hardware>(Key(), std::move(*manager));
  if (auto opened = hardware->open_drivers(); !opened) return std::unexpected(opened.error());
  if (auto added = hardware->add_frames(options); !added) return std::unexpected(added.error());
  if (auto added = hardware->add_stream(); !added) return std::unexpected(added.error());
  return hardware;
}

Hardware::Hardware(Key, std::unique_ptr<hal::ResourceManager> manager) noexcept
    : manager_(std::move(manager)) {}

Outcome<void> Hardware::open_drivers() {
  auto timers = drivers::timer::TimerDriver::create(*manager_, {.channels = 1});
  if (!timers) return failed("opening the timer driver", timers.error());
  timers_ = std::move(*timers);
  auto dma = drivers::dma::DmaDriver::create(*manager_, {.channels = 1});
  if (!dma) return failed("opening the DMA driver", dma.error());
  dma_ = std::move(*dma);
  auto gpu = drivers::gpu::GpuDriver::create(*manager_);
  if (!gpu) return failed("opening the GPU driver", gpu.error());
  gpu_ = std::move(*gpu);
  auto checker = manager_->register_driver("demo-checker");
  if (!checker) return failed("naming the checker", checker.error());
  checker_ = *checker;
  return {};
}

Outcome<void> Hardware::add_frames(const Options& options) {
  for (std::uint32_t i = 0; i < options.pool; ++i) {
    auto buffer = gpu_->create_buffer({.width = options.width, .height = options.height});
    if (!buffer) return failed("making a frame buffer", buffer.error());
    const hal::Handle handle = (*buffer)->handle();
    for (const auto& [driver, rights] : {std::pair(dma_->id(), kWriter), {checker_, kReader}}) {
      if (auto shared = manager_->share_resource(handle, gpu_->id(), driver, rights); !shared) {
        return failed("sharing a frame buffer", shared.error());
      }
    }
    buffers_.push_back(std::move(*buffer));
  }
  notes_.resize(buffers_.size());
  return {};
}

Outcome<void> Hardware::add_stream() {
  auto window =
      manager_->register_resource("demo/input",
                                  {.type = ResourceType::Memory,
                                   .class_name = "file-window",
                                   .size_bytes = frame_bytes(),
                                   .flags = ResourceFlags::ExclusiveOnly},
                                  {.driver = dma_->id(), .backing = hal::Backing::memfd()});
  if (!window) return failed("registering the input window", window.error());
  window_ = *window;
  auto stream = manager_->register_resource(
      "demo/stream", {.class_name = "stream", .flags = ResourceFlags::Aggregate},
      {.driver = dma_->id()});
  if (!stream) return failed("registering the stream", stream.error());
  stream_ = *stream;
  for (const hal::Handle part : {timers_->handles()[0], dma_->handles()[0], window_}) {
    if (auto added = manager_->add_dependency(stream_, part); !added) {
      return failed("putting the stream together", added.error());
    }
  }
  return {};
}

Pool Hardware::pool() {
  Pool pool{.manager = *manager_, .frames = {}, .notes = notes_, .frame_bytes = frame_bytes()};
  for (const auto& buffer : buffers_) pool.frames.push_back(buffer->handle());
  return pool;
}

std::string Hardware::name_of(hal::Handle handle) const {
  const auto info = manager_->info(handle);
  return info ? info->name : "a resource that is gone";
}

std::string Hardware::driver_of(hal::Handle handle) const {
  const auto info = manager_->info(handle);
  return info ? info->owner_name : "a driver that is gone";
}

void Hardware::describe(const Options& options, Screen& screen) const {
  const auto& layout = buffers_.front()->layout();
  const hal::Handle timer = timers_->handles()[0];
  const hal::Handle channel = dma_->handles()[0];
  const hal::Handle first = buffers_.front()->handle();
  const hal::Handle last = buffers_.back()->handle();
  const std::string pace = options.rate_hz == 0 ? std::string("not used: as fast as it goes")
                                                : fmt::format("{} ticks a second", options.rate_hz);
  screen.line("timer", name_of(timer) + " of " + driver_of(timer) + "; " + pace);
  screen.line("dma", name_of(channel) + " of " + driver_of(channel));
  screen.line("gpu", fmt::format("{} to {} of {}: {} x {} {}, {} bytes each;\n"
                                 "shared with {} to write, with demo-checker to read",
                                 name_of(first), name_of(last), driver_of(first), layout.width,
                                 layout.height, drivers::gpu::format_name(layout.format.code),
                                 layout.size_bytes, driver_of(channel)));
  screen.line("stream", fmt::format("{}: timer, channel and {}, acquired as a whole",
                                    name_of(stream_), name_of(window_)));
}

std::vector<std::string> Hardware::close() {
  std::vector<std::string> left = hold_lines(*manager_);
  // Somebody may be about to let go; whoever takes longer than this does not.
  constexpr std::chrono::seconds kPatience{1};
  const auto expect = [&](std::string_view what, const hal::Result<void>& gone) {
    if (!gone) left.push_back(fmt::format("{} stays registered: {}", what, gone.error().message()));
  };
  expect("demo/stream", manager_->unregister_resource(stream_));
  expect("demo/input", manager_->unregister_resource(window_));
  expect("the DMA channel", dma_->close(kPatience));  // it uses the frame buffers
  expect("a frame buffer", gpu_->close());
  expect("the timer", timers_->close());
  if (const std::uint32_t size = manager_->size(); size != 0 && left.empty()) {
    left.push_back(fmt::format("{} resources stay registered", size));
  }
  manager_->close();
  return left;
}

}  // namespace demo
