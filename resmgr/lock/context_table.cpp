// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/context_table.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/wait_graph.hpp"

namespace resmgr::lock {
namespace {

// Context objects of all domains of the process, kept for ever: a ref that outlives its manager
// points at one. Never destroyed, so that refs in static objects are safe too.
struct Graveyard {
  std::mutex mutex;
  std::deque<Context> all;
  std::vector<Context*> free;
};

Graveyard& graveyard() {
  static std::unique_ptr<Graveyard> holder = std::make_unique<Graveyard>();
  static Graveyard& instance = *holder.release();
  return instance;
}

/// May throw std::bad_alloc.
Context* take_object() {
  Graveyard& yard = graveyard();
  const std::lock_guard lock(yard.mutex);
  if (!yard.free.empty()) {
    Context* const context = yard.free.back();
    yard.free.pop_back();
    return context;
  }
  yard.free.reserve(yard.all.size() + 1);  // so that giving back never throws
  return &yard.all.emplace_back();
}

void give_back(Context* context) noexcept {
  Graveyard& yard = graveyard();
  const std::lock_guard lock(yard.mutex);
  yard.free.push_back(context);
}

}  // namespace

Result<Context*> ContextTable::open(std::uint32_t client, std::uint32_t driver, std::uint32_t tid,
                                    const void* thread) {
  auto scratch = Mapping::map_anonymous(WaitGraph::scratch_bytes(t_.context_count));
  if (!scratch) return std::unexpected(std::move(scratch.error()));
  // What may throw comes before the claim; the lock keeps the room that was made.
  const std::lock_guard lock(mutex_);
  if (over_) return fail(ErrorCode::Disconnected);
  open_.reserve(open_.size() + 1);
  Context* const context = take_object();
  const std::uint32_t id = claim(client);
  if (id == 0) {
    give_back(context);
    Error error(ErrorCode::CapacityExceeded, "contexts");
    error.with_amounts(std::uint64_t{t_.context_count} + 1, t_.context_count);
    return std::unexpected(std::move(error));
  }

  rm_context& record = *t_.context(id);
  store_relaxed(record.driver, driver);
  store_relaxed(record.tid, tid);
  store_relaxed(record.wait_link, 0);
  store_relaxed(record.executor, std::uint16_t{0});
  store_relaxed(record.blocked_in, std::uint16_t{0});
  store_relaxed(record.hold_bitmap, 0);
  store_relaxed(record.foreign_freed, 0);
  store_relaxed(record.overflow_holds, 0);
  context->record = &record;
  context->id = static_cast<std::uint16_t>(id);
  context->owner_bits = std::uint64_t{id} << RM_WORD_OWNER_SHIFT;
  context->thread = thread;
  context->slots = t_.slots;
  store_relaxed(context->slot_count, t_.slot_count);
  context->tick = &engine_.tick();
  context->timed_at = Context::kNeverTimed;
  context->spare_node_link = 0;
  context->credits_used = nullptr;
  context->credits_granted = nullptr;
  context->parked.fill({});
  context->scratch = std::move(*scratch);
  context->engine.store(&engine_, std::memory_order_release);
  open_.push_back(context);
  return context;
}

// The client stands in the state itself: killed right after the swap, he is found by it (I3).
std::uint32_t ContextTable::claim(std::uint32_t client) noexcept {
  for (std::uint32_t id = 1; id <= t_.context_count; ++id) {
    rm_context& record = *t_.context(id);
    std::uint64_t state = load(record.state);
    if ((state & RM_CONTEXT_STATE_MASK) != RM_CONTEXT_FREE) continue;
    const std::uint64_t live = ((state >> RM_CONTEXT_SEQ_SHIFT) + 1) << RM_CONTEXT_SEQ_SHIFT |
                               std::uint64_t{client & 0xffff} << RM_CONTEXT_CLIENT_SHIFT |
                               RM_CONTEXT_LIVE;
    // Before the claim, so that recovery finds all that ever lived below it.
    raise_mark(t_.region->context_high_water, id);
    if (!cas(record.state, state, live)) continue;
    return id;
  }
  return 0;
}

void ContextTable::close(Context& context, bool had_holds) noexcept {
  {
    const std::lock_guard lock(mutex_);
    std::erase(open_, &context);
  }
  NodePool(t_).give_back_spare(context);
  CellPool(t_).unpark_all(context);
  // A hold that outlives it finds no slot on the fast path, and no engine behind it.
  store_relaxed(context.slot_count, 0);
  context.engine.store(nullptr, std::memory_order_release);
  context.scratch = Mapping();
  const std::uint64_t state = load(context.record->state);
  store(context.record->state,
        (state >> RM_CONTEXT_SEQ_SHIFT) << RM_CONTEXT_SEQ_SHIFT | RM_CONTEXT_FREE);
  if (!had_holds) give_back(&context);
}

// Relaxed: who looks at it at this moment acquires before the end, whoever learns of it after.
void ContextTable::close_untouched() noexcept {
  for (Context* context : open_) {
    store_relaxed(context->slot_count, 0);
    context->engine.store(nullptr, std::memory_order_release);
  }
}

void ContextTable::end() noexcept {
  const std::lock_guard lock(mutex_);
  over_ = true;
  close_untouched();
}

// What end() closed still has its scratch: threads were walking in it.
ContextTable::~ContextTable() {
  for (Context* context : open_) context->scratch = Mapping();
}

void ContextTable::after_fork_in_child() noexcept {
  close_untouched();
  open_.clear();
  mutex_.unlock();
}

void ContextTable::lock_objects() noexcept { graveyard().mutex.lock(); }
void ContextTable::unlock_objects() noexcept { graveyard().mutex.unlock(); }

std::uint32_t ContextTable::size() const noexcept {
  const std::lock_guard lock(mutex_);
  return static_cast<std::uint32_t>(open_.size());
}

}  // namespace resmgr::lock
