// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/domain_state.hpp"

#include <fcntl.h>

#include <cerrno>

namespace resmgr::daemon {

Result<std::unique_ptr<DomainState>> DomainState::create(const Capacities& capacities,
                                                         const RegionIdentity& identity) {
  auto registry = registry::RegistryRegion::create(capacities, identity);
  if (!registry) return std::unexpected(std::move(registry.error()));
  // Ours is mapped; from here on the file gives nobody another writable mapping, not through /proc
  // either.
  if (::fcntl(registry->fd(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    return fail_errno(errno, "fcntl(F_ADD_SEALS)");
  }
  auto writer = registry::RegistryWriter::open(*registry);
  if (!writer) return std::unexpected(std::move(writer.error()));
  auto locks = lock::LockRegion::create(capacities, identity);
  if (!locks) return std::unexpected(std::move(locks.error()));
  if (::fcntl(locks->fd(), F_ADD_SEALS, F_SEAL_SEAL) != 0) {
    return fail_errno(errno, "fcntl(F_ADD_SEALS)");
  }
  struct Public : DomainState {  // make_unique needs a constructor it may call
    Public(registry::RegistryRegion r, const registry::RegistryWriter& w, lock::LockRegion l)
        : DomainState(std::move(r), w, std::move(l)) {}
  };
  return std::make_unique<Public>(std::move(*registry), *writer, std::move(*locks));
}

DomainState::DomainState(registry::RegistryRegion registry, const registry::RegistryWriter& writer,
                         lock::LockRegion locks)
    : registry_(std::move(registry)),
      view_(registry_),
      writer_(writer),
      locks_(std::move(locks)),
      engine_(locks_.tables(), *this),
      recovery_(engine_) {}

void DomainState::describe(Participant& who, std::uint32_t driver) const noexcept {
  if (const auto name = view_.drivers().name(driver)) who.driver = *name;
  if (const auto entry = view_.read(who.handle)) copy_text(who.resource, entry->name_text());
}

std::string DomainState::class_name(std::uint16_t class_id) const {
  const auto name = view_.classes().name(class_id);
  return name ? std::string(name->data()) : "class " + std::to_string(class_id);
}

}  // namespace resmgr::daemon
