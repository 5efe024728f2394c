// SPDX-License-Identifier: Apache-2.0
//
// Descriptor: one piece of work for a DMA channel, and what became of it.
//
// What it is: what to do (copy, fill, CRC32C) and where, as segments of memory that was attached to
// the channel before. Segments hold no addresses, so a descriptor can come from another process;
// the channel checks every one of them. What it is not: in flight; submitting copies it.
//
// Lifetime: a plain value. Segments given as a span are borrowed until submit() returns.
// Thread-safety: as a plain value.
//
//   Descriptor::copy({input, 0, 4096}, {frame, 8192, 4096});
//   Descriptor::fill({frame, 0, 8192}, 0);
//   Descriptor::crc32c({frame, 0, 12288}).store_result({results, 16, 4});
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <hal/resource.hpp>

namespace drivers::dma {

/// Memory attached to one channel: slot:32 | generation:32. Generations start at 1, so the default
/// one is never valid. Any bits are accepted and checked where they are used.
struct BufferId {
  std::uint64_t bits = 0;
  friend constexpr bool operator==(BufferId, BufferId) noexcept = default;
};

/// A part of an attached buffer.
struct Segment {
  BufferId buffer;
  std::uint64_t offset = 0;  ///< bytes from the buffer's start
  std::uint64_t length = 0;  ///< bytes; 0 is refused
};

enum class Operation : std::uint8_t {
  Copy = 0,    ///< gathers the sources, scatters into the destinations; their totals are equal
  Fill = 1,    ///< repeats a pattern over the destinations
  Crc32c = 2,  ///< CRC32C (RFC 3720) over the sources, one after another
};

class Descriptor {
 public:
  /// Copies. Source and destination must not overlap in memory: the channel refuses that.
  [[nodiscard]] static Descriptor copy(const Segment& from, const Segment& to) noexcept {
    return {Operation::Copy, List(from), List(to)};
  }
  [[nodiscard]] static Descriptor copy(std::span<const Segment> from,
                                       std::span<const Segment> to) noexcept {
    return {Operation::Copy, List(from), List(to)};
  }
  /// Fills with the eight bytes of `pattern`, lowest first, again and again. The pattern goes on
  /// from one segment into the next; no length needs to be a multiple of eight.
  [[nodiscard]] static Descriptor fill(const Segment& to, std::uint64_t pattern) noexcept {
    return {Operation::Fill, List(), List(to), pattern};
  }
  [[nodiscard]] static Descriptor fill(std::span<const Segment> to,
                                       std::uint64_t pattern) noexcept {
    return {Operation::Fill, List(), List(to), pattern};
  }
  /// Computes CRC32C; the value is in Outcome::crc32c. `seed` is the CRC32C of what came before, so
  /// that long data can be done in parts; 0 starts afresh.
  [[nodiscard]] static Descriptor crc32c(const Segment& of, std::uint32_t seed = 0) noexcept {
    return {Operation::Crc32c, List(of), List(), seed};
  }
  [[nodiscard]] static Descriptor crc32c(std::span<const Segment> of,
                                         std::uint32_t seed = 0) noexcept {
    return {Operation::Crc32c, List(of), List(), seed};
  }
  /// Crc32c only: also stores the value at `slot`, four bytes in the machine's order.
  [[nodiscard]] Descriptor store_result(const Segment& slot) const noexcept {
    Descriptor copy = *this;
    copy.destinations_ = List(slot);
    return copy;
  }

  [[nodiscard]] Operation operation() const noexcept { return operation_; }
  [[nodiscard]] std::span<const Segment> sources() const noexcept { return sources_.view(); }
  [[nodiscard]] std::span<const Segment> destinations() const noexcept {
    return destinations_.view();
  }
  /// Fill: the pattern. Crc32c: the seed.
  [[nodiscard]] std::uint64_t parameter() const noexcept { return parameter_; }

 private:
  /// One segment of our own, or any number of the caller's.
  class List {
   public:
    List() noexcept = default;
    explicit List(const Segment& one) noexcept : one_(one), has_one_(true) {}
    explicit List(std::span<const Segment> many) noexcept : many_(many) {}
    [[nodiscard]] std::span<const Segment> view() const noexcept {
      return has_one_ ? std::span<const Segment>(&one_, 1) : many_;
    }

   private:
    Segment one_ = {};
    bool has_one_ = false;
    std::span<const Segment> many_;
  };

  Descriptor(Operation operation, List sources, List destinations,
             std::uint64_t parameter = 0) noexcept
      : operation_(operation),
        sources_(sources),
        destinations_(destinations),
        parameter_(parameter) {}

  Operation operation_;
  List sources_;
  List destinations_;
  std::uint64_t parameter_;
};

enum class Status : std::uint8_t {
  Queued = 0,
  Running = 1,
  Done = 2,
  Cancelled = 3,  ///< kept from starting, or stopped on the way
  Failed = 4,     ///< the engine reported an error
};

/// What became of one descriptor. A snapshot; only Status says anything until it is final.
struct Outcome {
  Status status = Status::Queued;
  /// Cancelled, Failed: why. Empty otherwise.
  std::optional<hal::ErrorCode> error = {};
  /// Bytes moved, filled or read; those before the stop, where it was cancelled on the way.
  std::uint64_t bytes = 0;
  /// Crc32c that is Done: the value. Empty otherwise.
  std::optional<std::uint32_t> crc32c = {};
};

/// Whether a status will not change any more.
[[nodiscard]] constexpr bool is_final(Status status) noexcept {
  return status != Status::Queued && status != Status::Running;
}

}  // namespace drivers::dma
