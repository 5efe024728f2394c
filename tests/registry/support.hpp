// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the registry share: a small registry, a seed, copies of regions.
//
// What it is: the authority and a reader of one region in one object. Lifetime: a World owns its
// region. Thread-safety: none of its own.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/region.hpp"
#include "resmgr/registry/view.hpp"
#include "resmgr/registry/writer.hpp"
#include "tests/base/seed.hpp"

namespace resmgr::registry::test {

/// Tables just large enough for a test, so that a region has few pages.
[[nodiscard]] Capacities small_capacities();

using resmgr::test::seed;

/// A new sealed file with these bytes.
[[nodiscard]] UniqueFd file_of(std::span<const std::byte> bytes);

/// The same, attached for writing.
[[nodiscard]] RegistryRegion copy_of(std::span<const std::byte> bytes);

struct World {
  explicit World(const Capacities& capacities = small_capacities(), std::uint32_t flags = 0);
  explicit World(RegistryRegion from);

  /// Registers, expecting success.
  Handle add(std::string_view name, const Description& description = {});
  /// Unregisters, expecting success.
  void remove(Handle handle);
  /// Interns a driver, expecting success.
  std::uint32_t driver(std::string_view name);
  /// Another registration attempt, for its error.
  [[nodiscard]] Result<Handle> try_add(std::string_view name, const Description& description = {});

  RegistryRegion region;
  RegistryWriter writer;
  RegistryView view;
};

/// The part of the index that is in use.
[[nodiscard]] IndexState index_state(const World& world);

/// Names whose search begins in the same cell of an index of `cells` cells, found by trial, as an
/// adversary who knows the seed would.
[[nodiscard]] std::vector<std::string> colliding_names(const World& world, std::uint32_t cells,
                                                       std::uint32_t home, int count);

/// Passes if `result` failed with `code`.
template <typename T>
[[nodiscard]] testing::AssertionResult failed_with(const Result<T>& result, ErrorCode code) {
  if (result) return testing::AssertionFailure() << "no error, expected " << to_string(code);
  if (result.error() == code) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << result.error().message() << ", expected " << to_string(code);
}

/// Passes if `result` is a value.
template <typename T>
[[nodiscard]] testing::AssertionResult succeeded(const Result<T>& result) {
  if (result) return testing::AssertionSuccess();
  return testing::AssertionFailure() << result.error().message();
}

/// What the registry says of everything in it, as text that can be compared.
[[nodiscard]] std::string describe(const RegistryView& view);

/// Whether everything in the registry fits together: each entry is found by its name, the edges of
/// the graph are in the chains of both ends, and each record is in use or can be had.
/// REQUIRES: no resource is prepared only.
[[nodiscard]] testing::AssertionResult is_sound(const World& world);

}  // namespace resmgr::registry::test
