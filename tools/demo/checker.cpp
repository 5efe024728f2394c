// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/checker.hpp"

#include <chrono>
#include <span>
#include <system_error>
#include <utility>

#include "drivers/dma/crc32c.hpp"

namespace demo {
namespace {

// At 1000 frames a second the producer then comes round to the checker's frame.
constexpr std::chrono::milliseconds kHiccup{10};

}  // namespace

Checker::Checker(const Pool& pool, Buffers buffers, hal::DriverId role, const InputFile& file,
                 const Options& options, Latencies& latencies)
    : pool_(pool),
      buffers_(buffers),
      role_(role),
      file_(file),
      options_(options),
      acquirer_(pool.manager, latencies),
      again_(pool.frame_bytes),
      chance_(options.seed) {}

Checker::~Checker() {
  if (thread_.joinable()) thread_.join();
}

Outcome<void> Checker::start() try {
  std::promise<Outcome<void>> started;
  auto outcome = started.get_future();
  thread_ = std::thread(&Checker::run, this, std::move(started));
  return outcome.get();
} catch (const std::system_error& error) {
  return failed("starting the checker", error.what());
}

Outcome<CheckResult> Checker::finish() {
  if (thread_.joinable()) thread_.join();
  if (failure_) return std::unexpected(*failure_);
  result_.waits = acquirer_.waits();
  return result_;
}

void Checker::run(std::promise<Outcome<void>> started) {
  auto place = take_place();
  if (!place) {
    started.set_value(std::unexpected(std::move(place.error())));
    return;
  }
  started.set_value({});
  if (auto checked = check_frames(std::move(*place)); !checked) {
    failure_ = std::move(checked.error());
    gave_up_.store(true, std::memory_order_relaxed);
  }
}

// The last frame of the pool, as if it had just been checked: the producer, who has the first,
// can't come past it before the checker went on.
Outcome<hal::ScopedResource> Checker::take_place() {
  if (auto named = pool_.manager.set_thread_driver(role_); !named) {
    return failed("naming the checker", named.error());
  }
  return acquirer_.acquire(pool_.frames.back(), hal::HoldKind::Shared);
}

Outcome<void> Checker::check_frames(hal::ScopedResource hold) {
  for (std::size_t index = 0;; index = (index + 1) % pool_.frames.size()) {
    auto next = acquirer_.acquire(pool_.frames[index], hal::HoldKind::Shared);
    if (!next) return std::unexpected(std::move(next.error()));
    hold = std::move(*next);  // which releases the frame before
    if (pool_.notes[index].end) return {};
    if (auto checked = check(index, hold); !checked) return checked;
    maybe_hiccup();
  }
}

Outcome<void> Checker::check(std::size_t index, const hal::ScopedResource& hold) {
  const FrameNote& note = pool_.notes[index];
  auto access = buffers_[index]->begin_cpu_access(hold, drivers::gpu::CpuAccess::Read);
  if (!access) return failed("reading a frame", access.error());
  const std::uint32_t buffer_crc = drivers::dma::crc32c(0, access->bytes().first(note.bytes));

  // A file that was cut meanwhile gives fewer bytes, and with them another CRC.
  auto count = file_.read(note.offset, std::span(again_).first(note.bytes));
  if (!count) return std::unexpected(std::move(count.error()));
  const std::uint32_t file_crc = drivers::dma::crc32c_by_table(0, std::span(again_).first(*count));

  ++result_.frames;
  result_.bytes += note.bytes;
  if (buffer_crc != file_crc || note.engine_crc != file_crc || *count != note.bytes) {
    ++result_.wrong;
    if (result_.first_wrong.size() < CheckResult::kShown) {
      result_.first_wrong.push_back({note, file_crc, buffer_crc});
    }
  }
  return {};
}

void Checker::maybe_hiccup() {
  if (chance_() % 100 >= options_.hiccups_percent) return;
  ++result_.hiccups;
  std::this_thread::sleep_for(kHiccup);
}

}  // namespace demo
