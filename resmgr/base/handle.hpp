// SPDX-License-Identifier: Apache-2.0
//
// Handle: names one registration of a resource, and one tenure of a hold on it.
//
// What it is: 64 bits, slot:32 | generation:24 | tenure:8. A handle whose generation is old never
// acts on the slot's new tenant (I10); the tenure, set in the handle inside a hold, tells a fenced
// hold from its successor's. A handle of one domain is stale in another, for each begins at a
// generation of its own, but for one chance in 2^24 (in 2^12 where handles are compact). What it is
// not: a capability. Knowing a handle gives no access to memory or devices.
//
// Lifetime and thread-safety: a plain value. The default one is null and never valid.
//
//   hal::Handle h = manager.find("gpu0/frame/3").value();
//   hal::Handle32 small = manager.compact(h).value();   // for descriptors with little room
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace resmgr {

class Handle {
 public:
  constexpr Handle() noexcept = default;
  constexpr Handle(std::uint32_t slot, std::uint32_t generation, std::uint8_t tenure = 0) noexcept
      : bits_(std::uint64_t{slot} << 32 | std::uint64_t{generation & kGenerationMask} << 8 |
              tenure) {}

  /// For handles that travelled through a descriptor or a log; any bits are accepted here and
  /// checked wherever they are used.
  [[nodiscard]] static constexpr Handle from_bits(std::uint64_t bits) noexcept {
    Handle handle;
    handle.bits_ = bits;
    return handle;
  }

  [[nodiscard]] constexpr std::uint64_t bits() const noexcept { return bits_; }
  [[nodiscard]] constexpr std::uint32_t slot() const noexcept {
    return static_cast<std::uint32_t>(bits_ >> 32);
  }
  [[nodiscard]] constexpr std::uint32_t generation() const noexcept {
    return static_cast<std::uint32_t>(bits_ >> 8) & kGenerationMask;
  }
  [[nodiscard]] constexpr std::uint8_t tenure() const noexcept {
    return static_cast<std::uint8_t>(bits_);
  }
  [[nodiscard]] constexpr Handle with_tenure(std::uint8_t tenure) const noexcept {
    return from_bits((bits_ & ~std::uint64_t{0xff}) | tenure);
  }
  /// No generation is 0, so that one is the null handle. (One comparison: below the generation is
  /// the tenure alone.)
  [[nodiscard]] constexpr bool is_null() const noexcept {
    return static_cast<std::uint32_t>(bits_) <= 0xff;
  }

  /// Equality compares the resource (slot and generation), not the tenure of a hold.
  friend constexpr bool operator==(Handle a, Handle b) noexcept {
    return (a.bits_ >> 8) == (b.bits_ >> 8);
  }
  friend constexpr std::strong_ordering operator<=>(Handle a, Handle b) noexcept {
    return (a.bits_ >> 8) <=> (b.bits_ >> 8);
  }

  static constexpr std::uint32_t kGenerationMask = 0xffffff;

 private:
  std::uint64_t bits_ = 0;
};
static_assert(sizeof(Handle) == 8);

/// slot:20 | generation:12, for domains created with compact handles: there generations don't
/// outgrow 12 bits, and a slot is retired when it has had them all, so a compact handle is as
/// unambiguous as a full one.
class Handle32 {
 public:
  constexpr Handle32() noexcept = default;
  [[nodiscard]] static constexpr Handle32 from_bits(std::uint32_t bits) noexcept {
    Handle32 handle;
    handle.bits_ = bits;
    return handle;
  }
  [[nodiscard]] constexpr std::uint32_t bits() const noexcept { return bits_; }
  [[nodiscard]] constexpr std::uint32_t slot() const noexcept { return bits_ >> 12; }
  [[nodiscard]] constexpr std::uint32_t generation() const noexcept { return bits_ & 0xfff; }
  [[nodiscard]] constexpr bool is_null() const noexcept { return generation() == 0; }
  friend constexpr bool operator==(Handle32, Handle32) noexcept = default;

  static constexpr std::uint32_t kMaxSlots = 1u << 20;
  static constexpr std::uint32_t kMaxGeneration = 0xfff;

 private:
  std::uint32_t bits_ = 0;
};
static_assert(sizeof(Handle32) == 4);

}  // namespace resmgr

template <>
struct std::hash<resmgr::Handle> {
  std::size_t operator()(resmgr::Handle handle) const noexcept {
    return std::hash<std::uint64_t>{}(handle.bits() >> 8);
  }
};
