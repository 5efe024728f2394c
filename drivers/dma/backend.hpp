// SPDX-License-Identifier: Apache-2.0
//
// Backend: one kind of DMA engine, as a table of named operations.
//
// What it is: what a backend's file gives to the array in backends.cpp. What it is not: state; each
// open() makes a channel of its own. Lifetime: tables are constants. Thread-safety: all operations
// may be called from any thread.
//
//   constexpr Backend kBackend{.name = "mine", .about = "...", .probe = probe, .open = open};
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <hal/resource.hpp>

#include "drivers/dma/channel.hpp"

namespace drivers::dma {

/// How to open a channel. A backend may grant less than is asked for, never more: see
/// Channel::limits().
struct ChannelOptions {
  std::string name = "dma";          ///< shown as its thread's name, cut to 15 bytes
  std::uint32_t ring_entries = 256;  ///< descriptors in flight, a power of two, up to 65,536
  std::uint32_t max_buffers = 256;   ///< attached at a time, 1 to 65,536
  /// Bytes, a power of two up to 4096, and the longest descriptor: stricter than the engine's own,
  /// to develop on one engine for another.
  std::uint64_t alignment = 1;
  std::uint64_t max_length = std::uint64_t{1} << 40;
  /// The NUMA node to work on; -1: that of most of the memory attached.
  int numa_node = -1;
};

struct Backend {
  std::string_view name;   ///< as in the driver's name, "dma-<name>"
  std::string_view about;  ///< one line for people
  /// How many channels this machine has for it. Errors: Unsupported, or what was in the way.
  hal::Result<std::uint32_t> (*probe)();
  /// Opens channel `number`, counted from 0, below probe(). Errors: InvalidArgument (options out of
  /// range, no such number), InUse (a device's channel that is open already), System.
  hal::Result<std::unique_ptr<Channel>> (*open)(std::uint32_t number,
                                                const ChannelOptions& options);
};

}  // namespace drivers::dma
