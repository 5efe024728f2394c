// SPDX-License-Identifier: Apache-2.0
//
// The files of a queue: how they are made, and what is asked of those that come from elsewhere.
//
// What it is: the system calls of hal::Queue outside of messages. What it is not: the protocol.
// Lifetime and thread-safety: plain functions.
#pragma once

#include <hal/resource.hpp>

#include "hal/src/queue_layout.hpp"

#include "resmgr/base/mapping.hpp"

namespace hal::ring {

struct OpenedMemory {
  resmgr::Mapping mapping;
  Geometry geometry;
};

/// A memfd with an empty ring, allocated and sealed against resizing. Errors: System,
/// CapacityExceeded (descriptors).
[[nodiscard]] Result<UniqueFd> make_memory(const Geometry& geometry) noexcept;
/// Maps the ring in `fd`. Errors: InvalidArgument, VersionMismatch, NotPermitted (not writable),
/// System.
[[nodiscard]] Result<OpenedMemory> open_memory(int fd);

/// Errors: System, CapacityExceeded (descriptors).
[[nodiscard]] Result<UniqueFd> make_bell() noexcept;
/// Makes sure that `fd` is an eventfd and that rings don't block on it. Errors: InvalidArgument,
/// System.
[[nodiscard]] Result<void> check_bell(int fd);
/// Empties the counter, whether it rang or not; never blocks.
void silence(int bell) noexcept;

}  // namespace hal::ring
