// SPDX-License-Identifier: Apache-2.0
//
// What a resource is: metadata, backing, hooks, and what the manager tells about it.
//
// What it is: the descriptions that go into and come out of hal::ResourceManager. What it is not:
// a hold; see hal/refs.hpp. Lifetime: plain values that own their strings. Thread-safety: as plain
// values.
//
//   hal::ResourceMetadata m{.type = hal::ResourceType::Memory,
//                           .class_name = "gpu-buffer",
//                           .size_bytes = 1 << 20,
//                           .flags = hal::ResourceFlags::Shareable,
//                           .pairs = {{"format", "XR24"}}};
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <hal/export.hpp>

#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/base/wanted.hpp"

namespace hal {

using resmgr::AccessPattern;
using resmgr::AcquisitionMode;
using resmgr::AsyncPath;
using resmgr::Error;
using resmgr::ErrorCode;
using resmgr::Handle;
using resmgr::Handle32;
using resmgr::HoldKind;
using resmgr::Lifecycle;
using resmgr::OrderPolicy;
using resmgr::Participant;
using resmgr::ResourceFlags;
using resmgr::ResourcePriority;
using resmgr::ResourceType;
using resmgr::Result;
using resmgr::Rights;
using resmgr::UniqueFd;
using resmgr::Wanted;

/// A driver role of one domain; 0 is "none named".
struct DriverId {
  std::uint32_t value = 0;
  friend constexpr bool operator==(DriverId, DriverId) noexcept = default;
};

/// What an owner says of a resource when he registers it.
struct ResourceMetadata {
  ResourceType type = ResourceType::Custom;
  /// Lock-order class, 1 to 31 bytes of the alphabet of names; empty: the name of the type.
  std::string class_name = {};
  std::uint64_t size_bytes = 0;  ///< 0: no memory, or unknown
  /// Bytes, a power of two up to 2^40: mapped memory begins at a multiple of it. 0: of a page.
  std::uint64_t alignment = 0;
  AccessPattern access_pattern = AccessPattern::Unspecified;
  ResourcePriority priority = ResourcePriority::Normal;  ///< default of requests for it
  ResourceFlags flags = ResourceFlags::None;
  /// Where mapped memory is to be made if it can be (MPOL_PREFERRED), up to 1023. -1: anywhere.
  int numa_node = -1;
  /// At most 16 pairs; keys 1 to 23 bytes, values up to 35 bytes; keys differ.
  std::vector<std::pair<std::string, std::string>> pairs = {};
};

/// Memory that a backing made for a resource.
struct BackingMemory {
  UniqueFd fd;                   ///< can be mapped from offset 0
  std::uint64_t size_bytes = 0;  ///< at least what was asked for
};

/// Where a resource's memory comes from: a small strategy, open to authors. `make` is called once,
/// at registration, or for Lazy resources when they are first acquired, mapped, or asked for their
/// file, on the thread that does so, under no lock; it may call any function of the manager. Others
/// who want the memory wait for it, whatever their mode, and no deadlock is seen there: it must not
/// wait for what they may hold. After an error it is called again when asked again.
class HAL_EXPORT Backing {
 public:
  Backing() = default;
  Backing(const Backing&) = delete;
  Backing& operator=(const Backing&) = delete;
  virtual ~Backing();
  /// `name` is the resource's; `size_bytes` is above 0. Errors: those of the strategy, passed on;
  /// what it throws becomes System.
  [[nodiscard]] virtual Result<BackingMemory> make(const std::string& name,
                                                   const ResourceMetadata& metadata) = 0;
  /// A new memfd of the resource's size, sealed against shrinking.
  [[nodiscard]] static std::shared_ptr<Backing> memfd();
};

/// Told about a resource's life, on the manager's one callback thread, one at a time, under no
/// lock; a hook may call any function of the manager. What it throws is dropped. Empty ones cost
/// nothing.
struct ResourceHooks {
  /// After registration, before the first on_access.
  std::function<void(Handle)> on_create = {};
  /// After acquisitions; several that follow closely are told once.
  std::function<void(Handle)> on_access = {};
  /// After unregistration; the handle is stale by then and serves as a name only.
  std::function<void(Handle)> on_cleanup = {};
  /// A process died that held the resource: stop the hardware behind it, so that the next holder
  /// finds it at rest. Nobody has it meanwhile, and nobody gets it until this returns without an
  /// error; shared holders who live keep theirs, and it is called when they are gone. On an error,
  /// or if it takes longer than resmgrd's grace.quiesce, it is called again, with pauses, a few
  /// times; then the resource is poisoned, Quarantined for all, until an operator says that it is
  /// quiet (`resmgrctl unpoison`). So it may find hardware that is at rest already. Of served
  /// domains alone: in an embedded one no holder dies without the owner.
  ///
  /// Also called, in both, when somebody in an emergency wants what its holders did not let go of
  /// in time (ResourceManager::on_revoke()): they have it still, and lose it if this returns
  /// without an error. Then it is called once; on an error they keep it.
  std::function<Result<void>(Handle)> on_quiesce = {};
};

/// Somebody in an emergency asks a holder to let go; see ResourceManager::on_revoke().
struct RevokeRequest {
  Participant holder;  ///< the context that is asked, and what it holds, since when
  Participant by;      ///< who asks, and for what kind of hold
  std::chrono::steady_clock::time_point until;
};

/// Called once for each emergency that has to wait, and each holder that is in its way. It is a
/// courtesy: a holder may let go in it, finish his work first, or do nothing. When `until` is over
/// (AcquireOptions::yield), the resource's owner is asked to make it quiet
/// (ResourceHooks::on_quiesce), and only if he says that it is, the holders are fenced: their next
/// release(), downgrade(), upgrade() or consistent() is Revoked and changes nothing, and their
/// contexts may acquire it again once they have let go. Without such a hook, or if it fails, nobody
/// is forced, and the emergency waits on. Who has no callback is not asked, and fenced all the
/// same. An upgrade in an emergency asks, and fences nobody. What it throws is dropped.
///
/// Of an exclusive hold that was fenced the next holder finds the resource inconsistent(), for his
/// predecessor was cut off in the middle. And a fence is a matter of locks: a process from which
/// something was taken keeps the descriptors and mappings that it has, and can read, write and
/// start hardware through them until it closes them. A driver that must not let that happen keeps
/// such descriptors to itself and serves others by a hal::Queue, or takes the hardware from them
/// by other means in its on_quiesce.
using OnRevoke = std::function<void(const RevokeRequest&)>;

/// How a resource is registered.
struct RegisterOptions {
  DriverId driver = {};      ///< the owner
  std::uint64_t cookie = 0;  ///< the driver's own mark ("rep"), given back unchanged
  /// The owner's file behind it (memfd, dma-buf, timerfd, eventfd). Seal a memfd that you share
  /// with F_SEAL_SHRINK: where it gets smaller than the resource, whoever mapped it dies of SIGBUS.
  UniqueFd fd = {};
  std::shared_ptr<Backing> backing = {};  ///< or where memory is to come from; not both
  ResourceHooks hooks = {};
  /// What it does where a budget has too little: NonBlocking refuses; Blocking and Timeout wait for
  /// what others give back, for `timeout` at most; Emergency overdraws.
  AcquisitionMode mode = AcquisitionMode::NonBlocking;
  std::chrono::nanoseconds timeout{0};
};

/// One of many to be registered at once; see ResourceManager::register_resources().
struct NamedResource {
  std::string_view name;
  ResourceMetadata metadata = {};
  std::uint64_t cookie = 0;  ///< as in RegisterOptions
};

/// What the manager knows of a resource. A snapshot.
struct ResourceInfo {
  Handle handle;
  std::string name;
  ResourceMetadata metadata;
  DriverId owner;
  std::string owner_name;
  Lifecycle state = Lifecycle::Deallocated;
  std::uint64_t cookie = 0;
  std::uint64_t age_ns = 0;
  bool has_fd = false;  ///< that this process knows of: its own, or one that it asked for
};

/// Counters of one resource since its registration.
struct ResourceStats {
  std::uint64_t exclusive_acquisitions = 0;
  std::uint64_t shared_acquisitions = 0;
  std::uint64_t contended = 0;        ///< requests that had to queue
  std::uint64_t longest_wait_ns = 0;  ///< of those granted
  std::uint64_t sampled_hold_ns = 0;  ///< one recent hold time, 0: none sampled yet
  std::uint64_t waits = 0;            ///< that ended, granted or not
  std::uint64_t waited_ns = 0;        ///< by all of these
  std::uint64_t age_ns = 0;           ///< since its registration
  std::uint32_t waiting = 0;          ///< queued now
  std::vector<Participant> holders;   ///< now
};

}  // namespace hal
