// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/client_place.hpp"

#include "resmgr/abi/layout.h"

namespace resmgr::wire {

Result<void> ClientPlace::check() const noexcept {
  if (client >= RM_MAX_CLIENTS) return fail(ErrorCode::InvalidArgument, "number of a client");
  if (epoch == 0 && *this != ClientPlace{})
    return fail(ErrorCode::InvalidArgument, "a client of no epoch");
  return {};
}

rm_wire_client to_wire(const ClientPlace& place) noexcept {
  return {.domain_id = place.domain_id,
          .epoch = place.epoch,
          .client_sequence = place.sequence,
          .client = place.client,
          .reserved = 0};
}

ClientPlace from_wire(const rm_wire_client& place) noexcept {
  return {.domain_id = place.domain_id,
          .epoch = place.epoch,
          .sequence = place.client_sequence,
          .client = place.client};
}

}  // namespace resmgr::wire
