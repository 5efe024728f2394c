// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/crc32c.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>

#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

using Crc = std::uint32_t (*)(std::uint32_t, std::span<const std::byte>) noexcept;

/// One bit at a time, straight from the definition.
std::uint32_t by_bits(std::uint32_t seed, std::span<const std::byte> data) {
  std::uint32_t crc = ~seed;
  for (const std::byte byte : data) {
    crc ^= static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78 : crc >> 1;
  }
  return ~crc;
}

class Crc32cTest : public testing::TestWithParam<Crc> {
 protected:
  void SetUp() override {
    if (GetParam() == crc32c_by_hardware && !crc32c_has_hardware()) {
      GTEST_SKIP() << "this processor has no CRC32C instruction that we use";
    }
  }
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST_P(Crc32cTest, GivesTheValuesOfRfc3720) {
  std::array<std::byte, 32> data{};
  EXPECT_EQ(GetParam()(0, data), 0x8a9136aau);
  data.fill(std::byte{0xff});
  EXPECT_EQ(GetParam()(0, data), 0x62a8ab43u);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i);
  EXPECT_EQ(GetParam()(0, data), 0x46dd794eu);
  std::ranges::reverse(data);
  EXPECT_EQ(GetParam()(0, data), 0x113fdb5cu);

  // An iSCSI SCSI Read (10) command PDU.
  constexpr std::array<unsigned char, 48> kPdu = {
      0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
      0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
  EXPECT_EQ(GetParam()(0, std::as_bytes(std::span(kPdu))), 0xd9963a56u);
}

TEST_P(Crc32cTest, GivesTheCheckValueOfTheCatalogue) {
  EXPECT_EQ(GetParam()(0, bytes_of("123456789")), 0xe3069283u);
  EXPECT_EQ(GetParam()(0, {}), 0u);
}

TEST_P(Crc32cTest, AgreesWithTheDefinitionForAnyLengthStartAndSeed) {
  std::mt19937_64 random(test_seed());
  const Bytes data = random_bytes(40'000, random);
  // Around the block sizes of the interleaved loops, and anywhere.
  for (const std::size_t middle : {0u, 8u, 768u, 1536u, 12'288u, 24'576u}) {
    for (std::size_t length = middle < 9 ? 0 : middle - 9; length < middle + 9; ++length) {
      const auto part = std::span(data).subspan(random() % 64, length);
      const auto seed = static_cast<std::uint32_t>(random());
      ASSERT_EQ(GetParam()(seed, part), by_bits(seed, part)) << length << " bytes";
    }
  }
  for (int round = 0; round < 50; ++round) {
    const std::size_t length = random() % data.size();
    const auto part = std::span(data).subspan(random() % (data.size() - length), length);
    ASSERT_EQ(GetParam()(0, part), by_bits(0, part)) << length << " bytes";
  }
}

TEST_P(Crc32cTest, OfPartsIsThatOfTheWhole) {
  std::mt19937_64 random(test_seed());
  const Bytes data = random_bytes(20'000, random);
  for (int round = 0; round < 50; ++round) {
    const std::size_t cut = random() % data.size();
    const std::uint32_t first = GetParam()(0, std::span(data).first(cut));
    ASSERT_EQ(GetParam()(first, std::span(data).subspan(cut)), GetParam()(0, data)) << cut;
  }
}

std::string name_of(const testing::TestParamInfo<Crc>& way) {
  return std::array{"Chosen", "Table", "Hardware"}.at(way.index);
}

INSTANTIATE_TEST_SUITE_P(Ways, Crc32cTest,
                         testing::Values(&crc32c, &crc32c_by_table, &crc32c_by_hardware), name_of);

}  // namespace
}  // namespace drivers::dma
