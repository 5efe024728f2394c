// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/resmgrctl/support.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "resmgr/base/clock.hpp"
#include "resmgr/daemon/peer_calls.hpp"
#include "resmgr/registry/slot_attributes.hpp"
#include "tools/resmgrctl/processes.hpp"

namespace resmgrctl::test {
namespace {

using resmgr::Handle;
using resmgr::HoldKind;
using resmgr::daemon::DomainState;
using resmgr::lock::Context;

class WorldSource final : public Source {
 public:
  explicit WorldSource(const World& world) : world_(world) {}
  [[nodiscard]] Outcome<Look> look() override { return world_.look(); }
  [[nodiscard]] std::optional<Outcome<Look>> look_before() override { return std::nullopt; }
  [[nodiscard]] const Origin& origin() const noexcept override { return origin_; }
  [[nodiscard]] resmgr::client::Link* link() noexcept override { return nullptr; }

 private:
  const World& world_;
  Origin origin_;
};

}  // namespace

World::World(std::uint32_t flags, const resmgr::Capacities& capacities)
    : state_(DomainState::create(capacities, {.domain_id = 0x1234, .flags = flags}).value()),
      tables_(state_->locks().tables()),
      contexts_(tables_, state_->engine()) {
  const auto start = resmgr::daemon::PeerCalls::kernel().start_time(::getpid());
  resmgr::store(client().pid, static_cast<std::uint32_t>(::getpid()));
  resmgr::store(client().start_time, start.value());
  resmgr::store(client().state, std::uint64_t{1} << RM_CLIENT_SEQ_SHIFT | RM_CONTEXT_LIVE);
}

Handle World::add(std::string_view name, const resmgr::Description& description) {
  resmgr::Description owned = description;
  owned.owner_client = kClient;
  const auto prepared = state_->writer().prepare(name, owned);
  EXPECT_TRUE(prepared) << prepared.error().message();
  state_->engine().arm(prepared->slot, prepared->generation, prepared->class_id,
                       resmgr::registry::slot_attributes(owned, {}));
  return state_->writer().publish(*prepared).value();
}

void World::remove(Handle handle, Context& context) {
  EXPECT_TRUE(state_->writer().begin_unregister(handle));
  EXPECT_TRUE(acquire(context, handle));
  EXPECT_TRUE(state_->engine().retire(context, handle, resmgr::monotonic_ns() + 1'000'000'000));
  EXPECT_TRUE(state_->writer().finish_unregister(handle));
}

std::uint32_t World::driver(std::string_view name) {
  return state_->writer().drivers().intern(name).value();
}

Context& World::open(std::uint32_t driver) {
  return *contexts_.open(kClient, driver, 0, nullptr).value();
}

bool World::acquire(Context& context, Handle handle, HoldKind kind) {
  return state_->engine()
      .acquire(context, handle,
               {.kind = kind, .mode = resmgr::AcquisitionMode::NonBlocking, .place = {}})
      .has_value();
}

bool World::release(Context& context, Handle handle, HoldKind kind) {
  return state_->engine().release(context, handle, kind).has_value();
}

Look World::look() const {
  auto look = Look::take(state_->registry(), state_->locks(), processes_seen_by(tables_, kClient));
  EXPECT_TRUE(look) << look.error().message();
  return std::move(*look);
}

Diagnosis World::diagnose() const {
  WorldSource source(*this);
  auto diagnosis = resmgrctl::diagnose(source, std::chrono::milliseconds(1));
  EXPECT_TRUE(diagnosis);
  return std::move(*diagnosis);
}

resmgr::registry::Word* World::entry(Handle handle) const {
  return state_->registry().tables().entries.at(handle.slot());
}

struct Waiting::Thread {
  std::atomic<bool> finished{false};
  std::thread thread;
};

Waiting::Waiting(World& world, Context& context, Handle handle, HoldKind kind)
    : world_(world), context_(context), thread_(std::make_unique<Thread>()) {
  thread_->thread = std::thread([this, handle, kind] {
    const resmgr::lock::Request request{
        .kind = kind, .mode = resmgr::AcquisitionMode::Blocking, .place = {}};
    auto grant = world_.engine().acquire(context_, handle, request);
    if (grant) (void)world_.engine().release(context_, handle, kind);
    thread_->finished = true;
  });
  bool asleep = false;
  while (!asleep && !thread_->finished) {
    world_.engine().graph().for_each_wait(context_.id, [&](const resmgr::lock::Waiter& waiter) {
      asleep = waiter.word.asleep();
      return !asleep;
    });
    std::this_thread::yield();
  }
}

Waiting::~Waiting() {
  while (!thread_->finished) {
    // Not by its list, which may be what a test damaged.
    const auto& t = world_.tables();
    for (std::uint32_t i = 0; i < t.node_count; ++i) {
      resmgr::lock::Waiter waiter;
      if (resmgr::lock::read_waiter(t, t.nodes[i], waiter) && waiter.context == context_.id) {
        (void)world_.engine().decide(waiter, RM_NODE_CANCELLED);
      }
    }
    std::this_thread::yield();
  }
  thread_->thread.join();
}

rm_node& Waiting::node() const {
  const auto& t = world_.tables();
  const auto waits = [&](rm_node& node) {
    resmgr::lock::Waiter waiter;
    return resmgr::lock::read_waiter(t, node, waiter) && waiter.context == context_.id;
  };
  return *std::find_if(t.nodes, t.nodes + t.node_count, waits);
}

std::vector<std::string> checks_of(const std::vector<Finding>& findings) {
  std::vector<std::string> checks;
  for (const Finding& finding : findings) checks.push_back(finding.check);
  std::ranges::sort(checks);
  const auto rest = std::ranges::unique(checks);
  checks.erase(rest.begin(), rest.end());
  return checks;
}

}  // namespace resmgrctl::test
