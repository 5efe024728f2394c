// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/registration.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/abi/wire_support.hpp"

namespace resmgr::wire::test {
namespace {

/// Of the first record, from the start of the frame.
constexpr std::size_t kFirstRecord = sizeof(rm_frame_header) + sizeof(rm_wire_register);

Bytes batch_of(std::span<const Record> records) {
  Bytes out(RM_WIRE_MAX_FRAME);
  RegisterWriter writer(kRequestId, out);
  for (const Record& record : records) EXPECT_EQ(code_of(writer.add(record)), ErrorCode{});
  out.resize(writer.finish().value());
  return out;
}
Bytes batch_of(const Record& record) { return batch_of({&record, 1}); }

/// "gpu0" with two pairs; an fd beside.
Record sample() {
  static constexpr std::array<PairText, 2> kPairs{{{"width", "1920"}, {"format", "XR24"}}};
  return {.name = "gpu0",
          .description = {.class_name = "gpu-buffer", .pairs = kPairs, .owner_driver = 2},
          .fd = 0};
}

/// What the decoder says of a changed batch as a whole.
template <typename Change>
ErrorCode batch_code(const Bytes& batch, Change change) {
  return code_of(decode<RegisterRequest>(changed_at<rm_wire_record>(kFirstRecord, batch, change)));
}
/// What it says of the first record, when the batch is sound.
template <typename Change>
ErrorCode record_code(const Bytes& batch, Change change) {
  const Bytes bytes = changed_at<rm_wire_record>(kFirstRecord, batch, change);
  const auto request = decode<RegisterRequest>(bytes);
  if (!request) return ErrorCode::System;  // not what was asked
  return code_of(RecordReader(*request).next());
}

void expect_same(const Record& left, const Record& right) {
  const Description& a = left.description;
  const Description& b = right.description;
  EXPECT_EQ(left.name, right.name);
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.class_name, b.class_name);
  EXPECT_EQ(a.size_bytes, b.size_bytes);
  EXPECT_EQ(a.alignment, b.alignment);
  EXPECT_EQ(a.access_pattern, b.access_pattern);
  EXPECT_EQ(a.priority, b.priority);
  EXPECT_EQ(a.flags, b.flags);
  EXPECT_EQ(a.numa_node, b.numa_node);
  EXPECT_TRUE(std::ranges::equal(a.pairs, b.pairs, [](const PairText& x, const PairText& y) {
    return x.key == y.key && x.value == y.value;
  }));
  EXPECT_EQ(a.owner_driver, b.owner_driver);
  EXPECT_EQ(a.cookie, b.cookie);
  EXPECT_EQ(a.type_tag, b.type_tag);
  EXPECT_EQ(a.backing, b.backing);
  EXPECT_EQ(a.fd_kind, b.fd_kind);
  EXPECT_EQ(left.fd, right.fd);
  EXPECT_EQ(left.lazy, right.lazy);
  EXPECT_EQ(left.access_hook, right.access_hook);
  EXPECT_EQ(left.quiesce_hook, right.quiesce_hook);
}

TEST(Registration, RecordsArriveAsTheyWere) {
  const std::array<PairText, 2> pairs{
      {{"k", ""}, {"key.2", "a value of 35 bytes, and not 1 more"}}};
  const std::array records{
      Record{.name = "a"},
      sample(),
      Record{.name = "b",
             .description = {.type = ResourceType::Memory,
                             .class_name = "c",
                             .size_bytes = 4096,
                             .alignment = 64,
                             .access_pattern = AccessPattern::Random,
                             .priority = ResourcePriority::High,
                             .flags = ResourceFlags::Shareable | ResourceFlags::Persistent,
                             .numa_node = 0,
                             .pairs = pairs,
                             .owner_driver = 1,
                             .cookie = 5,
                             .type_tag = 6,
                             .backing = 7,
                             .fd_kind = 8},
             .lazy = true,
             .quiesce_hook = true},
      Record{.name = "c", .fd = 1, .access_hook = true},
      Record{.name = "d", .fd = 1},
  };
  const Bytes bytes = batch_of(records);
  EXPECT_EQ(read_frame(bytes).value().fds, 2u) << "up to the highest place named";
  const auto request = decode<RegisterRequest>(bytes).value();
  EXPECT_EQ(request.count(), records.size());
  RecordReader reader(request);
  for (const Record& record : records) {
    ASSERT_FALSE(reader.over());
    const auto read = reader.next();
    ASSERT_TRUE(read) << read.error().message();
    expect_same(*read, record);
  }
  EXPECT_TRUE(reader.over());
}

// Identity and time are the receiver's to say.
TEST(Registration, WhatAClientSaysOfItselfDoesNotTravel) {
  Record record = sample();
  record.description.owner_client = 5;
  record.description.created_at = 6;
  EXPECT_EQ(batch_of(record), batch_of(sample()));
  const Bytes bytes = batch_of(record);
  const auto request = decode<RegisterRequest>(bytes).value();
  const auto read = RecordReader(request).next().value();
  EXPECT_EQ(read.description.owner_client, 0u);
  EXPECT_EQ(read.description.created_at, 0u);
}

TEST(Registration, ABatchThatDoesNotFitTogetherIsRefusedWhole) {
  using R = rm_wire_record;
  const Bytes good = batch_of(sample());
  ASSERT_EQ(batch_code(good, [](R&) {}), ErrorCode{});
  const auto refused = [&](const char* what, auto change) {
    EXPECT_EQ(batch_code(good, change), ErrorCode::InvalidArgument) << what;
  };
  refused("no record bytes", [](R& r) { r.record_bytes = 0; });
  refused("fixed part alone", [](R& r) { r.record_bytes = sizeof(R); });
  refused("8 bytes less", [](R& r) { r.record_bytes -= 8; });
  refused("8 bytes more", [](R& r) { r.record_bytes += 8; });
  refused("not aligned", [](R& r) { r.record_bytes -= 1; });
  refused("all the bytes", [](R& r) { r.record_bytes = ~7u; });
  refused("name", [](R& r) { r.name_bytes = 255; });
  refused("class", [](R& r) { r.class_bytes = 255; });
  refused("one pair less", [](R& r) { r.pairs = 1; });
  refused("two pairs more", [](R& r) { r.pairs = 4; });
  refused("17 pairs", [](R& r) { r.pairs = 17; });
  refused("255 pairs", [](R& r) { r.pairs = 255; });
  refused("fd that is not there", [](R& r) { r.fd_index = 1; });
  refused("fd that nobody names", [](R& r) { r.fd_index = RM_WIRE_NO_FD; });
  refused("reserved", [](R& r) { r.reserved = 1; });

  Bytes padded = good;
  ASSERT_EQ(padded.back(), std::byte{0});
  padded.back() = std::byte{1};
  EXPECT_EQ(code_of(decode<RegisterRequest>(padded)), ErrorCode::InvalidArgument) << "padding";

  using P = rm_wire_register;
  const auto head_refused = [&](const char* what, auto change) {
    EXPECT_EQ(code_of(decode<RegisterRequest>(changed<P>(good, change))),
              ErrorCode::InvalidArgument)
        << what;
  };
  head_refused("none", [](P& p) { p.count = 0; });
  head_refused("one more", [](P& p) { p.count = 2; });
  head_refused("all", [](P& p) { p.count = ~0u; });
  head_refused("shorter records", [](P& p) { p.record_fixed_bytes -= 8; });
  head_refused("longer records", [](P& p) { p.record_fixed_bytes += 8; });
  head_refused("records not aligned", [](P& p) { p.record_fixed_bytes += 1; });
  head_refused("largest records", [](P& p) { p.record_fixed_bytes = 0xfff8; });
  head_refused("reserved", [](P& p) { p.reserved = 1; });
}

// The frame ends with the record, which ends in the middle of its padding.
TEST(Registration, ARecordOfAnOddSizeIsRefused) {
  const Bytes good = batch_of(sample());
  const Bytes odd = changed_at<rm_wire_record>(kFirstRecord, cut(good, good.size() - 1),
                                               [](rm_wire_record& r) { --r.record_bytes; });
  EXPECT_EQ(code_of(decode<RegisterRequest>(odd)), ErrorCode::InvalidArgument);
}

// A newer minor may send more of them, but none that it names is missing.
TEST(Registration, ADescriptorThatIsNotThereIsRefused) {
  const auto code_with = [](std::uint16_t fds) {
    return code_of(
        decode<RegisterRequest>(changed_header(batch_of(sample()), [&](rm_frame_header& h) {
          ++h.minor;
          h.fds = fds;
        })));
  };
  EXPECT_EQ(code_with(0), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_with(1), ErrorCode{});
  EXPECT_EQ(code_with(2), ErrorCode{});
}

// Also of a minor that could have more of them: there is no room to read them to.
TEST(Registration, MoreThanSixteenPairsAreRefused) {
  std::vector<std::string> keys;
  for (char c = 'a'; c < 'a' + 16; ++c) keys.emplace_back(1, c);
  std::vector<PairText> pairs;
  for (const std::string& key : keys) pairs.push_back({key, "v"});
  const Bytes sixteen = changed_header(batch_of({.name = "a", .description = {.pairs = pairs}}),
                                       [](rm_frame_header& h) { ++h.minor; });
  ASSERT_EQ(batch_code(sixteen, [](rm_wire_record&) {}), ErrorCode{});
  EXPECT_EQ(batch_code(sixteen, [](rm_wire_record& r) { r.pairs = 17; }),
            ErrorCode::InvalidArgument);
}

TEST(Registration, EveryFieldOfARecordIsJudged) {
  using R = rm_wire_record;
  const Bytes good = batch_of(sample());
  ASSERT_EQ(record_code(good, [](R&) {}), ErrorCode{});
  const auto refused = [&](const char* what, auto change) {
    EXPECT_EQ(record_code(good, change), ErrorCode::InvalidArgument) << what;
  };
  refused("a pair made of padding", [](R& r) { r.pairs = 3; });
  refused("type", [](R& r) { r.type = kResourceTypes; });
  refused("largest type", [](R& r) { r.type = 255; });
  refused("priority", [](R& r) { r.priority = 5; });
  refused("access pattern", [](R& r) { r.access_pattern = 6; });
  refused("flag", [](R& r) { r.flags = 0x100; });
  refused("contradiction", [](R& r) { r.flags = 3; });
  refused("Restricted without an owner", [](R& r) {
    r.flags = static_cast<std::uint32_t>(ResourceFlags::Restricted);
    r.owner_driver = 0;
  });
  refused("size", [](R& r) { r.size_bytes = kMaxResourceBytes + 1; });
  refused("alignment", [](R& r) { r.alignment = 3; });
  refused("NUMA node", [](R& r) { r.numa_node = -2; });
  refused("owner", [](R& r) { r.owner_driver = RM_MAX_DRIVERS; });
  refused("attribute", [](R& r) { r.attributes = 0x20; });
  refused("lazy with an fd", [](R& r) { r.attributes = RM_WIRE_RECORD_LAZY; });
  EXPECT_EQ(record_code(good,
                        [](R& r) {
                          r.name_bytes = 0;
                          r.class_bytes = 14;
                        }),
            ErrorCode::InvalidName);
}

TEST(Registration, EveryTextOfARecordIsJudged) {
  const Bytes good = batch_of(sample());
  const auto code_at = [&](std::string_view text, std::size_t index, char byte) {
    Bytes bytes = good;
    const auto* const begin = reinterpret_cast<const char*>(bytes.data());
    const std::size_t place = std::string_view(begin, bytes.size()).find(text) + index;
    bytes[place] = static_cast<std::byte>(byte);
    const auto request = decode<RegisterRequest>(bytes);
    return request ? code_of(RecordReader(*request).next()) : ErrorCode::System;
  };
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(code_at("gpu0", i, '\0'), ErrorCode::InvalidName);
    EXPECT_EQ(code_at("gpu0", i, '\xff'), ErrorCode::InvalidName);
  }
  EXPECT_EQ(code_at("gpu-buffer", 9, ' '), ErrorCode::InvalidName);
  EXPECT_EQ(code_at("width", 0, '='), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_at("1920", 3, '\0'), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_at("1920", 3, '\n'), ErrorCode{}) << "values may be anything else";

  // Lengths that fit into the frame, but not into the registry.
  const auto refused = [](const Record& record) {
    Bytes out(1024);
    RegisterWriter writer(kRequestId, out);
    return code_of(writer.add(record));
  };
  const std::string long_name(96, 'n');
  const std::string long_class(32, 'c');
  const std::string long_key(24, 'k');
  const std::string long_value(36, 'v');
  EXPECT_EQ(refused({.name = long_name}), ErrorCode::InvalidName);
  EXPECT_EQ(refused({.name = ""}), ErrorCode::InvalidName);
  EXPECT_EQ(refused({.name = "a", .description = {.class_name = long_class}}),
            ErrorCode::InvalidName);
  for (const PairText& pair :
       {PairText{long_key, ""}, PairText{"", ""}, PairText{"k", long_value}}) {
    EXPECT_EQ(refused({.name = "a", .description = {.pairs = {&pair, 1}}}),
              ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(refused({.name = "a", .fd = RM_WIRE_MAX_FDS}), ErrorCode::InvalidArgument);
  EXPECT_EQ(refused({.name = "a", .fd = 0, .lazy = true}), ErrorCode::InvalidArgument);
}

// One bad record costs its neighbours nothing.
TEST(Registration, ReadingGoesOnBehindARefusedRecord) {
  const std::array records{sample(), Record{.name = "b"}};
  const Bytes bytes = changed_at<rm_wire_record>(kFirstRecord, batch_of(records),
                                                 [](rm_wire_record& r) { r.type = 99; });
  const auto request = decode<RegisterRequest>(bytes).value();
  RecordReader reader(request);
  EXPECT_EQ(code_of(reader.next()), ErrorCode::InvalidArgument);
  ASSERT_FALSE(reader.over());
  EXPECT_EQ(reader.next().value().name, "b");
  EXPECT_TRUE(reader.over());
}

TEST(Registration, AFullFrameIsSentAndTheNextOneBegun) {
  Bytes out(RM_WIRE_MAX_FRAME);
  RegisterWriter writer(kRequestId, out);
  std::uint32_t added = 0;
  Result<void> last;
  while ((last = writer.add({.name = "resource-" + std::to_string(added)}))) ++added;
  EXPECT_EQ(code_of(last), ErrorCode::CapacityExceeded);
  EXPECT_EQ(last.error().requested(), 80u);
  EXPECT_LT(last.error().available(), 80u);
  EXPECT_EQ(writer.count(), added);
  EXPECT_GT(added, 750u);
  out.resize(writer.finish().value());
  const auto request = decode<RegisterRequest>(out).value();
  ASSERT_EQ(request.count(), added);
  RecordReader reader(request);
  for (std::uint32_t i = 0; i < added; ++i) {
    ASSERT_EQ(reader.next().value().name, "resource-" + std::to_string(i));
  }
}

TEST(Registration, ARefusedRecordLeavesTheFrameAsItWas) {
  Bytes out(RM_WIRE_MAX_FRAME);
  RegisterWriter writer(kRequestId, out);
  ASSERT_TRUE(writer.add(sample()));
  EXPECT_EQ(code_of(writer.add({.name = "no blanks", .fd = 7})), ErrorCode::InvalidName);
  out.resize(writer.finish().value());
  EXPECT_EQ(out, batch_of(sample()));
}

TEST(Registration, ABatchHasARecord) {
  Bytes out(RM_WIRE_MAX_FRAME);
  EXPECT_EQ(code_of(RegisterWriter(kRequestId, out).finish()), ErrorCode::InvalidArgument);
  RegisterWriter nobody(0, out);
  ASSERT_TRUE(nobody.add({.name = "a"}));
  EXPECT_EQ(code_of(nobody.finish()), ErrorCode::InvalidArgument);
  RegisterWriter nowhere(kRequestId, std::span(out).first(10));
  EXPECT_EQ(code_of(nowhere.add({.name = "a"})), ErrorCode::CapacityExceeded);
}

// Fields behind those of a record, texts behind its pairs, and records of different lengths.
TEST(Registration, RecordsOfANewerMinorAreUnderstood) {
  const std::array records{sample(), Record{.name = "b"}, Record{.name = "c", .fd = 1}};
  const Bytes old = batch_of(records);
  constexpr std::size_t kMore = 16;
  Bytes newer(old.begin(), old.begin() + kFirstRecord);
  for (std::size_t place = kFirstRecord; place < old.size();) {
    rm_wire_record record{};
    std::memcpy(&record, old.data() + place, sizeof record);
    const auto* const begin = old.data() + place;
    const auto* const end = begin + record.record_bytes;
    place += record.record_bytes;
    record.record_bytes += kMore + 24;
    record.reserved = 0xffff;
    const auto* const fixed = reinterpret_cast<const std::byte*>(&record);
    newer.insert(newer.end(), fixed, fixed + sizeof record);
    newer.insert(newer.end(), kMore, std::byte{0xee});
    newer.insert(newer.end(), begin + sizeof record, end);
    newer.insert(newer.end(), 24, std::byte{0xdd});
  }
  newer = changed_header(std::move(newer), [](rm_frame_header& h) { ++h.minor; });
  newer = changed<rm_wire_register>(std::move(newer),
                                    [](rm_wire_register& p) { p.record_fixed_bytes += kMore; });
  const auto back = echo(resized(newer));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, old);
}

}  // namespace
}  // namespace resmgr::wire::test
