// SPDX-License-Identifier: Apache-2.0
//
// DomainState: what resmgrd keeps of a domain: both regions, the hand in the registry, the lock
// engine and the recoverer.
//
// What it is: the parts that the authority works with, made and destroyed together. What it is not:
// a policy, nor a server; the clerk decides, sessions talk. The lock region is written by every
// client: what is read from it is a hint, except where the protocol makes it the truth about locks.
//
// Lifetime: the members point at each other, so it stays where it is made. Thread-safety: one
// thread.
//
//   auto state = DomainState::create({.slots = 1024}, {.domain_id = id}).value();
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/abi/region_header.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/log.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/budget/book.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/names.hpp"
#include "resmgr/lock/recovery.hpp"
#include "resmgr/lock/region.hpp"
#include "resmgr/registry/region.hpp"
#include "resmgr/registry/view.hpp"
#include "resmgr/registry/writer.hpp"

namespace resmgr::daemon {

/// A domain's memory, which outlives those who work with it.
struct DomainRegions {
  /// A new, empty domain. Nobody who gets the registry's file can map it for writing: it is sealed
  /// against that once it is mapped here. Errors: InvalidArgument (capacities), System.
  [[nodiscard]] static Result<DomainRegions> create(const Capacities& capacities,
                                                    const RegionIdentity& identity);
  /// A domain that others made, for whom nobody works any more: a sealed copy of its registry, of
  /// that epoch, and its lock region itself, in which its clients go on. Nothing in either is
  /// believed; DomainState::take_over() repairs what it can't be. REQUIRES: nobody writes the
  /// registry. Errors: InvalidArgument (damaged, or not of one domain, or not a later epoch),
  /// VersionMismatch, System.
  [[nodiscard]] static Result<DomainRegions> adopt(UniqueFd registry, UniqueFd locks,
                                                   std::uint64_t epoch);

  /// All memory that the tables will ever take. Errors: those of allocate_file().
  [[nodiscard]] Result<void> allocate() const noexcept;

  registry::RegistryRegion registry;
  lock::LockRegion locks;
};

class DomainState : private lock::Names {
 public:
  /// Completes or undoes what a predecessor left unfinished in the regions. Errors: System.
  [[nodiscard]] static Result<std::unique_ptr<DomainState>> take_over(DomainRegions regions);
  /// Of a new domain. Errors: those of DomainRegions::create().
  [[nodiscard]] static Result<std::unique_ptr<DomainState>> create(const Capacities& capacities,
                                                                   const RegionIdentity& identity);
  DomainState(const DomainState&) = delete;
  DomainState& operator=(const DomainState&) = delete;
  ~DomainState() override = default;

  [[nodiscard]] registry::RegistryWriter& writer() noexcept { return writer_; }
  [[nodiscard]] const registry::RegistryView& view() const noexcept { return view_; }
  [[nodiscard]] lock::LockEngine& engine() noexcept { return engine_; }
  [[nodiscard]] budget::Book& book() noexcept { return book_; }
  [[nodiscard]] lock::Recovery& recovery() noexcept { return recovery_; }
  [[nodiscard]] lock::LockRegion& locks() noexcept { return locks_; }
  [[nodiscard]] const registry::RegistryRegion& registry() const noexcept { return registry_; }

 private:
  DomainState(registry::RegistryRegion registry, const registry::RegistryWriter& writer,
              lock::LockRegion locks);

  void complete_removals();
  void complete_memory();
  void recount_budgets();

  // lock::Names. The authority waits for nothing and holds nothing, so nobody asks it much.
  void describe(Participant& who, std::uint32_t driver) const noexcept override;
  [[nodiscard]] std::string class_name(std::uint16_t class_id) const override;
  void report_order(std::string_view) const noexcept override {}
  [[nodiscard]] std::uint32_t row_of(Handle handle) const noexcept override {
    return view_.row(handle).value_or(kNoRow);
  }
  [[nodiscard]] ErrorCode check_rights(Handle, std::uint32_t) const noexcept override { return {}; }
  void accessed(Handle) const noexcept override {}
  void busy() const noexcept override {}

  registry::RegistryRegion registry_;
  registry::RegistryView view_;
  registry::RegistryWriter writer_;
  budget::Book book_;
  lock::LockRegion locks_;
  lock::LockEngine engine_;
  lock::Recovery recovery_;
};

}  // namespace resmgr::daemon
