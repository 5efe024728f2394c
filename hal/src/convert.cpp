// SPDX-License-Identifier: Apache-2.0
#include "hal/src/convert.hpp"

#include <optional>
#include <utility>

namespace hal::convert {

Result<void> check(AsyncPath path) noexcept {
  if (path > AsyncPath::Doorbell) {
    return resmgr::fail(ErrorCode::InvalidArgument, "asynchronous path");
  }
  return {};
}

bool is_valid(const AcquireOptions& options) noexcept {
  return options.mode <= AcquisitionMode::Emergency && options.kind <= HoldKind::Shared &&
         (!options.has_priority || options.priority <= ResourcePriority::Critical);
}

Result<resmgr::lock::Request> request(const AcquireOptions& options,
                                      std::source_location where) noexcept {
  if (!is_valid(options)) return resmgr::fail(ErrorCode::InvalidArgument, "acquire options");
  const bool timed =
      options.mode == AcquisitionMode::Timeout || options.mode == AcquisitionMode::Emergency;
  const std::uint64_t now = timed ? resmgr::monotonic_ns() : 0;
  return resmgr::lock::Request{
      .kind = options.kind,
      .mode = options.mode,
      .deadline_ns = timed ? deadline(options.timeout, now) : resmgr::kNoDeadline,
      .yield_ns = options.yield.count() > 0 ? static_cast<std::uint64_t>(options.yield.count()) : 0,
      .priority = options.has_priority ? std::optional(options.priority) : std::nullopt,
      .place = where,
      .asked_at = now};
}

std::uint64_t deadline(std::chrono::nanoseconds timeout, std::uint64_t now) noexcept {
  if (timeout.count() <= 0) return 0;
  const auto wait = static_cast<std::uint64_t>(timeout.count());
  return wait > resmgr::kNoDeadline - now ? resmgr::kNoDeadline : now + wait;
}

std::uint64_t latest(std::chrono::nanoseconds timeout) noexcept {
  if (timeout == std::chrono::nanoseconds::max()) return resmgr::kNoDeadline;
  const std::uint64_t now = resmgr::monotonic_ns();
  return timeout.count() <= 0 ? now : deadline(timeout, now);
}

std::uint64_t patience(AcquisitionMode mode, std::chrono::nanoseconds timeout) noexcept {
  if (mode == AcquisitionMode::Blocking) return resmgr::kNoDeadline;
  return mode == AcquisitionMode::Timeout ? deadline(timeout) : 0;
}

resmgr::Description description(const ResourceMetadata& metadata, const RegisterOptions& options,
                                std::uint64_t type_tag, std::span<const resmgr::PairText> pairs) {
  return {.type = metadata.type,
          .class_name = metadata.class_name,
          .size_bytes = metadata.size_bytes,
          .alignment = metadata.alignment,
          .access_pattern = metadata.access_pattern,
          .priority = metadata.priority,
          .flags = metadata.flags,
          .numa_node = metadata.numa_node,
          .pairs = pairs,
          .owner_driver = options.driver.value,
          .cookie = options.cookie,
          .type_tag = type_tag,
          .urgency = urgency(options.mode)};
}

}  // namespace hal::convert
