// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/producer.hpp"

#include <fmt/format.h>

#include <chrono>
#include <utility>
#include <vector>

#include "drivers/dma/descriptor.hpp"

namespace demo {
namespace {

using drivers::dma::Descriptor;
using std::chrono::nanoseconds;

// A copy of one frame takes microseconds; an engine that needs this long is stuck.
constexpr std::chrono::seconds kEnginePatience{10};

}  // namespace

std::optional<std::uint64_t> frames_to_move(const Options& options, const InputFile& file,
                                            std::uint64_t frame_bytes) {
  if (options.frames) return options.frames;
  const auto size = file.size();
  if (!size) return {};
  return *size / frame_bytes + (*size % frame_bytes != 0 ? 1 : 0);
}

Producer::Producer(const Pool& pool, hal::DriverId role, OpenStream open_stream,
                   const InputFile& file, const Options& options, Interrupt& interrupt,
                   Latencies& latencies, std::function<bool()> stop)
    : pool_(pool),
      role_(role),
      open_stream_(std::move(open_stream)),
      file_(file),
      options_(options),
      interrupt_(interrupt),
      stop_(std::move(stop)),
      acquirer_(pool.manager, latencies),
      total_(frames_to_move(options, file, pool.frame_bytes)) {}

Producer::~Producer() { end(); }

Outcome<void> Producer::begin() {
  // Blame and cycles name the driver that this thread works for.
  if (auto named = pool_.manager.set_thread_driver(role_); !named) {
    return failed("naming the producer", named.error());
  }
  auto stream = open_stream_();
  if (!stream) return std::unexpected(std::move(stream.error()));
  stream_ = std::move(*stream);
  auto first = acquirer_.acquire(pool_.frames[0], hal::HoldKind::Exclusive);
  if (!first) return std::unexpected(std::move(first.error()));
  hold_ = std::move(*first);
  return {};
}

Outcome<void> Producer::run(Screen& screen) {
  auto outcome = move_frames(screen);
  end();
  return outcome;
}

Outcome<void> Producer::move_frames(Screen& screen) {
  started_ = Screen::Clock::now();
  if (options_.rate_hz != 0) {
    const nanoseconds period = nanoseconds(std::chrono::seconds(1)) / options_.rate_hz;
    if (auto armed = stream_->timer().arm_after({}, period); !armed) {
      return failed("arming the timer", armed.error());
    }
  }
  while (!options_.frames || number_ < *options_.frames) {
    auto go = pace();
    if (!go) return std::unexpected(std::move(go.error()));
    if (*go == Step::End) return {};

    FrameNote& note = pool_.notes[index_];
    auto more = read(note);
    if (!more) return std::unexpected(std::move(more.error()));
    if (*more == Step::End) return {};
    if (auto moved = transfer(note); !moved) return moved;
    if (options_.corrupt_frame == note.number) {
      if (auto flipped = corrupt(note); !flipped) return flipped;
    }
    if (auto next = take_next_frame(); !next) return next;
    show_progress(screen);
  }
  return {};
}

Outcome<Producer::Step> Producer::pace() {
  if (stop_()) return Step::End;
  interrupted_ = interrupt_.requested();
  while (!interrupted_ && options_.rate_hz != 0 && ticks_left_ == 0) {
    auto tick = stream_->timer().poll();
    if (tick) {
      // Ticks that were missed are made up for.
      ticks_left_ = tick->count;
      break;
    }
    if (tick.error() != hal::ErrorCode::WouldBlock) return failed("the timer", tick.error());
    auto readable = interrupt_.wait_readable(stream_->timer().fd());
    if (!readable) return std::unexpected(std::move(readable.error()));
    interrupted_ = !*readable;
  }
  if (interrupted_) return Step::End;
  if (ticks_left_ != 0) --ticks_left_;
  return Step::Go;
}

Outcome<Producer::Step> Producer::read(FrameNote& note) {
  auto count = file_.read(offset_, stream_->window());
  if (count && *count == 0 && options_.frames && offset_ != 0) {
    offset_ = 0;
    count = file_.read(offset_, stream_->window());
  }
  if (!count) return std::unexpected(std::move(count.error()));
  if (*count == 0) return Step::End;
  note = {.number = number_, .offset = offset_, .bytes = *count};
  offset_ += *count;
  return Step::Go;
}

Outcome<void> Producer::transfer(FrameNote& note) {
  for (;;) {
    const auto crc = run_engine(note);
    if (crc) {
      note.engine_crc = *crc;
      return {};
    }
    if (auto recovered = stream_->recover(crc.error()); !recovered) return recovered;
  }
}

hal::Result<std::uint32_t> Producer::run_engine(const FrameNote& note) {
  const auto frame = stream_->frame_id(index_);
  const std::uint64_t rest = pool_.frame_bytes - note.bytes;
  std::vector<Descriptor> work{
      Descriptor::copy({stream_->window_id(), 0, note.bytes}, {frame, 0, note.bytes}),
      Descriptor::crc32c({frame, 0, note.bytes})};
  // Nothing of the frame's last content shows behind a shorter one.
  if (rest != 0) work.push_back(Descriptor::fill({frame, note.bytes, rest}, 0));

  const auto ticket = stream_->submit(work, note.number);
  if (!ticket) return std::unexpected(ticket.error());
  const auto deadline = drivers::dma::Channel::Clock::now() + kEnginePatience;
  if (auto done = stream_->channel().wait(*ticket, deadline); !done) {
    return std::unexpected(std::move(done.error()));
  }
  const auto read_back = ticket->outcome(1);
  const auto crc = read_back ? read_back->crc32c : std::nullopt;
  if (!crc) return resmgr::fail(hal::ErrorCode::System, "an outcome without its CRC");
  return *crc;
}

Outcome<void> Producer::corrupt(const FrameNote& note) {
  auto memory = pool_.manager.map(pool_.frames[index_], role_);
  if (!memory) return failed("writing into a frame", memory.error());
  (*memory)[note.bytes / 2] ^= std::byte{1};
  return {};
}

Outcome<void> Producer::take_next_frame() {
  const std::size_t next = (index_ + 1) % pool_.frames.size();
  auto hold = acquirer_.acquire(pool_.frames[next], hal::HoldKind::Exclusive);
  if (!hold) return std::unexpected(std::move(hold.error()));
  hold_ = std::move(*hold);  // which releases the frame that was filled
  index_ = next;
  ++number_;
  return {};
}

void Producer::end() noexcept {
  if (!hold_) return;
  pool_.notes[index_] = {.end = true};
  // The hold is ours: nobody fences it here.
  static_cast<void>(hold_.release());
}

void Producer::show_progress(Screen& screen) const {
  const auto now = Screen::Clock::now();
  if (!screen.wants_progress(now)) return;
  const std::string total = total_ ? fmt::format(" of {}", *total_) : std::string();
  screen.progress(
      now, fmt::format("{}{} frames, {:.1f} s, waited for the checker {} times", number_, total,
                       std::chrono::duration<double>(now - started_).count(), acquirer_.waits()));
}

drivers::timer::TimerStatistics Producer::ticks() const noexcept {
  return stream_ ? stream_->timer().statistics() : drivers::timer::TimerStatistics();
}

}  // namespace demo
