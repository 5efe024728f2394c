// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/requests.hpp"

#include <utility>

#include "resmgr/abi/error_number.hpp"
#include "resmgr/abi/frame_reader.hpp"
#include "resmgr/abi/frame_writer.hpp"
#include "resmgr/abi/names.hpp"

namespace resmgr::wire {
namespace {

constexpr std::uint32_t kKnownFeatures = RM_WIRE_FEATURE_URING_FUTEX | RM_WIRE_FEATURE_FUTEX_WAITV |
                                         RM_WIRE_FEATURE_EVENTS | RM_WIRE_FEATURE_OWNERS;

/// Whether `rights` are some of `possible`, and at least one.
bool are_some_of(Rights rights, Rights possible) noexcept {
  return rights != Rights::None && (rights & possible) == rights;
}

Result<void> check_driver(std::string_view driver) noexcept {
  return is_valid_tag(driver) ? Result<void>() : fail(ErrorCode::InvalidName, "driver");
}

}  // namespace

Result<void> Hello::check() const noexcept {
  if ((features & ~kKnownFeatures) != 0) return out_of_range("unknown feature of a client");
  if (auto sound = before.check(); !sound) return sound;
  return driver.empty() ? Result<void>() : check_driver(driver);
}

Result<void> UnregisterRequest::check() const noexcept {
  switch (step) {
    case UnregisterStep::Begin:
    case UnregisterStep::Finish:
    case UnregisterStep::Cancel:
      return {};
  }
  return out_of_range("unknown step of an unregistration");
}

Result<void> ShareRequest::check() const noexcept {
  if (change != ShareChange::Share && change != ShareChange::Unshare) {
    return out_of_range("unknown change of a share");
  }
  if (!are_some_of(rights, Rights::All)) return out_of_range("rights of a share");
  if (driver_id >= RM_MAX_DRIVERS) return out_of_range("number of a driver");
  const bool of_all = as_operator && change == ShareChange::Unshare;
  if (driver_id != 0 ? !driver.empty() : driver.empty() && !of_all) {
    return out_of_range("a share is with a driver's number or its name");
  }
  return driver.empty() ? Result<void>() : check_driver(driver);
}

Result<void> DependencyRequest::check() const noexcept {
  const bool known = change == DependencyChange::Add || change == DependencyChange::Remove;
  return known ? Result<void>() : out_of_range("unknown change of a dependency");
}

Result<void> SetStateRequest::check() const noexcept {
  if (state != Lifecycle::Ready && state != Lifecycle::Quarantined) {
    return out_of_range("a state that a client can't set");
  }
  if (has_fd && state != Lifecycle::Ready) {
    return out_of_range("a descriptor of what is not ready");
  }
  if (error && (state == Lifecycle::Ready || !is_error_code(*error))) {
    return out_of_range("why it could not be quiesced");
  }
  return {};
}

Result<void> OpenFdRequest::check() const noexcept {
  const bool possible = are_some_of(rights, Rights::Read | Rights::Write);
  return possible ? Result<void>() : out_of_range("rights to open with");
}

Result<void> InternDriverRequest::check() const noexcept { return check_driver(driver); }

Result<void> SignalRequest::check() const noexcept {
  const bool known = signal == Signal::Ping || signal == Signal::Goodbye;
  return known ? Result<void>() : out_of_range("unknown signal");
}

Result<void> RemedyRequest::check() const noexcept {
  const bool known = remedy == Remedy::Repair || remedy == Remedy::Unpoison;
  return known ? Result<void>() : out_of_range("unknown remedy");
}

Result<void> DrainRequest::check() const noexcept {
  if (step != DrainStep::Begin && step != DrainStep::Cancel) {
    return out_of_range("unknown step of a drain");
  }
  return check_driver(driver);
}

Result<std::size_t> encode(const Hello& hello, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Hello, request_id);
  writer.require(hello.check());
  writer.fixed(rm_wire_hello{.before = to_wire(hello.before),
                             .features = hello.features,
                             .layout_major = hello.layout_major,
                             .layout_minor = hello.layout_minor,
                             .driver_bytes = static_cast<std::uint8_t>(hello.driver.size()),
                             .reserved = {}});
  writer.text(hello.driver);
  return writer.finish();
}

Result<Hello> Hello::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Hello});
  const auto part = reader.fixed<rm_wire_hello>();
  reader.require_zero(part.before.reserved);
  reader.require_zero(part.reserved);
  const std::uint32_t known = frame.is_newer() ? kKnownFeatures : ~0u;
  return reader.finish_with(Hello{.before = from_wire(part.before),
                                  .features = part.features & known,
                                  .layout_major = part.layout_major,
                                  .layout_minor = part.layout_minor,
                                  .driver = reader.text(part.driver_bytes)});
}

Result<std::size_t> encode(const UnregisterRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, static_cast<FrameType>(request.step), request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_handle{.handle = request.handle.bits()});
  return writer.finish();
}

Result<UnregisterRequest> UnregisterRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::BeginUnregister, FrameType::FinishUnregister,
                             FrameType::CancelUnregister});
  const auto part = reader.fixed<rm_wire_handle>();
  return reader.finish_with(UnregisterRequest{.step = static_cast<UnregisterStep>(frame.type),
                                              .handle = Handle::from_bits(part.handle)});
}

Result<std::size_t> encode(const ShareRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, static_cast<FrameType>(request.change), request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_share{.handle = request.handle.bits(),
                             .driver = request.driver_id,
                             .rights = static_cast<std::uint32_t>(request.rights),
                             .driver_bytes = static_cast<std::uint8_t>(request.driver.size()),
                             .as_operator = request.as_operator,
                             .reserved = {}});
  writer.text(request.driver);
  return writer.finish();
}

Result<ShareRequest> ShareRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Share, FrameType::Unshare});
  const auto part = reader.fixed<rm_wire_share>();
  reader.require_zero(part.reserved);
  reader.require(part.as_operator <= 1, "an operator or not");
  return reader.finish_with(ShareRequest{.change = static_cast<ShareChange>(frame.type),
                                         .handle = Handle::from_bits(part.handle),
                                         .driver_id = part.driver,
                                         .driver = reader.text(part.driver_bytes),
                                         .rights = static_cast<Rights>(part.rights),
                                         .as_operator = part.as_operator != 0});
}

Result<std::size_t> encode(const DependencyRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, static_cast<FrameType>(request.change), request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_dependency{.from = request.from.bits(), .to = request.to.bits()});
  return writer.finish();
}

Result<DependencyRequest> DependencyRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::AddDependency, FrameType::RemoveDependency});
  const auto part = reader.fixed<rm_wire_dependency>();
  return reader.finish_with(DependencyRequest{.change = static_cast<DependencyChange>(frame.type),
                                              .from = Handle::from_bits(part.from),
                                              .to = Handle::from_bits(part.to)});
}

Result<std::size_t> encode(const SetStateRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::SetState, request_id, request.has_fd ? 1 : 0);
  writer.require(request.check());
  writer.fixed(rm_wire_set_state{.handle = request.handle.bits(),
                                 .state = static_cast<std::uint8_t>(request.state),
                                 .has_fd = request.has_fd,
                                 .error = static_cast<std::uint16_t>(error_to_wire(request.error)),
                                 .attempt = request.attempt});
  return writer.finish();
}

Result<SetStateRequest> SetStateRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::SetState});
  const auto part = reader.fixed<rm_wire_set_state>();
  reader.require(part.has_fd <= 1, "more than one descriptor of a state");
  reader.needs_fds(part.has_fd);
  return reader.finish_with(
      SetStateRequest{.handle = Handle::from_bits(part.handle),
                      .state = static_cast<Lifecycle>(part.state),
                      .has_fd = part.has_fd != 0,
                      .attempt = part.attempt,
                      .error = error_from_wire(part.error, frame.is_newer())});
}

Result<void> EmergencyRequest::check() const noexcept {
  return node_link != 0 && context != 0 ? Result<void>() : out_of_range("an emergency of nobody's");
}

Result<std::size_t> encode(const EmergencyRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Emergency, request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_emergency{.handle = request.handle.bits(),
                                 .sequence = request.sequence,
                                 .yield = request.yield_ns,
                                 .node_link = request.node_link,
                                 .context = request.context});
  return writer.finish();
}

Result<EmergencyRequest> EmergencyRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Emergency});
  const auto part = reader.fixed<rm_wire_emergency>();
  reader.require(part.context <= RM_MAX_CONTEXTS, "a context that there can't be");
  return reader.finish_with(EmergencyRequest{.handle = Handle::from_bits(part.handle),
                                             .sequence = part.sequence,
                                             .yield_ns = part.yield,
                                             .node_link = part.node_link,
                                             .context = static_cast<std::uint16_t>(part.context)});
}

Result<std::size_t> encode(const OpenFdRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::OpenFd, request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_open_fd{.handle = request.handle.bits(),
                               .rights = static_cast<std::uint32_t>(request.rights),
                               .reserved = 0});
  return writer.finish();
}

Result<OpenFdRequest> OpenFdRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::OpenFd});
  const auto part = reader.fixed<rm_wire_open_fd>();
  reader.require_zero(part.reserved);
  return reader.finish_with(OpenFdRequest{.handle = Handle::from_bits(part.handle),
                                          .rights = static_cast<Rights>(part.rights)});
}

Result<std::size_t> encode(const InternDriverRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::InternDriver, request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_intern_driver{
      .driver_bytes = static_cast<std::uint8_t>(request.driver.size()), .reserved = {}});
  writer.text(request.driver);
  return writer.finish();
}

Result<InternDriverRequest> InternDriverRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::InternDriver});
  const auto part = reader.fixed<rm_wire_intern_driver>();
  reader.require_zero(part.reserved);
  return reader.finish_with(InternDriverRequest{.driver = reader.text(part.driver_bytes)});
}

Result<std::size_t> encode(const SignalRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, static_cast<FrameType>(request.signal), request_id);
  writer.require(request.check());
  return writer.finish();
}

Result<SignalRequest> SignalRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Ping, FrameType::Goodbye});
  reader.no_fixed();
  return reader.finish_with(SignalRequest{.signal = static_cast<Signal>(frame.type)});
}

Result<std::size_t> encode(const RemedyRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, static_cast<FrameType>(request.remedy), request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_handle{.handle = request.handle.bits()});
  return writer.finish();
}

Result<RemedyRequest> RemedyRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Repair, FrameType::Unpoison});
  const auto part = reader.fixed<rm_wire_handle>();
  return reader.finish_with(RemedyRequest{.remedy = static_cast<Remedy>(frame.type),
                                          .handle = Handle::from_bits(part.handle)});
}

Result<std::size_t> encode(const DrainRequest& request, std::uint64_t request_id,
                           std::span<std::byte> out) noexcept {
  FrameWriter writer(out, static_cast<FrameType>(request.step), request_id);
  writer.require(request.check());
  writer.fixed(rm_wire_drain{.driver_bytes = static_cast<std::uint8_t>(request.driver.size()),
                             .reserved = {}});
  writer.text(request.driver);
  return writer.finish();
}

Result<DrainRequest> DrainRequest::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Drain, FrameType::CancelDrain});
  const auto part = reader.fixed<rm_wire_drain>();
  reader.require_zero(part.reserved);
  return reader.finish_with(DrainRequest{.step = static_cast<DrainStep>(frame.type),
                                         .driver = reader.text(part.driver_bytes)});
}

}  // namespace resmgr::wire
