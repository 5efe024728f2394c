// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/wait_chain.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>

#include "resmgr/base/clock.hpp"
#include "tests/bench/must.hpp"

namespace bench {

using resmgr::Handle;
using resmgr::lock::Context;
using resmgr::lock::ContextTable;
using resmgr::lock::LockEngine;
using resmgr::lock::LockRegion;
using resmgr::lock::LockTables;
using resmgr::lock::NodePool;
using resmgr::lock::NodeWord;
using resmgr::lock::StateWord;
using resmgr::lock::WaitQueue;

namespace {

constexpr std::uint32_t kContexts = 16'384;
constexpr std::uint32_t kGeneration = 1;
constexpr std::uint16_t kClass = 1;
constexpr auto kPriority = static_cast<std::uint16_t>(resmgr::ResourcePriority::Normal);

}  // namespace

// Nothing here has a name, and nothing is reported.
class WaitRegion::Silent final : public resmgr::lock::Names {
 public:
  void describe(resmgr::Participant&, std::uint32_t) const noexcept override {}
  [[nodiscard]] std::string class_name(std::uint16_t) const override { return {}; }
  void report_order(std::string_view) const noexcept override {}
  [[nodiscard]] resmgr::ErrorCode check_rights(Handle, std::uint32_t) const noexcept override {
    return {};
  }
  void accessed(Handle) const noexcept override {}
  void busy() const noexcept override {}
};

WaitRegion::WaitRegion(std::uint32_t resources) : names_(std::make_unique<Silent>()) {
  resmgr::Capacities capacities;
  capacities.slots = resources;
  capacities.contexts = kContexts;
  region_ = std::make_unique<LockRegion>(must(LockRegion::create(capacities, {.domain_id = 1})));
  engine_ = std::make_unique<LockEngine>(region_->tables(), *names_);
  contexts_ = std::make_unique<ContextTable>(region_->tables(), *engine_);
  for (std::uint32_t slot = 0; slot < resources; ++slot) {
    engine_->arm(slot, kGeneration, kClass, 0);
  }
  unused_.resize(resources);
  std::iota(unused_.begin(), unused_.end(), 0u);
  std::mt19937_64 random(resources);
  std::ranges::shuffle(unused_, random);
}

WaitRegion::~WaitRegion() {
  contexts_->for_each([this](Context& context) { contexts_->close(context, false); });
}

Context& WaitRegion::open_context() { return *must(contexts_->open(0, 0, 0, nullptr)); }

Handle WaitRegion::next_resource() {
  if (unused_.empty()) throw std::runtime_error("no resource left");
  const std::uint32_t slot = unused_.back();
  unused_.pop_back();
  return Handle(slot, kGeneration);
}

void WaitRegion::hold(Context& context, Handle handle) {
  (void)must(engine_->acquire(context, handle, {}));
}

// The steps of a waiting acquire up to the place where it would walk the graph and sleep.
void WaitRegion::wait(Context& context, Handle handle) {
  using resmgr::store;
  const LockTables& tables = region_->tables();
  rm_slot& slot = tables.slots[handle.slot()];
  rm_node* node = NodePool(tables).take(context);
  if (!node) throw std::runtime_error("no wait node left");
  store(node->slot, handle.slot());
  store(node->generation, handle.generation());
  store(node->ticket, resmgr::atomic(tables.region->next_ticket).fetch_add(1));
  store(node->enqueued_at, resmgr::Clock::now());
  store(node->context, context.id);
  store(node->priority, kPriority);
  store(node->base_priority, kPriority);
  store(node->mode, static_cast<std::uint8_t>(RM_WAIT_EXCLUSIVE));
  store(node->context_next_link, resmgr::load(context.record->wait_link));
  store(context.record->wait_link, tables.link_of(node));
  const std::uint64_t sequence = NodeWord{resmgr::load(node->word)}.sequence() + 1;
  store(node->word, sequence << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING);

  const WaitQueue queue(tables, slot, handle.slot(), handle.generation());
  queue.push(*node);
  (void)queue.settle();
  std::uint64_t word = resmgr::load(slot.word);
  while (!resmgr::cas(slot.word, word, StateWord{word}.with(RM_WORD_WAITERS).bits)) {
  }
}

Context& WaitRegion::chain(std::uint32_t edges) {
  Context& first = open_context();
  Context* waiting = &first;
  for (std::uint32_t i = 0; i < edges; ++i) {
    Context& next = open_context();
    const Handle between = next_resource();
    hold(next, between);
    wait(*waiting, between);
    waiting = &next;
  }
  return first;
}

void WaitRegion::crowd(std::uint32_t waiters, std::uint32_t each) {
  Handle wanted;
  for (std::uint32_t i = 0; i < waiters; ++i) {
    if (i % each == 0) {
      wanted = next_resource();
      hold(open_context(), wanted);
    }
    wait(open_context(), wanted);
  }
}

}  // namespace bench
