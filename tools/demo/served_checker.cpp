// SPDX-License-Identifier: Apache-2.0
//
// The GPU driver in a process of its own, and the checker beside it: the frames are theirs.
#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "drivers/gpu/gpu_driver.hpp"
#include "tools/demo/checker.hpp"
#include "tools/demo/input_file.hpp"
#include "tools/demo/served_messages.hpp"
#include "tools/demo/served_notes.hpp"
#include "tools/demo/served_role.hpp"

namespace demo {
namespace {

using drivers::gpu::Buffer;
using drivers::gpu::GpuDriver;
using hal::Rights;

/// The frames, and whom they are shared with.
class Frames {
 public:
  explicit Frames(hal::ResourceManager& manager) noexcept : manager_(manager) {}

  Outcome<void> open(const Options& options) {
    auto gpu = GpuDriver::create(manager_);
    if (!gpu) return failed("opening the GPU driver", gpu.error());
    gpu_ = std::move(*gpu);
    for (std::uint32_t i = 0; i < options.pool; ++i) {
      auto buffer = gpu_->create_buffer({.width = options.width, .height = options.height});
      if (!buffer) return failed("making a frame buffer", buffer.error());
      buffers_.push_back(std::move(*buffer));
    }
    constexpr Rights kWriter = Rights::Acquire | Rights::Read | Rights::Write;
    // The producer has the DMA engine write, unless a frame is to be spoilt.
    const Rights producer = options.corrupt_frame ? kWriter : Rights::Acquire;
    for (const auto& [name, rights] : {std::pair(kDmaDriver, kWriter),
                                       {kProducerDriver, producer},
                                       {kCheckerDriver, Rights::Acquire | Rights::Read}}) {
      if (auto shared = share(name, rights); !shared) return shared;
    }
    return {};
  }
  [[nodiscard]] const std::vector<std::shared_ptr<Buffer>>& buffers() const noexcept {
    return buffers_;
  }
  Outcome<void> close() {
    // What a driver uses stays, and one that was killed can't say that it is done.
    for (const hal::DriverId user : users_) {
      for (const auto& buffer : buffers_) {
        if (auto ended = manager_.unshare_resource(buffer->handle(), gpu_->id(), user); !ended) {
          return failed("unsharing a frame buffer", ended.error());
        }
      }
    }
    if (auto closed = gpu_->close(); !closed) return failed("a frame buffer", closed.error());
    return {};
  }

 private:
  Outcome<void> share(std::string_view driver, Rights rights) {
    const auto user = manager_.register_driver(driver);
    if (!user) return failed("naming a driver", user.error());
    users_.push_back(*user);
    for (const auto& buffer : buffers_) {
      if (auto shared = manager_.share_resource(buffer->handle(), gpu_->id(), *user, rights);
          !shared) {
        return failed("sharing a frame buffer", shared.error());
      }
    }
    return {};
  }

  hal::ResourceManager& manager_;
  std::unique_ptr<GpuDriver> gpu_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
  std::vector<hal::DriverId> users_;
};

Checked summary(const CheckResult& result, const Latencies& latencies) {
  Checked checked{.frames = result.frames,
                  .bytes = result.bytes,
                  .wrong = result.wrong,
                  .hiccups = result.hiccups,
                  .waits = result.waits,
                  .shown = result.first_wrong.size()};
  std::ranges::copy(result.first_wrong, checked.first_wrong.begin());
  latencies.copy(checked.acquired_at_once, checked.waited);
  return checked;
}

Outcome<void> check_all(const Options& options, hal::ResourceManager& manager, const Frames& frames,
                        ControlLine& line) {
  const auto file = InputFile::open(options.input);
  if (!file) return std::unexpected(file.error());
  const auto role = manager.register_driver(kCheckerDriver);
  if (!role) return failed("naming the checker", role.error());
  if (auto go = line.receive<Go>(std::chrono::seconds(10)); !go) {
    return std::unexpected(std::move(go.error()));
  }
  const auto notes = map_notes(manager, *role);
  if (!notes) return std::unexpected(notes.error());
  Pool pool{.manager = manager,
            .frames = {},
            .notes = *notes,
            .frame_bytes = frames.buffers().front()->layout().size_bytes};
  for (const auto& buffer : frames.buffers()) pool.frames.push_back(buffer->handle());

  Latencies latencies;
  Checker checker(pool, frames.buffers(), *role, *file, options, latencies);
  if (auto started = checker.start(); !started) return started;
  if (auto told = line.send(Watching()); !told) return told;
  const auto result = checker.finish();
  if (!result) return std::unexpected(result.error());
  return line.send(summary(*result, latencies));
}

}  // namespace

Outcome<void> run_checker(const Options& options, hal::ResourceManager& manager,
                          ControlLine& line) {
  Frames frames(manager);
  if (auto opened = frames.open(options); !opened) return opened;
  const Ready ready{.frame_bytes = frames.buffers().front()->layout().size_bytes};
  if (auto told = line.send(ready); !told) return told;
  if (auto checked = check_all(options, manager, frames, line); !checked) return checked;
  await_stop(line);
  return frames.close();
}

}  // namespace demo
