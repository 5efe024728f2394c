// SPDX-License-Identifier: Apache-2.0
//
// ThreadMagazines: each thread's own magazine of each pool that it uses.
//
// What it is: a small table that finds the magazines used last by the serial numbers of their
// pools, a list behind it, and what happens when a thread ends: its magazines are emptied. What it
// is not: the owner of magazines; pools are. Lifetime: a pool may go before the thread.
// Thread-safety: everything is the calling thread's own.
//
//   Magazine* magazine = known_magazine(serial);   // null: not used, or not lately
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace resmgr::pool {

class BlockPool;
class Magazine;

/// Serial numbers of pools are never used again, and none is 0. They are multiples of the size of
/// an entry, so that the low bits are its place in the table.
struct KnownMagazine {
  std::uint64_t serial = 0;
  Magazine* magazine = nullptr;
};
inline constexpr std::size_t kKnownMagazines = 8;
inline constexpr std::uint64_t kSerialUnit = sizeof(KnownMagazine);
/// Initial-exec: this library is linked at start, or small enough for the loader's reserve.
alignas(64) [[gnu::tls_model("initial-exec")]] inline constinit thread_local std::array<
    KnownMagazine, kKnownMagazines> known_magazines{};

[[nodiscard]] inline Magazine* known_magazine(std::uint64_t serial) noexcept {
  const KnownMagazine& known = known_magazines[serial / kSerialUnit % kKnownMagazines];
  if (known.serial != serial) return nullptr;
  // The two are set together.
  if (!known.magazine) __builtin_unreachable();
  return known.magazine;
}

class ThreadMagazines {
 public:
  /// The calling thread's list; null when the thread is about to end, and has emptied it.
  [[nodiscard]] static ThreadMagazines* of_this_thread();
  /// In a child of fork(): its thread has none of what it had, and empties nothing.
  static void forget_all() noexcept;

  ThreadMagazines() = default;
  ThreadMagazines(const ThreadMagazines&) = delete;
  ThreadMagazines& operator=(const ThreadMagazines&) = delete;
  ~ThreadMagazines();

  /// Also puts it where known_magazine() finds it. Null if there is none.
  [[nodiscard]] Magazine* find(std::uint64_t serial) noexcept;
  /// Room for one more, so that add() does not throw.
  void reserve() { entries_.reserve(entries_.size() + 1); }
  void add(std::uint64_t serial, std::weak_ptr<BlockPool> pool, Magazine* magazine);

 private:
  struct Entry {
    std::uint64_t serial;
    std::weak_ptr<BlockPool> pool;
    Magazine* magazine;
  };
  std::vector<Entry> entries_;
};

}  // namespace resmgr::pool
