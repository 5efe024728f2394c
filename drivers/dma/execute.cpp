// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/execute.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

namespace drivers::dma {
namespace {

/// Where a walk over a list of pieces stands.
class Cursor {
 public:
  explicit Cursor(std::span<const Piece> pieces) noexcept : pieces_(pieces) {}

  [[nodiscard]] std::byte* address() const noexcept { return pieces_.front().address + offset_; }
  /// Bytes up to the end of the piece.
  [[nodiscard]] std::uint64_t room() const noexcept { return pieces_.front().length - offset_; }
  /// REQUIRES: bytes <= room().
  void advance(std::uint64_t bytes) noexcept {
    offset_ += bytes;
    if (offset_ < pieces_.front().length) return;
    pieces_ = pieces_.subspan(1);
    offset_ = 0;
  }

 private:
  std::span<const Piece> pieces_;
  std::uint64_t offset_ = 0;
};

/// Calls `step(bytes)` for chunk after chunk until all is done or a stop is asked for. `step`
/// returns how much of the chunk it could do in one go. Returns the bytes done.
template <typename Step>
std::uint64_t in_chunks(Batch& batch, std::uint64_t length, std::uint64_t chunk_bytes,
                        Step&& step) noexcept {
  std::uint64_t done = 0;
  while (done < length) {
    if (done > 0 && batch.stop_requested()) break;
    const std::uint64_t stepped = step(std::min(chunk_bytes, length - done));
    done += stepped;
    batch.pass(stepped);
  }
  return done;
}

}  // namespace

Outcome execute(Batch& batch, std::size_t index, const Mover& mover,
                std::uint64_t chunk_bytes) noexcept {
  const Work& work = batch.work(index);
  Cursor from(batch.sources(index));
  Cursor to(batch.destinations(index));
  Outcome outcome;

  switch (work.operation) {
    case Operation::Copy:
      outcome.bytes = in_chunks(batch, work.length, chunk_bytes, [&](std::uint64_t bytes) {
        bytes = std::min({bytes, from.room(), to.room()});
        mover.copy(to.address(), from.address(), bytes);
        from.advance(bytes);
        to.advance(bytes);
        return bytes;
      });
      break;
    case Operation::Fill: {
      std::uint64_t pattern = work.parameter;
      outcome.bytes = in_chunks(batch, work.length, chunk_bytes, [&](std::uint64_t bytes) {
        bytes = std::min(bytes, to.room());
        mover.fill({to.address(), bytes}, pattern);
        to.advance(bytes);
        // The next chunk starts in the middle of the pattern, where this one ends there.
        pattern = std::rotr(pattern, static_cast<int>(bytes % sizeof(pattern) * 8));
        return bytes;
      });
      break;
    }
    case Operation::Crc32c: {
      auto crc = static_cast<std::uint32_t>(work.parameter);
      outcome.bytes = in_chunks(batch, work.length, chunk_bytes, [&](std::uint64_t bytes) {
        bytes = std::min(bytes, from.room());
        crc = mover.crc32c(crc, {from.address(), bytes});
        from.advance(bytes);
        return bytes;
      });
      if (outcome.bytes == work.length) {
        outcome.crc32c = crc;
        if (work.destinations != 0) std::memcpy(to.address(), &crc, sizeof(crc));
      }
      break;
    }
  }
  outcome.status = outcome.bytes == work.length ? Status::Done : Status::Cancelled;
  if (outcome.status == Status::Cancelled) outcome.error = hal::ErrorCode::Cancelled;
  return outcome;
}

}  // namespace drivers::dma
