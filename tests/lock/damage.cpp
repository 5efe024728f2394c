// SPDX-License-Identifier: Apache-2.0
#include "tests/lock/damage.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "resmgr/abi/region_file.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/lock/context_table.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/recovery.hpp"
#include "resmgr/lock/region.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/fuzz/region_damage.hpp"
#include "tests/lock/fast.hpp"

namespace resmgr::lock::test {
namespace {

using resmgr::test::bytes_of;
using resmgr::test::Script;

constexpr Capacities kTiny{.slots = 72,  // two of them share a place in the cache of cells
                           .contexts = 6,
                           .clients = 1,
                           .nodes = 12,
                           .cells = 16,
                           .classes = 4,
                           .drivers = 2,
                           .pairs = 0,
                           .dependencies = 0,
                           .shares = 0};
constexpr std::array<std::uint32_t, 4> kSlots{0, 1, 2, 1 + Context::kParked};
constexpr std::size_t kContexts = 3;
/// Long enough to be asleep, short enough for many.
constexpr std::uint64_t kMomentNs = 60'000;

class NoNames final : public Names {
 public:
  void describe(Participant&, std::uint32_t) const noexcept override {}
  [[nodiscard]] std::string class_name(std::uint16_t) const override { return "class"; }
  void report_order(std::string_view) const noexcept override {}
  [[nodiscard]] ErrorCode check_rights(Handle, std::uint32_t) const noexcept override { return {}; }
  void accessed(Handle) const noexcept override {}
  void busy() const noexcept override {}
};

// An empty region with gaps between its tables.
const rm_region_header& header_with_gaps() {
  static const rm_region_header header =
      resmgr::test::with_gaps(LockRegion::create(kTiny, {.domain_id = 1}).value().header());
  return header;
}

// A file of the size of such a region that begins with `header`, attached.
Result<LockRegion> attach_with(const rm_region_header& header) {
  auto fd = create_region_file("damage", header_with_gaps().region_bytes).value();
  const auto written = ::pwrite(fd.get(), &header, sizeof header, 0);
  if (written != sizeof header) return fail_errno(errno, "pwrite");
  return LockRegion::attach(std::move(fd));
}

std::span<std::byte> all_of(const LockRegion& region) {
  return bytes_of(reinterpret_cast<std::byte*>(region.tables().region),
                  header_with_gaps().region_bytes);
}

using Tables = std::vector<std::span<std::byte>>;

/// Those beside the records: what is taken, ready, ordered and counted.
Tables side_tables_of(const LockTables& t) {
  return {bytes_of(t.order_bits, std::size_t{RM_MAX_CLASSES} * (RM_MAX_CLASSES / 64)),
          bytes_of(t.order_edges, RM_ORDER_EDGES),
          bytes_of(t.nodes_taken, (t.node_count + 63) / 64),
          bytes_of(t.cells_taken, (t.cell_count + 63) / 64),
          bytes_of(t.nodes_ready, (t.node_count + 63) / 64),
          bytes_of(t.meters, t.slot_count),
          bytes_of(t.credits, t.credit_count),
          bytes_of(t.wait_rows, t.wait_row_count),
          bytes_of(t.slot_waits, t.slot_count)};
}

Tables tables_of(const LockRegion& region) {
  const LockTables& t = region.tables();
  Tables tables{bytes_of(t.region, 1),
                bytes_of(t.slots, t.slot_count),
                bytes_of(t.nodes, t.node_count),
                bytes_of(t.cells, t.cell_count),
                bytes_of(t.contexts, t.context_count),
                bytes_of(t.clients, t.client_count),
                bytes_of(t.trace, std::size_t{t.context_count} * RM_TRACE_RECORDS)};
  std::ranges::copy(side_tables_of(t), std::back_inserter(tables));
  return tables;
}

// Whatever the header says: attaching fails, or each table is there from its first to its last
// byte.
void attach_damaged(Script& script) {
  const auto region = attach_with(resmgr::test::damaged(header_with_gaps(), script));
  if (!region) return;
  for (const std::span<std::byte> table : tables_of(*region)) {
    (void)load_relaxed(table.front());
    (void)load_relaxed(table.back());
  }
}

class Run {
 public:
  explicit Run(Script script) : script_(script) {
    engine_.order().set_policy(OrderPolicy::Warn);
    store_relaxed(region_.tables().region->trace_level, std::uint32_t{RM_TRACE_CONTENDED});
    for (const std::uint32_t slot : kSlots) {
      engine_.arm(slot, 1, static_cast<std::uint16_t>(slot % 4), 0);
    }
    for (Context*& context : contexts_) context = table_.open(0, 0, 0, this_thread()).value();
    (void)engine_.acquire(*contexts_[0], Handle(0, 1), {});
    (void)engine_.acquire(*contexts_[0], Handle(1, 1), {.kind = HoldKind::Shared});
    (void)engine_.acquire(*contexts_[1], Handle(1, 1), {.kind = HoldKind::Shared});
    (void)engine_.acquire(*contexts_[1], Handle(2, 1), {});
    for (std::uint32_t i = 0; i < 3; ++i) add_waiter(i);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {
    for (Context* context : contexts_) table_.close(*context, false);
  }

  std::uint64_t play() {
    std::uint64_t calls = 0;
    while (!script_.over()) {
      damage();
      for (int i = script_.next() % 4; i >= 0; --i, ++calls) call();
    }
    for (Context* context : contexts_) {
      (void)engine_.release_all(*context, [](Handle, HoldKind) {});
    }
    return calls;
  }

 private:
  /// Somebody who waits and never looks: a stopped peer's node.
  void add_waiter(std::uint32_t number) {
    Context& context = *contexts_.at(number % kContexts);
    rm_node* node = NodePool(region_.tables()).take(context);
    if (node == nullptr) return;
    const std::uint32_t slot = number % 3;
    store(node->slot, slot);
    store(node->generation, 1);
    store(node->ticket, number);
    store(node->priority, static_cast<std::uint16_t>(number));
    store(node->context, context.id);
    store(node->mode, static_cast<std::uint8_t>(number % 3));
    store(node->group, number == 2 ? 1u : 0u);  // of a group that is none
    store(node->word, std::uint64_t{1} << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING);
    store(context.record->wait_link, region_.tables().link_of(node));
    WaitQueue(region_.tables(), region_.tables().slots[slot], slot, 1).push(*node);
  }

  /// Some bytes or a number over one of the tables, mostly its first entries, which are in use.
  void damage() {
    const LockTables& t = region_.tables();
    Tables tables{bytes_of(t.slots, 4),
                  bytes_of(t.nodes, t.node_count),
                  bytes_of(t.cells, t.cell_count),
                  bytes_of(t.contexts, t.context_count),
                  bytes_of(t.region, 1),
                  bytes_of(t.slots, t.slot_count)};
    std::ranges::copy(side_tables_of(t), std::back_inserter(tables));
    const std::uint8_t choice = script_.next();
    const std::span<std::byte> table = tables.at(choice % tables.size());
    if (choice < 0x40) {
      script_.scribble(table);
    } else {
      script_.plant(table, script_.next_below(table.size() / 4) * 4, kTiny);
    }
  }

  [[nodiscard]] Request any_request() {
    const std::uint8_t choice = script_.next();
    const HoldKind kind = choice % 2 == 0 ? HoldKind::Exclusive : HoldKind::Shared;
    const auto priority = static_cast<ResourcePriority>(choice / 2 % 5);
    const std::uint64_t until = monotonic_ns() + kMomentNs;
    switch (choice / 16 % 3) {
      case 0:
        return {.kind = kind};
      case 1:
        return {.kind = kind, .mode = AcquisitionMode::Emergency, .deadline_ns = until};
      default:
        return {.kind = kind,
                .mode = AcquisitionMode::Timeout,
                .deadline_ns = until,
                .priority = priority};
    }
  }

  void call() {
    Context& me = *contexts_.at(script_.next() % kContexts);
    const std::uint32_t slot = kSlots.at(script_.next() % kSlots.size());
    // The generation that stands there now, for calls must get past the first check.
    const std::uint32_t generation = engine_.word(slot).generation();
    const Handle handle(slot, generation, load_relaxed(region_.tables().slots[slot].tenure));
    Grant grant;
    switch (script_.next() % 16) {
      case 0:
        (void)engine_.try_exclusive(me, handle, true, {}, grant);
        break;
      case 1:
        (void)engine_.try_shared(me, handle, true, {}, grant);
        break;
      case 2:
        make_plain(engine_, me);
        (void)take_fast(engine_, me, handle, HoldKind::Exclusive);
        (void)give_fast(engine_, me, handle, HoldKind::Exclusive);
        break;
      case 3:
        make_plain(engine_, me);
        (void)take_fast(engine_, me, handle, HoldKind::Shared);
        (void)give_fast(engine_, me, handle, HoldKind::Shared);
        break;
      case 4:
        (void)engine_.release(me, handle, HoldKind::Exclusive);
        break;
      case 5:
        (void)engine_.release(me, handle, HoldKind::Shared);
        break;
      case 6:
        (void)engine_.downgrade(me, handle);
        break;
      case 7:
        (void)engine_.upgrade(me, handle, any_request());
        break;
      case 8:
        (void)engine_.consistent(me, handle);
        break;
      case 9:
        (void)engine_.retire(me, handle, monotonic_ns() + kMomentNs);
        break;
      case 10:
        engine_.arm(slot, generation + 1, script_.next(), script_.next());
        break;
      case 11:
        look(me, handle);
        break;
      case 12:
        (void)engine_.release_all(me, [](Handle, HoldKind) {});
        break;
      case 13:
        recover();
        break;
      case 14:
        acquire_any(me, handle);
        break;
      default:
        (void)engine_.acquire(me, handle, any_request());
    }
  }
  void acquire_any(Context& me, Handle handle) {
    const std::array any{handle, Handle(kSlots.at(script_.next() % kSlots.size()), 1)};
    Wait wait;
    std::array<Wait, any.size()> members;
    (void)engine_.acquire_any(me, any, any_request(), wait, members);
  }
  void recover() {
    Recovery recovery(engine_);
    (void)recovery.mark_dead(script_.next() % 2);  // 0 is everybody's, unless the region says else
    (void)recovery.run(kTiny.slots);
  }
  void look(Context& me, Handle handle) {
    (void)engine_.is_valid(handle);
    (void)engine_.held_kind(me, handle);
    (void)engine_.counters(handle);
    (void)engine_.count_waiters(handle);
    engine_.for_each_holder(handle, [](const Participant&) {});
    (void)engine_.graph().find_cycle(me.scratch, me.id);
  }

  Script script_;
  NoNames names_;
  LockRegion region_ = attach_with(header_with_gaps()).value();
  resmgr::test::Fences fences_{all_of(region_), tables_of(region_)};
  LockEngine engine_{region_.tables(), names_};
  ContextTable table_{region_.tables(), engine_};
  std::array<Context*, kContexts> contexts_{};
};

}  // namespace

std::uint64_t play_damage(std::span<const std::uint8_t> bytes) {
  Script script(bytes);
  constexpr std::uint8_t kOneIn = 8;
  if (script.next() % kOneIn == kOneIn - 1) attach_damaged(script);
  return Run(script).play();
}

}  // namespace resmgr::lock::test
