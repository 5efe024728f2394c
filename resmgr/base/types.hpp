// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of resources: type, priority, access pattern, flags, acquisition mode, rights.
//
// What it is: enumerations shared by the engine, libhal and the tools, with one documented effect
// each. What it is not: behaviour. The numeric values are stored in the registry region and stay.
//
// Lifetime and thread-safety: plain values.
//
//   hal::ResourceMetadata m{.type = hal::ResourceType::Memory,
//                           .flags = hal::ResourceFlags::Shareable};
#pragma once

#include <cstdint>
#include <string_view>

#include "resmgr/base/export.hpp"

namespace resmgr {

/// What a resource is; budgets count per type.
enum class ResourceType : std::uint8_t {
  Hardware = 0,       ///< devices, channels, queues; counted
  Memory = 1,         ///< buffers; counted in bytes
  Performance = 2,    ///< bandwidth, time; tokens a second
  Communication = 3,  ///< queues, doorbells; counted
  Platform = 4,       ///< timers, clocks, files; counted
  Custom = 5,         ///< anything else; counted
};
inline constexpr unsigned kResourceTypes = 6;

/// Whose request is served first, and who is the victim of a deadlock last. Inside one priority
/// requests are served in order of arrival.
enum class ResourcePriority : std::uint8_t {
  Background = 0,
  Low = 1,
  Normal = 2,
  High = 3,
  Critical = 4,
};

/// How the owner expects a resource to be used. A hint for placement; one effect each.
enum class AccessPattern : std::uint8_t {
  Unspecified = 0,  ///< no advice
  Sequential = 1,   ///< mapped memory gets MADV_SEQUENTIAL
  Random = 2,       ///< mapped memory gets MADV_RANDOM
  ReadMostly = 3,   ///< maps of drivers other than the owner are read-only
  WriteOnce = 4,    ///< a memfd backing is sealed against growing, not only against shrinking
  Streaming = 5,    ///< mapped memory is populated when it is mapped
};

/// Bit set. Contradicting flags are InvalidArgument at registration. Persistent and Transient are
/// kept and shown in every domain, but only a served one outlives the owners of its resources.
enum class ResourceFlags : std::uint32_t {
  None = 0,
  Shareable = 1u << 0,      ///< share_resource is allowed; without it, NotShareable
  ExclusiveOnly = 1u << 1,  ///< shared acquisition is refused; contradicts Shareable
  Persistent = 1u << 2,     ///< (served domains) kept when its owner goes; contradicts Transient
  Transient = 1u << 3,      ///< (served domains) goes with its owner, without grace
  Lazy = 1u << 4,           ///< backing memory is made at the first acquisition, or before it by
                            ///< who maps it or asks for its file; Allocated until then
  Pinned = 1u << 5,         ///< memory is locked when mapped (mlock)
  Aggregate = 1u << 6,      ///< acquire_aggregate takes it with everything it needs
  /// Only contexts of its owner, and of drivers it was shared with for Rights::Acquire, acquire it;
  /// others get NotPermitted. It needs an owner: InvalidArgument without one.
  Restricted = 1u << 7,
};

[[nodiscard]] constexpr ResourceFlags operator|(ResourceFlags a, ResourceFlags b) noexcept {
  return static_cast<ResourceFlags>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
[[nodiscard]] constexpr ResourceFlags operator&(ResourceFlags a, ResourceFlags b) noexcept {
  return static_cast<ResourceFlags>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}
[[nodiscard]] constexpr bool has(ResourceFlags set, ResourceFlags flag) noexcept {
  return (set & flag) == flag && flag != ResourceFlags::None;
}
/// Every flag that has a meaning; others are InvalidArgument.
inline constexpr std::uint32_t kKnownResourceFlags = 0xff;

/// How an acquisition waits. See the table in README.md.
enum class AcquisitionMode : std::uint8_t {
  NonBlocking = 0,  ///< WouldBlock at once, naming the holder
  Blocking = 1,     ///< until granted, refused, or the resource goes away
  Timeout = 2,      ///< like Blocking, for at most the given time
  Emergency = 3,    ///< head of the queue, victim of a deadlock last of all; bounded like Timeout
};

/// What wakes a wait that no thread sleeps for.
enum class AsyncPath : std::uint8_t {
  Auto = 0,      ///< Futex where the kernel can, else Doorbell
  Futex = 1,     ///< io_uring waits on the request's own futex: Linux 6.7
  Doorbell = 2,  ///< a thread of the manager's, one for all its waits
};

/// Exclusive or shared.
enum class HoldKind : std::uint8_t { Exclusive = 0, Shared = 1 };

/// What another driver may do with a shared resource. Bit set.
enum class Rights : std::uint32_t {
  None = 0,
  Acquire = 1u << 0,  ///< acquire it, if it is Restricted; if it is not, everybody may
  Read = 1u << 1,     ///< map or receive it for reading
  Write = 1u << 2,    ///< map or receive it for writing
  Share = 1u << 3,    ///< share it on with at most its own rights
  All = 0xf,
};
[[nodiscard]] constexpr Rights operator|(Rights a, Rights b) noexcept {
  return static_cast<Rights>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
[[nodiscard]] constexpr Rights operator&(Rights a, Rights b) noexcept {
  return static_cast<Rights>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}
[[nodiscard]] constexpr bool has(Rights set, Rights right) noexcept {
  return (set & right) == right && right != Rights::None;
}

/// Where a resource is in its life. Active and Locked are derived from the state word.
enum class Lifecycle : std::uint8_t {
  Deallocated = 0,     ///< unregistered
  Allocated = 1,       ///< registered, its backing is not there yet
  Ready = 2,           ///< free to acquire
  Active = 3,          ///< held shared
  Locked = 4,          ///< held exclusively
  PendingCleanup = 5,  ///< being unregistered
  Orphaned = 6,        ///< its owner died; kept for a grace period
  Quarantined = 7,     ///< not granted until its owner reports it quiet
};

/// What happens when an acquisition inverts a known order of classes.
enum class OrderPolicy : std::uint8_t { Off = 0, Warn = 1, Refuse = 2 };

/// Names as in the enumerations, lower case with dashes; "unknown" for values outside.
[[nodiscard]] RESMGR_EXPORT std::string_view to_string(ResourceType type) noexcept;
[[nodiscard]] RESMGR_EXPORT std::string_view to_string(ResourcePriority priority) noexcept;
[[nodiscard]] RESMGR_EXPORT std::string_view to_string(AccessPattern pattern) noexcept;
[[nodiscard]] RESMGR_EXPORT std::string_view to_string(AcquisitionMode mode) noexcept;
[[nodiscard]] RESMGR_EXPORT std::string_view to_string(Lifecycle state) noexcept;

}  // namespace resmgr
