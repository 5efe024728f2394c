// SPDX-License-Identifier: Apache-2.0
//
// Pool: the frames that producer and checker go round, and what is in each.
//
// What it is: as much of the frames as both sides know, wherever the buffers' driver runs: their
// resources, and a note beside each. What it is not: memory of frames; whoever has rights maps it.
// Lifetime: the manager and the notes outlive it. Thread-safety: a plain value; the note of a frame
// is guarded by the hold on the frame, as the pixels are.
//
//   auto hold = pool.manager.try_acquire(pool.frames[0]);
//   pool.notes[0] = {.number = 7, .bytes = pool.frame_bytes};
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <hal/resource_manager.hpp>

namespace demo {

/// What is in a frame. Bytes that processes share: no pointers.
struct FrameNote {
  std::uint64_t number = 0;
  std::uint64_t offset = 0;      ///< in the file
  std::uint64_t bytes = 0;       ///< of the file; zeros follow
  std::uint32_t engine_crc = 0;  ///< what the DMA engine read back
  bool end = false;              ///< nothing is in it, and nothing follows
};

struct Pool {
  hal::ResourceManager& manager;
  std::vector<hal::Handle> frames;
  std::span<FrameNote> notes;     ///< one for each frame
  std::uint64_t frame_bytes = 0;  ///< of each
};

}  // namespace demo
