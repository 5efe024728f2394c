// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/served_notes.hpp"

#include <new>
#include <type_traits>

#include "tools/demo/served_messages.hpp"

namespace demo {

static_assert(std::is_trivially_copyable_v<FrameNote>);

Outcome<hal::Handle> register_notes(hal::ResourceManager& manager, hal::DriverId owner,
                                    std::uint32_t frames) {
  auto notes = manager.register_resource(kNotesName,
                                         {.type = hal::ResourceType::Memory,
                                          .class_name = "frame-notes",
                                          .size_bytes = frames * sizeof(FrameNote),
                                          .flags = hal::ResourceFlags::Shareable},
                                         {.driver = owner, .backing = hal::Backing::memfd()});
  if (!notes) return failed("registering the notes", notes.error());
  return *notes;
}

Outcome<std::span<FrameNote>> map_notes(hal::ResourceManager& manager, hal::DriverId driver) {
  const auto handle = manager.find(kNotesName);
  if (!handle) return failed("finding the notes", handle.error());
  const auto memory = manager.map(*handle, driver);
  if (!memory) return failed("mapping the notes", memory.error());
  // Bytes of a new memfd are those of notes that say nothing.
  auto* const first = std::launder(reinterpret_cast<FrameNote*>(memory->data()));
  return std::span(first, memory->size() / sizeof(FrameNote));
}

}  // namespace demo
