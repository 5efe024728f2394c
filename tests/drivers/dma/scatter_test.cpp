// SPDX-License-Identifier: Apache-2.0
//
// The channel against a plain model of it: random lists of segments, random operations, order.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "drivers/dma/channel.hpp"
#include "drivers/dma/crc32c.hpp"
#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

constexpr std::size_t kBuffers = 6;
constexpr std::size_t kCell = 700;  ///< destinations lie in cells of their own and can't overlap
constexpr std::size_t kCells = 24;
constexpr std::size_t kBytes = kCell * kCells;

using Memories = std::array<Bytes, kBuffers>;
using Segments = std::vector<Segment>;

/// What a channel does, as simply as it can be said. Buffers are named by their number.
class Model {
 public:
  explicit Model(const Memories& memories) : memories_(memories) {}

  void copy(const Segments& from, const Segments& to) { scatter(gather(from), to); }
  void fill(const Segments& to, std::uint64_t pattern) {
    Bytes stream(total(to));
    for (std::size_t i = 0; i < stream.size(); ++i) {
      stream[i] = static_cast<std::byte>(pattern >> (8 * (i % 8)));
    }
    scatter(stream, to);
  }
  [[nodiscard]] Bytes gather(const Segments& from) const {
    Bytes stream;
    for (const Segment& segment : from) {
      const auto part =
          std::span(memories_[segment.buffer.bits]).subspan(segment.offset, segment.length);
      stream.insert(stream.end(), part.begin(), part.end());
    }
    return stream;
  }
  void scatter(const Bytes& stream, const Segments& to) {
    std::size_t done = 0;
    for (const Segment& segment : to) {
      for (std::size_t i = 0; i < segment.length; ++i) {
        memories_[segment.buffer.bits][segment.offset + i] = stream[done++];
      }
    }
  }
  [[nodiscard]] static std::size_t total(const Segments& segments) {
    return std::accumulate(segments.begin(), segments.end(), std::size_t{0},
                           [](std::size_t sum, const Segment& s) { return sum + s.length; });
  }
  [[nodiscard]] const Memories& memories() const { return memories_; }

 private:
  Memories memories_;
};

class ScatterTest : public testing::Test {
 protected:
  ScatterTest() {
    for (Bytes& memory : memories_) memory = random_bytes(kBytes, random_);
    for (std::size_t i = 0; i < kBuffers; ++i) {
      ids_[i] = channel_->attach_buffer(memories_[i]).value();
    }
  }

  std::size_t below(std::size_t bound) { return random_() % bound; }

  /// Segments in different cells of the buffers of one parity, in any order.
  Segments random_destinations(std::size_t parity) {
    std::vector<std::size_t> cells(kCells * kBuffers / 2);
    std::iota(cells.begin(), cells.end(), 0);
    std::ranges::shuffle(cells, random_);
    cells.resize(1 + below(20));
    Segments segments;
    for (const std::size_t cell : cells) {
      const std::size_t start = below(kCell);
      segments.push_back({{2 * (cell / kCells) + parity},
                          cell % kCells * kCell + start,
                          1 + below(kCell - start)});
    }
    return segments;
  }

  /// Segments anywhere in the buffers of one parity, `bytes` in all.
  Segments random_sources(std::size_t parity, std::size_t bytes) {
    Segments segments;
    while (bytes > 0) {
      std::size_t length = 1 + below(std::min<std::size_t>(bytes, 2000));
      if (segments.size() == 50) length = std::min(bytes, kBytes);
      segments.push_back({{2 * below(kBuffers / 2) + parity}, below(kBytes - length + 1), length});
      bytes -= length;
    }
    return segments;
  }

  /// The same segments under the channel's names. Kept until the batch is submitted.
  std::span<const Segment> named(const Segments& segments) {
    Segments& copy = kept_.emplace_back(segments);
    for (Segment& segment : copy) segment.buffer = ids_[segment.buffer.bits];
    return copy;
  }

  std::mt19937_64 random_{test_seed()};
  Memories memories_;
  std::array<BufferId, kBuffers> ids_;
  // Small chunks, so that most segments are cut by one.
  std::unique_ptr<Channel> channel_ = open_channel({.ring_entries = 16}, {.chunk_bytes = 301});
  std::vector<Segments> kept_;
};

TEST_F(ScatterTest, DoesWhatTheModelDoes) {
  Model model(memories_);
  for (int round = 0; round < 300; ++round) {
    std::vector<Descriptor> batch;
    std::vector<std::uint32_t> crcs(1 + below(8));
    kept_.clear();
    kept_.reserve(2 * crcs.size());
    for (std::uint32_t& crc : crcs) {
      // Either direction, so that later descriptors read what earlier ones wrote.
      const std::size_t parity = below(2);
      const Segments to = random_destinations(parity);
      const Segments from = random_sources(1 - parity, Model::total(to));
      const std::uint64_t parameter = random_();
      switch (below(3)) {
        case 0:
          model.copy(from, to);
          batch.push_back(Descriptor::copy(named(from), named(to)));
          break;
        case 1:
          model.fill(to, parameter);
          batch.push_back(Descriptor::fill(named(to), parameter));
          break;
        default:
          const auto seed = static_cast<std::uint32_t>(parameter);
          crc = crc32c_by_table(seed, model.gather(from));
          batch.push_back(Descriptor::crc32c(named(from), seed));
          break;
      }
    }
    const auto ticket = channel_->submit(batch);
    ASSERT_TRUE(ticket.has_value()) << ticket.error().message();
    const auto ended = channel_->wait(*ticket, soon());
    ASSERT_TRUE(ended.has_value()) << ended.error().message();
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Outcome outcome = ticket->outcome(i).value();
      ASSERT_EQ(outcome.status, Status::Done);
      ASSERT_FALSE(outcome.error.has_value());
      const bool is_crc = batch[i].operation() == Operation::Crc32c;
      ASSERT_EQ(outcome.crc32c.has_value(), is_crc);
      if (is_crc) {
        ASSERT_EQ(*outcome.crc32c, crcs[i]) << "round " << round << ", descriptor " << i;
      }
    }
    ASSERT_TRUE(memories_ == model.memories()) << "round " << round;
  }
}

TEST_F(ScatterTest, WorksInTheOrderOfSubmission) {
  // A chain through the buffers, one link a batch, all in flight together.
  const Bytes first = memories_[0];
  for (std::size_t i = 0; i + 1 < kBuffers; ++i) {
    const Descriptor link = Descriptor::copy({ids_[i], 0, kBytes}, {ids_[i + 1], 0, kBytes});
    ASSERT_TRUE(channel_->submit({&link, 1}).has_value());
  }
  ASSERT_TRUE(channel_->drain(soon()).has_value());
  for (const Bytes& memory : memories_) EXPECT_TRUE(memory == first);
}

TEST_F(ScatterTest, StoresTheCrcWhereItIsTold) {
  const std::uint32_t expected = crc32c_by_table(7, memories_[0]);
  Bytes around = memories_[1];
  std::memcpy(around.data() + 64, &expected, sizeof(expected));
  const Descriptor crc = Descriptor::crc32c({ids_[0], 0, kBytes}, 7).store_result({ids_[1], 64, 4});
  const Ticket ticket = channel_->submit({&crc, 1}).value();
  ASSERT_TRUE(channel_->wait(ticket, soon()).has_value());
  EXPECT_EQ(ticket.outcome(0)->crc32c, expected);
  EXPECT_EQ(ticket.outcome(0)->bytes, kBytes);
  EXPECT_TRUE(memories_[1] == around);
}

TEST_F(ScatterTest, TakesMemoryThatTouches) {
  // Adjacent is not overlapping.
  Bytes expected = memories_[0];
  std::copy_n(expected.begin(), 100, expected.begin() + 100);
  const Descriptor copy = Descriptor::copy({ids_[0], 0, 100}, {ids_[0], 100, 100});
  const Ticket ticket = channel_->submit({&copy, 1}).value();
  ASSERT_TRUE(channel_->wait(ticket, soon()).has_value());
  EXPECT_TRUE(memories_[0] == expected);
}

}  // namespace
}  // namespace drivers::dma
