// SPDX-License-Identifier: Apache-2.0
//
// Damage: a registry region that was written into, and every call on it.
//
// What it is: a registry with some of everything, the calls of a reader and those of a new
// authority, which must end, stay inside their tables and return what is well-formed; and one run
// of a script made of bytes that decides what is damaged, the header included. What it is not: a
// check of what was registered; nothing of it need be left. Used by a test that makes its damage up
// and by a fuzz target. What is not as it must be is a failed expectation of GoogleTest. Lifetime
// and thread-safety: a run has regions of its own and needs no second thread.
//
//   play_damage(bytes);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/registry/support.hpp"

namespace resmgr::registry::test {

/// A registry with some of everything.
struct Populated {
  Populated();

  World world;
  std::vector<std::string> names;
  std::vector<Handle> handles;
};

/// Every call a reader has, on everything he may know of.
void read_everything(const RegistryRegion& region, const Populated& known);

/// What a new authority does with a region of unknown state, and then with its resources.
void write_everything(World& world);

/// One run. Returns whether the region could be attached.
bool play_damage(std::span<const std::uint8_t> script);

}  // namespace resmgr::registry::test
