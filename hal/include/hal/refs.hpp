// SPDX-License-Identifier: Apache-2.0
//
// Holds that end with their scope: ScopedResource, ResourceRef<T>, and WeakResource, which holds
// nothing.
//
// What they are: ScopedResource (16 bytes: handle, context) has a resource until it is destroyed;
// ResourceRef<T> (24 bytes: pointer, handle, context) also points into its memory. Both release as
// the context that acquired, from whichever thread destroys them. What they are not: shared; move
// them. Lifetime: may outlive the manager; releasing after its end does nothing. Thread-safety: as
// plain values.
//
//   {
//     auto hold = manager.acquire_scoped_resource(handle).value();
//     channel.start();
//   }   // released here
#pragma once

#include <cstdint>
#include <memory>
#include <source_location>
#include <utility>

#include <hal/export.hpp>
#include <hal/resource.hpp>

namespace resmgr::client {
class Domain;
}
namespace resmgr::lock {
struct Context;
}

namespace hal {

class AsyncAcquire;
class ResourceManager;
class WeakResource;
struct AcquireOptions;

/// An acquired resource, released when it goes out of scope.
class [[nodiscard]] HAL_EXPORT ScopedResource {
  /// A hold as the library's hot functions return it, in two registers; none if context is 0.
  struct Held {
    Handle handle;
    std::uintptr_t context = 0;
  };

 public:
  ScopedResource() noexcept = default;
  /// For ResourceManager, which alone can name a Held.
  explicit ScopedResource(const Held& held) noexcept {
    context_ = held.context;
    // NOLINTNEXTLINE(misc-const-correctness): an operand that the asm may write
    std::uint64_t bits = held.handle.bits();
    // g++ 12 joins the two words in a vector register, which takes half as long as the acquisition
    // did; with this between them it stores them as they are.
    asm("" : "+r"(bits) : "m"(context_));
    handle_ = Handle::from_bits(bits);
  }
  ScopedResource(ScopedResource&& other) noexcept
      : handle_(std::exchange(other.handle_, Handle())),
        context_(std::exchange(other.context_, 0)) {}
  ScopedResource& operator=(ScopedResource&& other) noexcept {
    if (this != &other) {
      if (context_) let_go(handle_, context_);
      handle_ = std::exchange(other.handle_, Handle());
      context_ = std::exchange(other.context_, 0);
    }
    return *this;
  }
  ScopedResource(const ScopedResource&) = delete;
  ScopedResource& operator=(const ScopedResource&) = delete;
  ~ScopedResource() {
    if (context_) let_go(handle_, context_);
  }

  [[nodiscard]] explicit operator bool() const noexcept { return context_ != 0; }
  /// The resource; its tenure names this hold.
  [[nodiscard]] Handle handle() const noexcept { return handle_; }
  [[nodiscard]] HoldKind kind() const noexcept { return kind_of(context_); }
  /// True if the last exclusive holder died in the middle of its work; see consistent().
  [[nodiscard]] bool inconsistent() const noexcept;

  /// Releases now. Errors: Revoked (it was fenced), NotPermitted (empty, or released already by
  /// other means), StaleHandle, Disconnected. The object is empty afterwards in every case.
  Result<void> release() noexcept;
  /// Exclusive to shared without letting anyone in between. Errors: InvalidArgument (empty or
  /// shared already), Revoked, NotPermitted (released already by other means), NotShareable,
  /// CapacityExceeded, StaleHandle, Disconnected; the hold stays as it was.
  Result<void> downgrade() noexcept;
  /// Shared to exclusive if no other shared holder is there; waits for nobody. Errors:
  /// WouldBlock (other holders), Deadlock (another upgrade waits for us), InvalidArgument (empty or
  /// exclusive already), Revoked, NotPermitted (released already by other means; or Restricted, and
  /// the right to acquire it was taken back), StaleHandle, Disconnected; the hold stays shared.
  Result<void> try_upgrade(std::source_location where = std::source_location::current()) noexcept;
  /// As try_upgrade, but waits for the other shared holders as `options` say, before all other
  /// requests; `options.kind` and `context` are ignored. Errors: those, InvalidArgument (an option
  /// out of range), TimedOut, Preempted, CapacityExceeded (waits).
  Result<void> upgrade(const AcquireOptions& options,
                       std::source_location where = std::source_location::current()) noexcept;
  /// Says that what the resource guards was repaired after an INCONSISTENT grant. Errors:
  /// InvalidArgument (empty, or nothing is inconsistent), NotPermitted (shared, or released already
  /// by other means), Revoked, StaleHandle, Disconnected.
  Result<void> consistent() noexcept;

 private:
  friend class AsyncAcquire;
  friend class AsyncAcquireAll;
  friend class ResourceManager;
  friend class Ring;
  friend class WeakResource;
  ScopedResource(Handle handle, resmgr::lock::Context* context, HoldKind kind) noexcept
      : handle_(handle),
        context_(reinterpret_cast<std::uintptr_t>(context) |
                 (kind == HoldKind::Shared ? kSharedBit : 0)) {}
  /// The hold is somebody else's to let go of.
  Handle hand_on() noexcept {
    context_ = 0;
    return std::exchange(handle_, Handle());
  }
  static void let_go(Handle handle, std::uintptr_t context) noexcept;
  [[gnu::noinline]] static void let_go_slowly(Handle handle, std::uintptr_t context,
                                              bool ended) noexcept;
  [[nodiscard]] resmgr::lock::Context* context() const noexcept { return context_of(context_); }
  [[nodiscard]] static HoldKind kind_of(std::uintptr_t bits) noexcept {
    return bits & kSharedBit ? HoldKind::Shared : HoldKind::Exclusive;
  }
  [[nodiscard]] static resmgr::lock::Context* context_of(std::uintptr_t bits) noexcept {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): one word instead of two pays for it
    return reinterpret_cast<resmgr::lock::Context*>(bits & ~kSharedBit);
  }

  static constexpr std::uintptr_t kSharedBit = 1;  // contexts are aligned to cache lines

  Handle handle_;
  std::uintptr_t context_ = 0;
};
static_assert(sizeof(ScopedResource) == 16);

/// An acquired resource and a typed pointer to its memory.
template <typename T>
class [[nodiscard]] ResourceRef {
 public:
  ResourceRef() noexcept = default;
  ResourceRef(ResourceRef&& other) noexcept
      : pointer_(std::exchange(other.pointer_, nullptr)), hold_(std::move(other.hold_)) {}
  ResourceRef& operator=(ResourceRef&& other) noexcept {
    pointer_ = std::exchange(other.pointer_, nullptr);
    hold_ = std::move(other.hold_);
    return *this;
  }
  ResourceRef(const ResourceRef&) = delete;
  ResourceRef& operator=(const ResourceRef&) = delete;
  ~ResourceRef() = default;

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(hold_); }
  /// REQUIRES: not empty.
  [[nodiscard]] T* operator->() const noexcept { return pointer_; }
  [[nodiscard]] T& operator*() const noexcept { return *pointer_; }
  [[nodiscard]] T* get() const noexcept { return pointer_; }
  [[nodiscard]] Handle handle() const noexcept { return hold_.handle(); }
  [[nodiscard]] HoldKind kind() const noexcept { return hold_.kind(); }
  [[nodiscard]] bool inconsistent() const noexcept { return hold_.inconsistent(); }
  /// As ScopedResource::release(); the pointer is null afterwards.
  Result<void> release() noexcept {
    pointer_ = nullptr;
    return hold_.release();
  }
  /// As ScopedResource.
  Result<void> downgrade() noexcept { return hold_.downgrade(); }
  Result<void> try_upgrade(std::source_location where = std::source_location::current()) noexcept {
    return hold_.try_upgrade(where);
  }
  Result<void> consistent() noexcept { return hold_.consistent(); }

 private:
  friend class ResourceManager;
  ResourceRef(T* pointer, ScopedResource hold) noexcept
      : pointer_(pointer), hold_(std::move(hold)) {}

  T* pointer_ = nullptr;
  ScopedResource hold_;
};
static_assert(sizeof(ResourceRef<int>) == 24);

/// Remembers a resource without holding it; never keeps it registered.
class HAL_EXPORT WeakResource {
 public:
  WeakResource() noexcept = default;
  [[nodiscard]] Handle handle() const noexcept { return handle_; }
  /// True if the resource is unregistered or the manager is gone.
  [[nodiscard]] bool expired() const noexcept;
  /// Acquires without waiting. Errors: as ResourceManager::try_acquire; Disconnected also if it
  /// remembers nothing.
  [[nodiscard]] Result<ScopedResource> lock(
      HoldKind kind = HoldKind::Exclusive,
      std::source_location where = std::source_location::current()) const noexcept;

 private:
  friend class ResourceManager;
  WeakResource(Handle handle, std::weak_ptr<resmgr::client::Domain> domain) noexcept
      : handle_(handle), domain_(std::move(domain)) {}

  Handle handle_;
  std::weak_ptr<resmgr::client::Domain> domain_;
};

}  // namespace hal
