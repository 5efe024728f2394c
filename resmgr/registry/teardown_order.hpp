// SPDX-License-Identifier: Apache-2.0
//
// In which order resources go.
//
// What it is: an order of a resource and all it needs, or of all there are, that keeps two kinds of
// edges: each stands before what it needs (dependencies.hpp), and what a driver owns stands before
// what others shared with it (shares.hpp). What it is not: a reason to go; a use edge orders what
// goes anyway, and adds nothing to it. Lifetime: borrows the tables. Thread-safety: beside the
// writer at any time.
//
// Dependencies have no cycles. Use edges may close some: two drivers share with each other, or what
// a driver shared needs something of the driver it was shared with. A use edge on such a cycle is
// left out, and every other one is kept. That orders what goes anyway, all of it; it does not let
// one of two drivers that use each other take away what the other still uses. The circle is one of
// drivers, not of resources, so no order of theirs is safe, and RegistryWriter::begin_unregister()
// refuses either until somebody unshares.
//
//   auto order = read_teardown_order(tables, frame).value();  // frame, buffer, device
#pragma once

#include <cstdint>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

/// The resource and all it needs, directly or not, each once, itself first, ordered as above. What
/// the edges leave open is the same for the same edges. Errors: StaleHandle, InvalidArgument
/// (damaged), WouldBlock (see read_chains()).
[[nodiscard]] Result<std::vector<Handle>> read_teardown_order(const Tables& tables, Handle handle);
/// Every resource in a slot below `slot_end`, and all they need, so ordered; by slot where the
/// edges leave it open. Errors: InvalidArgument (damaged), WouldBlock (see read_chains()).
[[nodiscard]] Result<std::vector<Handle>> read_whole_teardown_order(const Tables& tables,
                                                                    std::uint32_t slot_end);

}  // namespace resmgr::registry
