// SPDX-License-Identifier: Apache-2.0
//
// ClientPlace: where a client stands in a domain.
//
// What it is: the domain, its epoch, and the client's record in the lock region; what Hello,
// Welcome and the event of a new epoch have in common. What it is not: identity; resmgrd knows a
// client by its connection, and believes what it says of its place only if that fits.
//
// Lifetime and thread-safety: a plain value.
//
//   Hello hello{.before = welcome.regions.client};   // to come back
#pragma once

#include <cstdint>

#include "resmgr/abi/wire.h"
#include "resmgr/base/error.hpp"

namespace resmgr::wire {

struct ClientPlace {
  std::uint64_t domain_id = 0;
  std::uint64_t epoch = 0;     ///< 0: no place at all, and then all of it is 0
  std::uint64_t sequence = 0;  ///< of the client record
  std::uint32_t client = 0;    ///< its index, below RM_MAX_CLIENTS

  /// Errors: InvalidArgument (out of range).
  [[nodiscard]] Result<void> check() const noexcept;

  friend bool operator==(const ClientPlace&, const ClientPlace&) noexcept = default;
};

[[nodiscard]] rm_wire_client to_wire(const ClientPlace& place) noexcept;
[[nodiscard]] ClientPlace from_wire(const rm_wire_client& place) noexcept;

}  // namespace resmgr::wire
