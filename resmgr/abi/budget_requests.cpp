// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/budget_requests.hpp"

#include "resmgr/abi/frame_reader.hpp"
#include "resmgr/abi/frame_writer.hpp"
#include "resmgr/abi/layout.h"
#include "resmgr/abi/names.hpp"

namespace resmgr::wire {
namespace {

bool is_type(ResourceType type) noexcept { return static_cast<unsigned>(type) < kResourceTypes; }

}  // namespace

Result<void> SetBudgetRequest::check() const noexcept {
  if (!is_type(type)) return out_of_range("unknown type");
  if (driver_id >= RM_MAX_DRIVERS) return out_of_range("a driver that there can't be");
  if (driver.empty()) return {};
  if (driver_id != 0) return out_of_range("a driver's number or its name");
  return is_valid_tag(driver) ? Result<void>() : fail(ErrorCode::InvalidName);
}

Result<std::size_t> encode(const SetBudgetRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::SetBudget, request_id);
  writer.require(request.check());
  writer.fixed(
      rm_wire_set_budget{.max = request.budget.max,
                         .reserved_amount = request.budget.reserved,
                         .driver = request.driver_id,
                         .type = static_cast<std::uint8_t>(request.type),
                         .warning_percent = request.budget.warning_percent,
                         .critical_percent = request.budget.critical_percent,
                         .driver_bytes = static_cast<std::uint8_t>(request.driver.size())});
  writer.text(request.driver);
  return writer.finish();
}

Result<SetBudgetRequest> SetBudgetRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::SetBudget});
  const auto part = reader.fixed<rm_wire_set_budget>();
  return reader.finish_with(
      SetBudgetRequest{.driver_id = part.driver,
                       .driver = reader.text(part.driver_bytes),
                       .type = static_cast<ResourceType>(part.type),
                       .budget = {.max = part.max,
                                  .reserved = part.reserved_amount,
                                  .warning_percent = part.warning_percent,
                                  .critical_percent = part.critical_percent}});
}

Result<void> DrawRequest::check() const noexcept {
  if (!is_type(type)) return out_of_range("unknown type");
  if (driver_id >= RM_MAX_DRIVERS) return out_of_range("a driver that there can't be");
  if (urgency != Urgency::Normal && urgency != Urgency::Emergency) {
    return out_of_range("unknown urgency");
  }
  return least <= most ? Result<void>() : out_of_range("more at least than at most");
}

Result<std::size_t> encode(const DrawRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Draw, request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_draw{.least = request.least,
                            .most = request.most,
                            .driver = request.driver_id,
                            .type = static_cast<std::uint8_t>(request.type),
                            .urgency = static_cast<std::uint8_t>(request.urgency),
                            .reserved = {}});
  return writer.finish();
}

Result<DrawRequest> DrawRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Draw});
  const auto part = reader.fixed<rm_wire_draw>();
  reader.require_zero(part.reserved);
  return reader.finish_with(DrawRequest{.driver_id = part.driver,
                                        .type = static_cast<ResourceType>(part.type),
                                        .least = part.least,
                                        .most = part.most,
                                        .urgency = static_cast<Urgency>(part.urgency)});
}

Result<void> ReturnCreditsRequest::check() const noexcept {
  return is_type(type) ? Result<void>() : out_of_range("unknown type");
}

Result<std::size_t> encode(const ReturnCreditsRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::ReturnCredits, request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_return_credits{.kept = request.kept,
                                      .account = request.account,
                                      .type = static_cast<std::uint8_t>(request.type),
                                      .reserved = {}});
  return writer.finish();
}

Result<ReturnCreditsRequest> ReturnCreditsRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::ReturnCredits});
  const auto part = reader.fixed<rm_wire_return_credits>();
  reader.require_zero(part.reserved);
  return reader.finish_with(ReturnCreditsRequest{
      .account = part.account, .type = static_cast<ResourceType>(part.type), .kept = part.kept});
}

Result<void> NeedRequest::check() const noexcept {
  if (!is_type(type)) return out_of_range("unknown type");
  return driver_id < RM_MAX_DRIVERS ? Result<void>() : out_of_range("a driver that there can't be");
}

Result<std::size_t> encode(const NeedRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Need, request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_need{.amount = request.amount,
                            .driver = request.driver_id,
                            .type = static_cast<std::uint8_t>(request.type),
                            .reserved = {}});
  return writer.finish();
}

Result<NeedRequest> NeedRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Need});
  const auto part = reader.fixed<rm_wire_need>();
  reader.require_zero(part.reserved);
  return reader.finish_with(NeedRequest{.driver_id = part.driver,
                                        .type = static_cast<ResourceType>(part.type),
                                        .amount = part.amount});
}

Result<void> ReclaimEvent::check() const noexcept {
  return is_type(type) ? Result<void>() : out_of_range("unknown type");
}

Result<std::size_t> encode(const ReclaimEvent& event, std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Reclaim, kNoRequest);
  writer.require(event.check());
  writer.fixed(rm_wire_reclaim{
      .amount = event.amount, .type = static_cast<std::uint8_t>(event.type), .reserved = {}});
  return writer.finish();
}

Result<ReclaimEvent> ReclaimEvent::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Reclaim});
  const auto part = reader.fixed<rm_wire_reclaim>();
  reader.require_zero(part.reserved);
  return reader.finish_with(
      ReclaimEvent{.type = static_cast<ResourceType>(part.type), .amount = part.amount});
}

Result<void> PressureEvent::check() const noexcept {
  if (!is_type(type)) return out_of_range("unknown type");
  if (driver_id >= RM_MAX_DRIVERS) return out_of_range("a driver that there can't be");
  const bool known = level <= ResourcePressure::Critical && before <= ResourcePressure::Critical;
  return known ? Result<void>() : out_of_range("unknown level of pressure");
}

Result<std::size_t> encode(const PressureEvent& event, std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Pressure, kNoRequest);
  writer.require(event.check());
  writer.fixed(rm_wire_pressure{.driver = event.driver_id,
                                .type = static_cast<std::uint8_t>(event.type),
                                .level = static_cast<std::uint8_t>(event.level),
                                .before = static_cast<std::uint8_t>(event.before),
                                .reserved = 0});
  return writer.finish();
}

Result<PressureEvent> PressureEvent::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Pressure});
  const auto part = reader.fixed<rm_wire_pressure>();
  reader.require_zero(part.reserved);
  return reader.finish_with(PressureEvent{.driver_id = part.driver,
                                          .type = static_cast<ResourceType>(part.type),
                                          .level = static_cast<ResourcePressure>(part.level),
                                          .before = static_cast<ResourcePressure>(part.before)});
}

}  // namespace resmgr::wire
