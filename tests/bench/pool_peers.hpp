// SPDX-License-Identifier: Apache-2.0
//
// What block pools are compared with: DPDK's rte_mempool with its cache, and tcmalloc.
//
// What it is: the loops that are measured, each compiled beside its peer, whose fast path is inline
// where it is meant to be. What it is not: needed for ours; where a peer is not installed, its
// benchmarks say so. Lifetime: a pool of theirs lives as long as its object; DPDK itself is
// initialised once and stays. Thread-safety: each thread has its own cache, as with ours.
//
//   const auto peer = make_dpdk_pool(64);      // throws Skip
//   run.compare(ours, peer->pairs());
#pragma once

#include <cstddef>
#include <memory>

#include "tests/bench/harness.hpp"

namespace bench {

/// A store of blocks of one size.
class BlockSource {
 public:
  BlockSource() = default;
  BlockSource(const BlockSource&) = delete;
  BlockSource& operator=(const BlockSource&) = delete;
  virtual ~BlockSource() = default;

  /// So many allocations, each freed at once, by the calling thread. Throws if one fails.
  virtual void pairs(std::uint64_t operations) = 0;
  /// Fills `out` and returns how many there were.
  virtual std::size_t allocate(std::span<void*> out) = 0;
  virtual void free(std::span<void* const> blocks) = 0;
};

/// Both throw Skip where there is no such peer.
[[nodiscard]] std::unique_ptr<BlockSource> make_dpdk_source(std::size_t block_bytes,
                                                            unsigned blocks);
[[nodiscard]] std::unique_ptr<BlockSource> make_tcmalloc_source(std::size_t block_bytes);

/// The loops of a source whose fast path `allocate` and `free` are.
template <typename Allocate, typename Free>
class InlineSource final : public BlockSource {
 public:
  InlineSource(Allocate allocate, Free free) : allocate_(allocate), free_(free) {}

  // Whole in one place, and from copies: as in a program that knows its pool.
  [[gnu::flatten]] void pairs(std::uint64_t operations) override {
    const auto allocate = allocate_;
    const auto free = free_;
    for (; operations != 0; --operations) {
      void* const block = allocate();
      if (!block || !free(block)) [[unlikely]]
        fail_pair();
    }
  }
  [[gnu::flatten]] std::size_t allocate(std::span<void*> out) override {
    const auto allocate = allocate_;
    std::size_t count = 0;
    for (void*& each : out) {
      each = allocate();
      if (!each) break;
      ++count;
    }
    return count;
  }
  [[gnu::flatten]] void free(std::span<void* const> blocks) override {
    const auto free = free_;
    for (void* const each : blocks) {
      if (!free(each)) [[unlikely]]
        fail_pair();
    }
  }

 private:
  [[noreturn, gnu::cold, gnu::noinline]] static void fail_pair() {
    throw std::runtime_error("a block could not be had, or not given back");
  }
  Allocate allocate_;
  Free free_;
};

template <typename Allocate, typename Free>
[[nodiscard]] std::unique_ptr<BlockSource> make_source(Allocate allocate, Free free) {
  return std::make_unique<InlineSource<Allocate, Free>>(allocate, free);
}

}  // namespace bench
