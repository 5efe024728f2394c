// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/domain_state.hpp"

#include <fcntl.h>

#include <cerrno>
#include <vector>

namespace resmgr::daemon {
namespace {

// Ours is mapped; from here on the file gives nobody another writable mapping, not through /proc
// either.
Result<void> seal(const registry::RegistryRegion& registry) noexcept {
  if (::fcntl(registry.fd(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    return fail_errno(errno, "fcntl(F_ADD_SEALS)");
  }
  return {};
}

}  // namespace

Result<DomainRegions> DomainRegions::create(const Capacities& capacities,
                                            const RegionIdentity& identity) {
  auto registry = registry::RegistryRegion::create(capacities, identity);
  if (!registry) return std::unexpected(std::move(registry.error()));
  if (auto sealed = seal(*registry); !sealed) return std::unexpected(std::move(sealed.error()));
  auto locks = lock::LockRegion::create(capacities, identity);
  if (!locks) return std::unexpected(std::move(locks.error()));
  if (::fcntl(locks->fd(), F_ADD_SEALS, F_SEAL_SEAL) != 0) {
    return fail_errno(errno, "fcntl(F_ADD_SEALS)");
  }
  return DomainRegions{std::move(*registry), std::move(*locks)};
}

Result<void> DomainRegions::allocate() const noexcept {
  if (auto done = allocate_file(registry.fd(), registry.header().region_bytes); !done) return done;
  return allocate_file(locks.fd(), locks.header().region_bytes);
}

Result<DomainRegions> DomainRegions::adopt(UniqueFd registry, UniqueFd locks, std::uint64_t epoch) {
  auto before = registry::RegistryRegion::attach(std::move(registry), Mapping::Access::Read);
  if (!before) return std::unexpected(std::move(before.error()));
  // Its clients follow to a later one only.
  if (epoch <= before->header().epoch) {
    return fail(ErrorCode::InvalidArgument, "a registry of an impossible epoch");
  }
  auto copy = registry::RegistryRegion::copy_of(*before, epoch);
  if (!copy) return std::unexpected(std::move(copy.error()));
  if (auto sealed = seal(*copy); !sealed) return std::unexpected(std::move(sealed.error()));
  auto adopted = lock::LockRegion::adopt(std::move(locks), copy->header());
  if (!adopted) return std::unexpected(std::move(adopted.error()));
  return DomainRegions{std::move(*copy), std::move(*adopted)};
}

Result<std::unique_ptr<DomainState>> DomainState::create(const Capacities& capacities,
                                                         const RegionIdentity& identity) {
  auto regions = DomainRegions::create(capacities, identity);
  if (!regions) return std::unexpected(std::move(regions.error()));
  return take_over(std::move(*regions));
}

Result<std::unique_ptr<DomainState>> DomainState::take_over(DomainRegions regions) {
  auto writer = registry::RegistryWriter::open(regions.registry);
  if (!writer) return std::unexpected(std::move(writer.error()));
  (void)writer->recover();
  struct Public : DomainState {  // make_unique needs a constructor it may call
    Public(registry::RegistryRegion r, const registry::RegistryWriter& w, lock::LockRegion l)
        : DomainState(std::move(r), w, std::move(l)) {}
  };
  auto state =
      std::make_unique<Public>(std::move(regions.registry), *writer, std::move(regions.locks));
  // Latches that a predecessor had are nobody's.
  (void)state->recovery_.run(state->view_.slot_end());
  state->complete_removals();
  state->complete_memory();
  state->recount_budgets();
  return state;
}

// A slot is closed before its entry goes: one that is closed has an entry too many.
void DomainState::complete_removals() {
  std::vector<Handle> begun;
  view_.for_each([&](const registry::EntryCopy& entry) {
    if (entry.state == Lifecycle::PendingCleanup) begun.push_back(entry.handle);
    return true;
  });
  for (const Handle handle : begun) {
    if (recovery_.complete_retirement(handle)) {
      (void)writer_.finish_unregister(handle);
    } else if (writer_.was_orphaned(handle)) {
      // No owner will come to finish it.
      (void)writer_.cancel_unregister(handle);
    }
  }
}

// What has its memory says so in the registry first.
void DomainState::complete_memory() {
  view_.for_each([&](const registry::EntryCopy& entry) {
    if (entry.state == Lifecycle::Ready) engine_.has_memory(entry.handle);
    return true;
  });
}

// What a predecessor charged when it died may not be registered, or not be charged yet.
void DomainState::recount_budgets() {
  const std::uint32_t drivers = load_acquire(registry_.tables().root->driver_count);
  const std::uint32_t clients = locks_.tables().client_count;
  book_.recount({.drivers = drivers, .clients = clients}, [this](const budget::Book::Add& add) {
    view_.for_each([&](const registry::EntryCopy& entry) {
      add(entry.owner_driver, entry.type, cost_of(entry.type, entry.size_bytes));
      return true;
    });
  });
}

DomainState::DomainState(registry::RegistryRegion registry, const registry::RegistryWriter& writer,
                         lock::LockRegion locks)
    : registry_(std::move(registry)),
      view_(registry_),
      writer_(writer),
      book_(registry_.tables().budgets),
      locks_(std::move(locks)),
      engine_(locks_.tables(), *this),
      recovery_(engine_) {
  writer_.set_accountant(&book_);
}

void DomainState::describe(Participant& who, std::uint32_t driver) const noexcept {
  if (const auto name = view_.drivers().name(driver)) who.driver = *name;
  if (const auto entry = view_.read(who.handle)) copy_text(who.resource, entry->name_text());
}

std::string DomainState::class_name(std::uint16_t class_id) const {
  const auto name = view_.classes().name(class_id);
  return name ? std::string(name->data()) : "class " + std::to_string(class_id);
}

}  // namespace resmgr::daemon
