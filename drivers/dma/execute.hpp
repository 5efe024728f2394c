// SPDX-License-Identifier: Apache-2.0
//
// execute: does one descriptor with the processor.
//
// What it is: the walk over source and destination pieces, in chunks, so that a cancelled
// descriptor stops soon. What it is not: a thread; see software.hpp. Thread-safety: one caller for
// each descriptor, after Batch::claim().
//
//   if (batch.claim(i)) batch.settle(i, execute(batch, i, mover, 1 << 20));
#pragma once

#include <cstddef>
#include <cstdint>

#include "drivers/dma/batch.hpp"
#include "drivers/dma/descriptor.hpp"
#include "drivers/dma/mover.hpp"

namespace drivers::dma {

/// Returns the outcome: Done, or Cancelled where Batch::stop_requested() became true between two
/// chunks of at most `chunk_bytes` (above 0).
[[nodiscard]] Outcome execute(Batch& batch, std::size_t index, const Mover& mover,
                              std::uint64_t chunk_bytes) noexcept;

}  // namespace drivers::dma
