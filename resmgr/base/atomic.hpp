// SPDX-License-Identifier: Apache-2.0
//
// Atomic access to fields of shared memory.
//
// What it is: short spellings for std::atomic_ref on the plain integers of resmgr/abi/layout.h,
// with the memory order in the name. What it is not: an atomic type; the layout stays plain C.
// Thread-safety: every access is atomic. Fields that are shared are never touched otherwise.
//
//   std::uint64_t word = load_acquire(slot.word);
//   store_relaxed(slot.acquired_at, now);
#pragma once

#include <atomic>
#include <type_traits>

namespace resmgr {

template <typename T>
[[nodiscard]] std::atomic_ref<T> atomic(T& field) noexcept {
  return std::atomic_ref<T>(field);
}
/// The registry region is mapped read-only in clients; loads never write, so the const_cast that
/// atomic_ref needs in C++20 is harmless.
template <typename T>
[[nodiscard]] T load_relaxed(const T& field) noexcept {
  return std::atomic_ref<T>(const_cast<T&>(field)).load(std::memory_order_relaxed);
}
template <typename T>
[[nodiscard]] T load_acquire(const T& field) noexcept {
  return std::atomic_ref<T>(const_cast<T&>(field)).load(std::memory_order_acquire);
}
template <typename T>
[[nodiscard]] T load(const T& field) noexcept {
  return std::atomic_ref<T>(const_cast<T&>(field)).load(std::memory_order_seq_cst);
}
template <typename T>
void store_relaxed(T& field, std::type_identity_t<T> value) noexcept {
  std::atomic_ref<T>(field).store(value, std::memory_order_relaxed);
}
template <typename T>
void store_release(T& field, std::type_identity_t<T> value) noexcept {
  std::atomic_ref<T>(field).store(value, std::memory_order_release);
}
template <typename T>
void store(T& field, std::type_identity_t<T> value) noexcept {
  std::atomic_ref<T>(field).store(value, std::memory_order_seq_cst);
}
/// One compare-and-swap, seq_cst: the protocol is proved under sequential consistency. On failure
/// `expected` becomes what was there.
template <typename T>
[[nodiscard]] bool cas(T& field, T& expected, std::type_identity_t<T> desired) noexcept {
  return std::atomic_ref<T>(field).compare_exchange_strong(expected, desired,
                                                           std::memory_order_seq_cst);
}
/// Adds one to a counter that only the caller writes: no locked instruction.
template <typename T>
void bump(T& field) noexcept {
  store_relaxed(field, static_cast<T>(load_relaxed(field) + 1));
}

}  // namespace resmgr
