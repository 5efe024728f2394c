// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/registration.hpp"

#include <algorithm>
#include <utility>

#include "resmgr/abi/frame_reader.hpp"
#include "resmgr/abi/names.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr::wire {
namespace {

constexpr std::uint8_t kKnownAttributes = RM_WIRE_RECORD_LAZY | RM_WIRE_RECORD_ACCESS_HOOK |
                                          RM_WIRE_RECORD_QUIESCE_HOOK | RM_WIRE_RECORD_NEEDS_NEXT |
                                          RM_WIRE_RECORD_EMERGENCY;
/// The two lengths in front of a pair.
constexpr std::size_t kPairHeaderBytes = 2;

std::uint8_t attributes_of(const Record& record) noexcept {
  unsigned attributes = 0;
  if (record.lazy) attributes |= RM_WIRE_RECORD_LAZY;
  if (record.access_hook) attributes |= RM_WIRE_RECORD_ACCESS_HOOK;
  if (record.quiesce_hook) attributes |= RM_WIRE_RECORD_QUIESCE_HOOK;
  if (record.needs_next) attributes |= RM_WIRE_RECORD_NEEDS_NEXT;
  if (record.description.urgency == Urgency::Emergency) attributes |= RM_WIRE_RECORD_EMERGENCY;
  return static_cast<std::uint8_t>(attributes);
}

/// Bytes of a record on the wire. REQUIRES: it was checked.
std::size_t bytes_of(const Record& record) noexcept {
  const Description& d = record.description;
  std::size_t bytes = sizeof(rm_wire_record) + record.name.size() + d.class_name.size();
  for (const PairText& pair : d.pairs) {
    bytes += kPairHeaderBytes + pair.key.size() + pair.value.size();
  }
  return (bytes + 7) / 8 * 8;
}

rm_wire_record to_wire(const Record& record) noexcept {
  const Description& d = record.description;
  return {.record_bytes = static_cast<std::uint32_t>(bytes_of(record)),
          .name_bytes = static_cast<std::uint8_t>(record.name.size()),
          .class_bytes = static_cast<std::uint8_t>(d.class_name.size()),
          .pairs = static_cast<std::uint8_t>(d.pairs.size()),
          .attributes = attributes_of(record),
          .type = static_cast<std::uint8_t>(d.type),
          .priority = static_cast<std::uint8_t>(d.priority),
          .access_pattern = static_cast<std::uint8_t>(d.access_pattern),
          .backing = d.backing,
          .flags = static_cast<std::uint32_t>(d.flags),
          .size_bytes = d.size_bytes,
          .alignment = d.alignment,
          .cookie = d.cookie,
          .type_tag = d.type_tag,
          .numa_node = d.numa_node,
          .fd_kind = d.fd_kind,
          .owner_driver = d.owner_driver,
          .fd_index = record.fd.value_or(RM_WIRE_NO_FD),
          .reserved = 0};
}

using Pairs = std::array<PairText, RM_MAX_PAIRS>;

/// A record whose parts are all there; what they say is not looked at yet.
struct Parts {
  rm_wire_record fixed{};
  std::string_view name;
  std::string_view class_name;
};

/// The first record of `records`, as a small frame of its own: the same rules of versions hold.
/// Errors: InvalidArgument (it does not fit in).
Result<Frame> take_record(Frame& records, std::size_t fixed_bytes) noexcept {
  const auto rest = records.variable;
  const std::size_t bytes = load_prefix<rm_wire_record>(rest).record_bytes;
  if (bytes < fixed_bytes || bytes > rest.size() || bytes % 8 != 0) {
    return fail(ErrorCode::InvalidArgument, "record of an impossible size");
  }
  Frame record = records;
  record.fixed = rest.first(fixed_bytes);
  record.variable = rest.first(bytes).subspan(fixed_bytes);
  records.variable = rest.subspan(bytes);
  return record;
}

/// Takes the first record off `records`, and its pairs into `pairs`.
/// Errors: InvalidArgument (a part is not there, or is too much).
Result<Parts> take_parts(Frame& records, std::size_t fixed_bytes, Pairs& pairs) noexcept {
  const auto record = take_record(records, fixed_bytes);
  if (!record) return std::unexpected(record.error());
  FrameReader reader(*record, {FrameType::Register});
  reader.needs_fds(record->fds);  // the batch's own, which decode() counts
  Parts parts;
  parts.fixed = reader.fixed<rm_wire_record>();
  parts.name = reader.text(parts.fixed.name_bytes);
  parts.class_name = reader.text(parts.fixed.class_bytes);
  reader.require(parts.fixed.pairs <= pairs.size(), "more than 16 metadata pairs");
  for (PairText& pair :
       std::span(pairs).first(std::min<std::size_t>(parts.fixed.pairs, pairs.size()))) {
    const auto bytes =
        load_prefix<std::array<std::uint8_t, kPairHeaderBytes>>(reader.take(kPairHeaderBytes));
    pair.key = reader.text(bytes[0]);
    pair.value = reader.text(bytes[1]);
  }
  const auto padding = reader.take_rest();
  reader.require(record->is_newer() || (padding.size() < 8 && FrameReader::is_zero(padding)),
                 "bytes behind the end of a record");
  reader.require_zero(parts.fixed.reserved);
  reader.require(parts.fixed.fd_index == RM_WIRE_NO_FD || parts.fixed.fd_index < record->fds,
                 "a descriptor that is not beside the frame");
  if (auto ok = reader.finish(); !ok) return std::unexpected(std::move(ok.error()));
  return parts;
}

Record record_of(const Parts& parts, const Pairs& pairs) noexcept {
  const rm_wire_record& from = parts.fixed;
  Record record{.name = parts.name,
                .description = {.type = static_cast<ResourceType>(from.type),
                                .class_name = parts.class_name,
                                .size_bytes = from.size_bytes,
                                .alignment = from.alignment,
                                .access_pattern = static_cast<AccessPattern>(from.access_pattern),
                                .priority = static_cast<ResourcePriority>(from.priority),
                                .flags = static_cast<ResourceFlags>(from.flags),
                                .numa_node = from.numa_node,
                                .pairs = std::span(pairs).first(from.pairs),
                                .owner_driver = from.owner_driver,
                                .cookie = from.cookie,
                                .type_tag = from.type_tag,
                                .urgency = (from.attributes & RM_WIRE_RECORD_EMERGENCY) != 0
                                               ? Urgency::Emergency
                                               : Urgency::Normal,
                                .backing = from.backing,
                                .fd_kind = from.fd_kind},
                .lazy = (from.attributes & RM_WIRE_RECORD_LAZY) != 0,
                .access_hook = (from.attributes & RM_WIRE_RECORD_ACCESS_HOOK) != 0,
                .quiesce_hook = (from.attributes & RM_WIRE_RECORD_QUIESCE_HOOK) != 0,
                .needs_next = (from.attributes & RM_WIRE_RECORD_NEEDS_NEXT) != 0};
  if (from.fd_index != RM_WIRE_NO_FD) record.fd = from.fd_index;
  return record;
}

}  // namespace

Result<void> Record::check() const noexcept {
  if (!is_valid_name(name)) return fail(ErrorCode::InvalidName, "resource");
  if (!description.class_name.empty() && !is_valid_tag(description.class_name)) {
    return fail(ErrorCode::InvalidName, "class");
  }
  if (auto sound = check_description(description); !sound) return sound;
  if (auto sound = check_pairs(description.pairs); !sound) return sound;
  if (description.owner_driver >= RM_MAX_DRIVERS) {
    return fail(ErrorCode::InvalidArgument, "number of a driver");
  }
  if (fd && *fd >= RM_WIRE_MAX_FDS) return fail(ErrorCode::InvalidArgument, "place of an fd");
  if (fd && lazy) return fail(ErrorCode::InvalidArgument, "a lazy resource has no fd yet");
  return {};
}

RegisterWriter::RegisterWriter(std::uint64_t request_id, std::span<std::byte> out) noexcept
    : writer_(out, FrameType::Register, request_id) {
  writer_.fixed(rm_wire_register{});
}

Result<void> RegisterWriter::add(const Record& record) noexcept {
  if (auto sound = record.check(); !sound) return sound;
  const rm_wire_record part = to_wire(record);
  if (part.record_bytes > writer_.room()) {
    Error error(ErrorCode::CapacityExceeded, "batch of registrations");
    error.with_amounts(part.record_bytes, writer_.room());
    return std::unexpected(std::move(error));
  }
  writer_.append(part);
  writer_.text(record.name);
  writer_.text(record.description.class_name);
  for (const auto& [key, value] : record.description.pairs) {
    writer_.append(
        std::array{static_cast<std::uint8_t>(key.size()), static_cast<std::uint8_t>(value.size())});
    writer_.text(key);
    writer_.text(value);
  }
  writer_.pad();
  ++count_;
  if (record.fd) fds_ = std::max<std::uint16_t>(fds_, *record.fd + 1);
  return {};
}

Result<std::size_t> RegisterWriter::finish() noexcept {
  if (count_ == 0) return fail(ErrorCode::InvalidArgument, "a batch without a record");
  writer_.replace_fixed(rm_wire_register{
      .count = count_, .record_fixed_bytes = sizeof(rm_wire_record), .reserved = 0});
  writer_.set_fds(fds_);
  return writer_.finish();
}

Result<RegisterRequest> RegisterRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Register});
  reader.needs_fds(frame.fds);  // compared below with what the records name
  const auto part = reader.fixed<rm_wire_register>();
  reader.require_zero(part.reserved);
  reader.require(part.count != 0, "a batch without a record");
  reader.require(
      part.record_fixed_bytes >= sizeof(rm_wire_record) && part.record_fixed_bytes % 8 == 0,
      "record of an impossible size");
  RegisterRequest request;
  request.records_ = frame;
  request.records_.variable = reader.take_rest();
  request.fixed_bytes_ = part.record_fixed_bytes;
  request.count_ = part.count;
  if (auto ok = reader.finish(); !ok) return std::unexpected(std::move(ok.error()));

  Frame rest = request.records_;
  Pairs pairs;
  unsigned fds = 0;
  for (std::uint32_t i = 0; i < request.count_; ++i) {
    const auto parts = take_parts(rest, request.fixed_bytes_, pairs);
    if (!parts) return std::unexpected(parts.error());
    const unsigned index = parts->fixed.fd_index;
    if (index != RM_WIRE_NO_FD) fds = std::max(fds, index + 1);
  }
  if (!frame.is_newer() && (!rest.variable.empty() || fds != frame.fds)) {
    return fail(ErrorCode::InvalidArgument, "more beside or behind a batch than it names");
  }
  return request;
}

Result<Record> RecordReader::next() noexcept {
  --left_;
  const auto parts = take_parts(rest_, fixed_bytes_, pairs_);
  if (!parts) return std::unexpected(parts.error());
  if ((parts->fixed.attributes & ~kKnownAttributes) != 0) {
    return fail(ErrorCode::InvalidArgument, "unknown attribute of a resource");
  }
  const Record record = record_of(*parts, pairs_);
  if (auto sound = record.check(); !sound) return std::unexpected(std::move(sound.error()));
  return record;
}

}  // namespace resmgr::wire
