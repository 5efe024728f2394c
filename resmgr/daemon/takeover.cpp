// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/takeover.hpp"

#include <utility>

#include "resmgr/registry/region.hpp"

namespace resmgr::daemon {

Result<Property> take_over(Legacy legacy, std::uint64_t patience_ns) {
  if (!legacy.registry || !legacy.locks || !legacy.ledger) {
    return fail(ErrorCode::InvalidArgument, "a part of the domain is missing");
  }
  // Which places there are is in the registry, and whose turn it is in the ledger.
  auto before = legacy.registry.duplicate();
  if (!before) return std::unexpected(std::move(before.error()));
  auto registry = registry::RegistryRegion::attach(std::move(*before), Mapping::Access::Read);
  if (!registry) return std::unexpected(std::move(registry.error()));
  auto ledger = LedgerFile::attach(std::move(legacy.ledger), registry->header().clients);
  if (!ledger) return std::unexpected(std::move(ledger.error()));
  const auto turn = ledger->take_turn(patience_ns);
  if (!turn) return std::unexpected(turn.error());
  // Somebody may have copied it, and then its owner went on with the one that it was copied from.
  auto current = ledger->check_current(registry->header().epoch);
  if (!current) return std::unexpected(std::move(current.error()));
  auto regions = DomainRegions::adopt(std::move(legacy.registry), std::move(legacy.locks),
                                      ledger->next_epoch());
  if (!regions) return std::unexpected(std::move(regions.error()));
  return Property{.regions = std::move(*regions),
                  .ledger = std::move(*ledger),
                  .estate = {.files = std::move(legacy.files)},
                  .listener = {}};
}

}  // namespace resmgr::daemon
