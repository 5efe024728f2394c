// SPDX-License-Identifier: Apache-2.0
//
// Clients and contexts: the dead are buried, and nobody has what belonged to them (I4, I5).
#include <string>

#include "tools/resmgrctl/examination.hpp"

namespace resmgrctl {
namespace {

using Life = Examination::Life;
using resmgr::load;

constexpr const char* kBuried =
    "resmgrd hears of deaths from the kernel: see its log; if this stays, restart it "
    "(systemctl restart resmgrd)";

void check_client(Examination& ex, std::uint32_t index) {
  const rm_client& client = *ex.tables().client(index);
  if (Examination::life_of(load(client.state)) != Life::Live) return;
  if (ex.look().process(index) != Process::Gone) return;
  Evidence evidence;
  evidence.add(load(client.state)).add(load(client.pid));
  ex.add({.check = "client-unburied",
          .invariant = 4,
          .resource = "client " + std::to_string(index),
          .text = "has no process any more (pid " + std::to_string(load(client.pid)) +
                  "), and is taken for alive",
          .next_step = kBuried,
          .subject = index},
         evidence);
}

void check_context(Examination& ex, std::uint32_t id) {
  const rm_context& context = *ex.tables().context(id);
  const std::uint64_t state = load(context.state);
  const Life life = Examination::life_of(state);
  if (life == Life::Free) return;
  const rm_client* const client = ex.tables().client(resmgr::lock::client_of(state));
  const std::uint64_t client_state = client ? load(client->state) : 0;
  const Life owner = client ? Examination::life_of(client_state) : Life::Nobody;
  Evidence evidence;
  evidence.add(state).add(client_state);
  Finding finding{.resource = ex.who(id), .next_step = kBuried, .subject = id};
  if (life == Life::Live && owner == Life::Dead) {
    finding.check = "context-unmarked";
    finding.invariant = 4;
    finding.text = "is taken for alive, though its client is dead";
  } else if (life == Life::Live && owner != Life::Live) {
    finding.check = "context-of-nobody";
    finding.invariant = 5;
    finding.text = "is alive, and of no client";
  } else if (life == Life::Dead && owner != Life::Dead) {
    finding.check = "context-unburied";
    finding.invariant = 5;
    finding.text = "is dead and not recovered, though its client's place was given on";
  } else {
    return;
  }
  ex.add(std::move(finding), evidence);
}

// What is somebody's whose place is free.
void check_owners(Examination& ex) {
  for (std::uint32_t slot = 0; slot < ex.slot_end(); ++slot) {
    const auto entry = ex.view().read(resmgr::registry::live_handle(ex.registry(), slot));
    if (!entry) continue;
    Evidence evidence;
    evidence.add(entry->handle).add(entry->state).add(entry->owner_client);
    if (entry->state == resmgr::Lifecycle::Orphaned) {
      ex.add({.check = "orphan",
              .note = true,
              .resource = ex.name(slot),
              .text = "has lost its owner, and waits to be adopted",
              .next_step = "start its driver again before its grace is over: it adopts the "
                           "resource by its name",
              .subject = slot},
             evidence);
      continue;
    }
    // 0 is a process alone with its domain; what is leaving goes by itself.
    if (entry->owner_client == 0 || entry->state == resmgr::Lifecycle::PendingCleanup ||
        resmgr::has(entry->flags, resmgr::ResourceFlags::Persistent)) {
      continue;
    }
    const rm_client* const owner = ex.tables().client(entry->owner_client);
    const std::uint64_t state = owner ? load(owner->state) : 0;
    if (owner && Examination::life_of(state) == Life::Live) continue;
    evidence.add(state);
    ex.add({.check = "orphan-unmarked",
            .invariant = 5,
            .resource = ex.name(slot),
            .text = "is owned by client " + std::to_string(entry->owner_client) +
                    ", which there is not, and is no orphan",
            .next_step = kBuried,
            .subject = slot},
           evidence);
  }
}

}  // namespace

void check_clients(Examination& ex) {
  const auto& t = ex.tables();
  for (std::uint32_t index = 0; index < t.client_count; ++index) check_client(ex, index);
  for (std::uint32_t id = 1; id <= used_contexts(t); ++id) check_context(ex, id);
  check_owners(ex);
}

}  // namespace resmgrctl
