// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/herald.hpp"

#include <array>
#include <vector>

#include "resmgr/daemon/clerk.hpp"
#include "resmgr/lock/parties.hpp"

namespace resmgr::daemon {

void Herald::orphaned(std::span<const Handle> handles) {
  look(handles);
  for (const Handle handle : handles) tell(wire::OwnerLoss::Orphaned, handle);
}

void Herald::about_to_destroy(std::span<const Handle> handles) { look(handles); }

void Herald::destroyed(Handle handle) {
  tell(wire::OwnerLoss::OwnerDied, handle);
  concerned_.erase(handle);
}

void Herald::look(std::span<const Handle> handles) {
  if (!outbox_ || handles.empty()) return;
  std::set<std::uint32_t> listeners;
  std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> speakers;  // by driver
  outbox_->for_each_listener([&](const Client& client) {
    listeners.insert(client.index);
    for (const Role& role : client.roles) speakers[role.number].push_back(client.index);
  });
  if (listeners.empty()) return;
  const auto note = [&](Handle handle, std::uint32_t client) {
    if (listeners.contains(client)) concerned_[handle].insert(client);
  };
  for (const lock::Party& party : lock::parties_of(state_.engine().tables(), handles)) {
    note(party.handle, party.client);
  }
  for (const Handle handle : handles) {
    const auto shares = state_.view().shares(handle);
    if (!shares) continue;
    for (const registry::ShareCopy& share : *shares) {
      const auto found = speakers.find(share.driver);
      if (found == speakers.end()) continue;
      for (const std::uint32_t client : found->second) note(handle, client);
    }
  }
}

void Herald::tell(wire::OwnerLoss loss, Handle handle) {
  const auto found = concerned_.find(handle);
  if (!outbox_ || found == concerned_.end()) return;
  std::array<std::byte, sizeof(rm_frame_header) + sizeof(rm_wire_handle)> event{};
  const auto bytes = wire::encode(wire::OwnerEvent{.loss = loss, .handle = handle}, event);
  if (!bytes) return;
  for (const std::uint32_t client : found->second) {
    (void)outbox_->post(client, std::span(event).first(*bytes));
  }
}

}  // namespace resmgr::daemon
