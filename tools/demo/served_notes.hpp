// SPDX-License-Identifier: Apache-2.0
//
// The notes of the frames as memory that producer and checker share: the resource demo/notes.
//
// What it is: its registration by the producer, and its mapping by either. Lifetime: the mapping
// stays until the manager closes. Thread-safety: as FrameNote says.
//
//   auto handle = register_notes(manager, producer, 4);   // and share it
//   std::span<FrameNote> notes = map_notes(manager, producer).value();
#pragma once

#include <cstdint>
#include <span>

#include <hal/resource_manager.hpp>

#include "tools/demo/failure.hpp"
#include "tools/demo/pool.hpp"

namespace demo {

/// Registers zeroed notes for so many frames.
[[nodiscard]] Outcome<hal::Handle> register_notes(hal::ResourceManager& manager,
                                                  hal::DriverId owner, std::uint32_t frames);
/// On behalf of the owner, or of who has rights.
[[nodiscard]] Outcome<std::span<FrameNote>> map_notes(hal::ResourceManager& manager,
                                                      hal::DriverId driver);

}  // namespace demo
