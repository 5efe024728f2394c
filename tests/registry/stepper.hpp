// SPDX-License-Identifier: Apache-2.0
//
// Stepper: runs a function in a child process, instruction by instruction, and shows what shared
// memory looks like after each store.
//
// What it is: the honest form of "killed between any two instructions": the images are what a real
// SIGKILL would have left. What it is not: usable where tracing is forbidden, or where a
// sanitizer's runtime multiplies the instructions. Thread-safety: call it from a process with one
// thread.
//
//   for_each_store(region.bytes(), [&] { writer.publish(prepared); },
//                  [&](std::span<const std::byte> image) { check(image); });
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace resmgr::registry::test {

/// Why stepping is not possible here; nothing if it is.
[[nodiscard]] std::optional<std::string> stepping_is_impossible();
/// The same, for those who step through so much that it takes minutes where a sanitizer has
/// multiplied the instructions.
[[nodiscard]] std::optional<std::string> stepping_far_is_impossible();

/// Runs `operation` in a child that shares `memory` (MAP_SHARED), and calls `visit` with a copy of
/// the memory as it was at first and after each change. Returns the number of images, 0 if the
/// child could not be run to its end.
[[nodiscard]] std::size_t for_each_store(
    std::span<const std::byte> memory, const std::function<void()>& operation,
    const std::function<void(std::span<const std::byte>)>& visit);

/// The same for several pieces of memory, which `visit` may change: they are put back before the
/// child goes on, to which `visit` thus looks like what others do once it is dead.
[[nodiscard]] std::size_t for_each_death(std::span<const std::span<std::byte>> memories,
                                         const std::function<void()>& operation,
                                         const std::function<void()>& visit);

/// Runs `operation` in another process, stops it so many instructions after it called
/// step_from_here(), calls `meanwhile()` here, and lets it go on. Returns what `operation` did, 0
/// to 255; nothing if it had ended by then, and `meanwhile` was not called.
[[nodiscard]] std::optional<int> stop_after(std::size_t instructions,
                                            const std::function<int()>& operation,
                                            const std::function<void()>& meanwhile);

/// The moments of `operation` that matter to who shares the memory: at first, and before and after
/// each instruction that changed it, as numbers for stop_after(). Empty if the child could not be
/// run to its end.
[[nodiscard]] std::vector<std::size_t> moments_of(std::span<const std::byte> memory,
                                                  const std::function<int()>& operation);

/// Called once by the operation of stop_after(): what came before is run, not stepped through.
void step_from_here();

/// Runs `prepare` in another process, then `operation`, and asks `here` before each of its
/// instructions, with the program counter. Kills the process, all of it, where that says so or at
/// the end. Returns whether it said so; nothing if the process ended otherwise.
[[nodiscard]] std::optional<bool> kill_where(const std::function<void()>& prepare,
                                             const std::function<void()>& operation,
                                             const std::function<bool(std::uintptr_t)>& here);

}  // namespace resmgr::registry::test
