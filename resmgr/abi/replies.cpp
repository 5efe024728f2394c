// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/replies.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "resmgr/abi/error_number.hpp"
#include "resmgr/abi/frame_reader.hpp"
#include "resmgr/abi/frame_writer.hpp"
#include "resmgr/abi/layout.h"

namespace resmgr::wire {
namespace {

/// The kernel's own bound for an errno.
constexpr std::uint32_t kMaxErrno = 4095;

/// Whether it can be shown to people: no control characters, no end in the middle.
bool is_printable(std::string_view text) noexcept {
  return text.size() <= RM_WIRE_MAX_TEXT && std::ranges::all_of(text, [](char c) {
           return static_cast<unsigned char>(c) >= ' ' && c != '\x7f';
         });
}

Result<void> check(const RegistrationOutcome& outcome) noexcept {
  if (outcome.error && !is_error_code(*outcome.error)) return out_of_range("unknown error code");
  if (outcome.error.has_value() != outcome.handle.is_null()) {
    return out_of_range("a registration has a handle or an error");
  }
  return {};
}

RegistrationOutcome from_wire(const rm_wire_registered_item& item, bool newer) noexcept {
  return {.error = error_from_wire(item.code, newer), .handle = Handle::from_bits(item.handle)};
}

}  // namespace

Result<void> Regions::check() const noexcept {
  if (client.epoch == 0) return out_of_range("regions of no epoch");
  if (registry_bytes < sizeof(rm_region_header) || lock_bytes < sizeof(rm_region_header)) {
    return out_of_range("a region too small for a header");
  }
  return client.check();
}

rm_wire_regions to_wire(const Regions& regions) noexcept {
  return {.client = to_wire(regions.client),
          .registry_bytes = regions.registry_bytes,
          .lock_bytes = regions.lock_bytes};
}

Regions from_wire(const rm_wire_regions& regions) noexcept {
  return {.client = from_wire(regions.client),
          .registry_bytes = regions.registry_bytes,
          .lock_bytes = regions.lock_bytes};
}

Result<void> Welcome::check() const noexcept {
  if (driver >= RM_MAX_DRIVERS) return out_of_range("number of a driver");
  if (!is_printable(version)) return out_of_range("text of a version");
  return regions.check();
}

Result<std::size_t> encode(const Welcome& welcome, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Welcome, request_id, RM_WIRE_REGION_FDS);
  writer.require(welcome.check());
  writer.fixed(rm_wire_welcome{.regions = to_wire(welcome.regions),
                               .driver = welcome.driver,
                               .version_bytes = static_cast<std::uint8_t>(welcome.version.size()),
                               .reserved = {}});
  writer.text(welcome.version);
  return writer.finish();
}

Result<Welcome> Welcome::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Welcome});
  reader.needs_fds(RM_WIRE_REGION_FDS);
  const auto part = reader.fixed<rm_wire_welcome>();
  reader.require_zero(part.regions.client.reserved);
  reader.require_zero(part.reserved);
  return reader.finish_with(Welcome{.regions = from_wire(part.regions),
                                    .driver = part.driver,
                                    .version = reader.text(part.version_bytes)});
}

Result<void> ResultReply::check() const noexcept {
  if (error && !is_error_code(*error)) return out_of_range("unknown error code");
  if (system_errno > kMaxErrno) return out_of_range("errno of a result");
  if (!error && system_errno != 0) return out_of_range("errno of a success");
  if (error && has_fd) return out_of_range("a descriptor beside an error");
  if (!is_printable(text)) return out_of_range("text of a result");
  return {};
}

Result<std::size_t> encode(const ResultReply& reply, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Result, request_id, reply.has_fd ? 1 : 0);
  writer.require(reply.check());
  writer.fixed(rm_wire_result{.value = {reply.value[0], reply.value[1]},
                              .code = error_to_wire(reply.error),
                              .errno_value = reply.system_errno,
                              .text_bytes = static_cast<std::uint8_t>(reply.text.size()),
                              .has_fd = reply.has_fd,
                              .reserved = {}});
  writer.text(reply.text);
  return writer.finish();
}

Result<ResultReply> ResultReply::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Result});
  const auto part = reader.fixed<rm_wire_result>();
  reader.require_zero(part.reserved);
  reader.require(part.has_fd <= 1, "more than one descriptor of a result");
  reader.needs_fds(part.has_fd);
  return reader.finish_with(ResultReply{.error = error_from_wire(part.code, frame.is_newer()),
                                        .system_errno = part.errno_value,
                                        .value = {part.value[0], part.value[1]},
                                        .text = reader.text(part.text_bytes),
                                        .has_fd = part.has_fd != 0});
}

ResultReply refusal(const Error& error) noexcept {
  const std::string_view text = error.detail().empty() ? error.context() : error.detail();
  return {.error = error.code(),
          .system_errno = static_cast<std::uint32_t>(error.system_errno()),
          .value = {error.requested(), error.available()},
          .text = text.substr(0, RM_WIRE_MAX_TEXT)};
}

Error error_of(const ResultReply& reply) {
  Error error(reply.error.value_or(ErrorCode::System), "resmgrd");
  error.with_errno(static_cast<int>(reply.system_errno));
  error.with_amounts(reply.value[0], reply.value[1]);
  if (!reply.text.empty()) error.with_detail({.cycle = {}, .text = std::string(reply.text)});
  return error;
}

Result<std::size_t> encode(std::span<const RegistrationOutcome> outcomes, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Registered, request_id);
  writer.fixed(rm_wire_registered{.count = static_cast<std::uint32_t>(outcomes.size()),
                                  .item_bytes = sizeof(rm_wire_registered_item),
                                  .reserved = 0});
  for (const RegistrationOutcome& outcome : outcomes) {
    writer.require(check(outcome));
    writer.append(rm_wire_registered_item{
        .handle = outcome.handle.bits(), .code = error_to_wire(outcome.error), .reserved = 0});
  }
  return writer.finish();
}

Result<RegisteredReply> RegisteredReply::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Registered});
  const auto part = reader.fixed<rm_wire_registered>();
  reader.require_zero(part.reserved);
  reader.require(part.item_bytes % 8 == 0 && part.item_bytes >= sizeof(rm_wire_registered_item) &&
                     (part.item_bytes == sizeof(rm_wire_registered_item) || frame.is_newer()),
                 "items of an impossible size");
  RegisteredReply reply;
  reply.count_ = part.count;
  reply.item_bytes_ = part.item_bytes;
  reply.newer_ = frame.is_newer();
  // At most 2^48: no overflow.
  reply.items_ = reader.take(std::size_t{part.count} * part.item_bytes);
  // After a mistake there are none.
  const std::size_t items = reply.items_.empty() ? 0 : part.count;
  for (std::size_t i = 0; i < items; ++i) reader.require_zero(reply.item(i).reserved);
  if (auto ok = reader.finish(); !ok) return std::unexpected(std::move(ok.error()));
  for (std::uint32_t i = 0; i < reply.count_; ++i) {
    if (auto ok = check(reply.at(i)); !ok) return std::unexpected(std::move(ok.error()));
  }
  return reply;
}

rm_wire_registered_item RegisteredReply::item(std::size_t index) const noexcept {
  return load_prefix<rm_wire_registered_item>(items_.subspan(index * item_bytes_, item_bytes_));
}

RegistrationOutcome RegisteredReply::at(std::uint32_t index) const noexcept {
  return from_wire(item(index), newer_);
}

}  // namespace resmgr::wire
