// SPDX-License-Identifier: Apache-2.0
//
// What the tests of resmgrctl share: a domain in this process, with one client, to look at and to
// damage.
//
// What it is: World (both regions as resmgrd keeps them, contexts of client 1, which is this very
// process) and WorldSource, by which the doctor looks at it. Thread-safety: as the engine.
//
//   World world;
//   const Handle frame = world.add("gpu0/frame/0");
//   ASSERT_TRUE(world.acquire(world.open(), frame));
//   const Picture picture = Picture::of(world.look());
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/base/atomic.hpp"
#include "resmgr/daemon/domain_state.hpp"
#include "resmgr/lock/context_table.hpp"
#include "tools/resmgrctl/doctor.hpp"
#include "tools/resmgrctl/look.hpp"
#include "tools/resmgrctl/source.hpp"

namespace resmgrctl::test {

inline constexpr resmgr::Capacities kSmall{.slots = 64,
                                           .contexts = 32,
                                           .clients = 4,
                                           .nodes = 64,
                                           .cells = 64,
                                           .classes = 16,
                                           .drivers = 16,
                                           .pairs = 64,
                                           .dependencies = 64,
                                           .shares = 64};

class World {
 public:
  static constexpr std::uint32_t kClient = 1;

  explicit World(std::uint32_t flags = 0, const resmgr::Capacities& capacities = kSmall);

  resmgr::Handle add(std::string_view name, const resmgr::Description& description = {});
  void remove(resmgr::Handle handle, resmgr::lock::Context& context);
  std::uint32_t driver(std::string_view name);
  /// A context of the client, without a thread of its own.
  resmgr::lock::Context& open(std::uint32_t driver = 0);
  void close(resmgr::lock::Context& context) { contexts_.close(context, false); }

  [[nodiscard]] bool acquire(resmgr::lock::Context& context, resmgr::Handle handle,
                             resmgr::HoldKind kind = resmgr::HoldKind::Exclusive);
  [[nodiscard]] bool release(resmgr::lock::Context& context, resmgr::Handle handle,
                             resmgr::HoldKind kind = resmgr::HoldKind::Exclusive);

  [[nodiscard]] Look look() const;
  /// Of three looks; see diagnose().
  [[nodiscard]] Diagnosis diagnose() const;

  [[nodiscard]] resmgr::daemon::DomainState& state() noexcept { return *state_; }
  [[nodiscard]] resmgr::lock::LockEngine& engine() noexcept { return state_->engine(); }
  [[nodiscard]] const resmgr::lock::LockTables& tables() const noexcept { return tables_; }
  [[nodiscard]] rm_slot& slot(resmgr::Handle handle) const { return tables_.slots[handle.slot()]; }
  [[nodiscard]] rm_client& client() const { return *tables_.client(kClient); }
  /// The entry's words, to damage.
  [[nodiscard]] resmgr::registry::Word* entry(resmgr::Handle handle) const;

 private:
  std::unique_ptr<resmgr::daemon::DomainState> state_;
  const resmgr::lock::LockTables& tables_;
  resmgr::lock::ContextTable contexts_;
};

/// A wait that a thread of its own sleeps in, until it is served or the object goes.
class Waiting {
 public:
  Waiting(World& world, resmgr::lock::Context& context, resmgr::Handle handle,
          resmgr::HoldKind kind = resmgr::HoldKind::Exclusive);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  /// Its node.
  [[nodiscard]] rm_node& node() const;

 private:
  struct Thread;
  World& world_;
  resmgr::lock::Context& context_;
  std::unique_ptr<Thread> thread_;
};

/// Another value in a field of a region, for as long as the object is there.
template <typename T>
class Damage {
 public:
  Damage(T& field, T value) : field_(field), before_(resmgr::load(field)) {
    resmgr::store(field_, value);
  }
  ~Damage() { resmgr::store(field_, before_); }
  Damage(const Damage&) = delete;
  Damage& operator=(const Damage&) = delete;

 private:
  T& field_;
  T before_;
};

/// The names of the checks that have something to say, each once, in order.
[[nodiscard]] std::vector<std::string> checks_of(const std::vector<Finding>& findings);

}  // namespace resmgrctl::test
