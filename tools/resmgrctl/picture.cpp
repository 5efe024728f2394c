// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/picture.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "resmgr/base/atomic.hpp"
#include "resmgr/client/derived_lifecycle.hpp"
#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/queue.hpp"
#include "resmgr/lock/word.hpp"
#include "resmgr/registry/view.hpp"
#include "tools/resmgrctl/walks.hpp"

namespace resmgrctl {
namespace {

using resmgr::Handle;
using resmgr::HoldKind;
using resmgr::load;
using resmgr::lock::CellWord;
using resmgr::lock::LockTables;
using resmgr::lock::StateWord;
using resmgr::lock::Waiter;

class Painter {
 public:
  explicit Painter(const Look& look)
      : look_(look), t_(look.locks.tables()), view_(look.registry), budget_(walk_budget(t_)) {}

  Picture paint() {
    picture_.taken_at = look_.taken_at;
    collect_waits();
    view_.for_each([&](const resmgr::registry::EntryCopy& entry) {
      picture_.resources.push_back(resource(entry));
      const Resource& added = picture_.resources.back();
      picture_.holds += added.holds.size();
      picture_.waits += added.waits.size();
      for (const Hold& hold : added.holds) picture_.people.emplace(hold.who.context, hold.who);
      for (const Wait& wait : added.waits) picture_.people.emplace(wait.who.context, wait.who);
      return true;
    });
    count(picture_);
    return std::move(picture_);
  }

 private:
  struct Queued {
    Waiter waiter;
    bool timed;
  };

  // Nodes are the truth, whatever list they are in.
  void collect_waits() {
    for (std::uint32_t i = 0; i < used_nodes(t_); ++i) {
      Queued queued{};
      if (!resmgr::lock::read_waiter(t_, t_.nodes[i], queued.waiter)) continue;
      queued.timed = (load(t_.nodes[i].flags) & RM_NODE_FLAG_TIMED) != 0;
      queues_[Handle(queued.waiter.slot, queued.waiter.generation)].push_back(queued);
    }
  }

  [[nodiscard]] std::string tag(const resmgr::registry::TagReader& tags, std::uint32_t id) const {
    const auto name = tags.name(id);
    return name ? std::string(name->data()) : "number " + std::to_string(id);
  }

  [[nodiscard]] Who who(std::uint32_t id) const {
    Who who{.context = id, .driver = {}};
    const rm_context* const context = t_.context(id);
    if (context == nullptr) return who;
    who.client = resmgr::lock::client_of(load(context->state));
    who.tid = load(context->tid);
    who.driver = tag(view_.drivers(), load(context->driver));
    if (const rm_client* const client = t_.client(who.client)) who.pid = load(client->pid);
    who.process = look_.process(who.client);
    return who;
  }

  [[nodiscard]] Resource resource(const resmgr::registry::EntryCopy& entry) {
    Resource to{.entry = entry,
                .class_name = tag(view_.classes(), entry.class_id),
                .owner_driver = tag(view_.drivers(), entry.owner_driver)};
    if (const rm_client* const owner = t_.client(entry.owner_client)) {
      to.owner_pid = load(owner->pid);
    }
    relations(to);
    const rm_slot* const slot = t_.slot(entry.handle.slot());
    const StateWord word{slot != nullptr ? load(slot->word) : RM_WORD_ABSENT};
    to.word = word.bits;
    if (slot != nullptr && word.is_tenant(entry.handle.generation())) {
      locks(to, *slot, word);
      waits(to);
    }
    to.state = resmgr::client::derived_lifecycle(entry, word, [&] { return !to.holds.empty(); });
    return to;
  }

  void relations(Resource& to) const {
    const Handle handle = to.entry.handle;
    const auto pairs = view_.pairs(handle);
    const auto shares = view_.shares(handle);
    auto needs = view_.needs(handle);
    auto needed_by = view_.needed_by(handle);
    to.whole = pairs && shares && needs && needed_by;
    if (pairs) {
      for (const auto& pair : *pairs) to.pairs.emplace_back(pair.key.data(), pair.value.data());
    }
    if (shares) {
      for (const auto& share : *shares) {
        to.shares.push_back({.driver = tag(view_.drivers(), share.driver),
                             .rights = share.rights,
                             .has_resources = view_.drivers().resources(share.driver) != 0});
      }
    }
    if (needs) to.needs = std::move(*needs);
    if (needed_by) to.needed_by = std::move(*needed_by);
  }

  void locks(Resource& to, const rm_slot& slot, StateWord word) {
    const std::uint32_t index = to.entry.handle.slot();
    to.counters = {.exclusive_acquisitions = load(slot.acquisitions),
                   .contended = load(slot.contended),
                   .longest_wait_ns = load(slot.longest_wait_ns),
                   .sampled_hold_ns = load(slot.sampled_hold_ns)};
    if (word.owner() != 0) {
      to.holds.push_back({.who = who(word.owner()),
                          .kind = HoldKind::Exclusive,
                          .offered = word.has(RM_WORD_GRANTING),
                          .held_ns = picture_.age(load(slot.acquired_at))});
    }
    (void)walk_cells(t_, slot, budget_, [&](const rm_cell& cell) {
      const CellWord held{load(cell.word)};
      if (held.generation() != to.entry.handle.generation() || load(cell.slot) != index) return;
      to.counters.shared_acquisitions += load(cell.acquisitions);
      // While the word is exclusive, or says nothing of sharing, cells are no holds.
      if (!held.in_use() || word.owner() != 0 || !word.has(RM_WORD_SHARED)) return;
      to.holds.push_back({.who = who(held.context()),
                          .kind = HoldKind::Shared,
                          .offered = held.state() == RM_CELL_OFFERED,
                          .held_ns = picture_.age(load(cell.acquired_at))});
    });
  }

  void waits(Resource& to) {
    const auto found = queues_.find(to.entry.handle);
    if (found == queues_.end()) return;
    std::vector<Queued>& queue = found->second;
    std::ranges::sort(queue, [](const Queued& a, const Queued& b) {
      return a.waiter.rank.before(b.waiter.rank);
    });
    for (const Queued& queued : queue) {
      const Waiter& waiter = queued.waiter;
      to.waits.push_back({.who = who(waiter.context),
                          .mode = waiter.mode,
                          .priority = waiter.rank.priority,
                          .base_priority = waiter.base_priority,
                          .emergency = waiter.emergency,
                          .timed = queued.timed,
                          .asleep = waiter.word.asleep(),
                          .waited_ns = picture_.age(waiter.enqueued_at),
                          .ticket = waiter.rank.ticket,
                          .node_word = waiter.word.bits});
      block(to, to.waits.back());
    }
  }

  // As WaitGraph::for_each_blocker() does: conflicting holders, and conflicting waiters before.
  static void block(const Resource& to, Wait& wait) {
    const auto add = [&](std::uint32_t context, bool holds) {
      if (context == wait.who.context) return;
      ++wait.blocker_count;
      if (wait.blockers.size() < Wait::kMaxBlockers) wait.blockers.push_back({context, holds});
    };
    for (const Hold& hold : to.holds) {
      if (hold.kind == HoldKind::Exclusive || wait.mode != RM_WAIT_SHARED) {
        add(hold.who.context, true);
      }
    }
    for (const Wait& other : to.waits) {
      if (&other == &wait) break;
      // Counting goes on, but not for ever: who waits for so many has enough to know.
      if (wait.blocker_count >= 64 * Wait::kMaxBlockers) break;
      if (resmgr::lock::conflicts(other.mode, wait.mode)) add(other.who.context, false);
    }
  }

  void count(Picture& picture) const {
    const rm_region_header& header = look_.locks.header();
    picture.domain_id = header.domain_id;
    picture.epoch = header.epoch;
    picture.layout_major = header.layout_major;
    picture.layout_minor = header.layout_minor;
    picture.resident_bytes = look_.resident_bytes;
    picture.deadlocks = load(t_.region->deadlocks);
    picture.late_victims = load(t_.region->late_victims);
    picture.order_inversions = load(t_.region->order_inversions);
    picture.resource_use = {static_cast<std::uint32_t>(picture.resources.size()), header.slots};
    picture.context_use.capacity = t_.context_count;
    for (std::uint32_t id = 1; id <= used_contexts(t_); ++id) {
      if ((load(t_.context(id)->state) & RM_CONTEXT_STATE_MASK) != RM_CONTEXT_FREE) {
        ++picture.context_use.used;
      }
    }
    picture.client_use.capacity = t_.client_count;
    for (std::uint32_t index = 0; index < t_.client_count; ++index) {
      if ((load(t_.client(index)->state) & RM_CONTEXT_STATE_MASK) != RM_CONTEXT_FREE) {
        ++picture.client_use.used;
      }
    }
    picture.wait_use.capacity = t_.node_count;
    for (std::uint32_t i = 0; i < used_nodes(t_); ++i) {
      if (load(t_.nodes[i].refs) != 0) ++picture.wait_use.used;
    }
    picture.cell_use.capacity = t_.cell_count;
    for (std::uint32_t i = 0; i < used_cells(t_); ++i) {
      if (load(t_.cells[i].flags) != 0) ++picture.cell_use.used;
    }
  }

  const Look& look_;
  const LockTables& t_;
  resmgr::registry::RegistryView view_;
  std::uint64_t budget_;
  Picture picture_;
  std::unordered_map<Handle, std::vector<Queued>> queues_;
};

}  // namespace

Picture Picture::of(const Look& look) { return Painter(look).paint(); }

const Resource* Picture::find(std::string_view name) const noexcept {
  const auto found = std::ranges::find(resources, name, &Resource::name);
  return found == resources.end() ? nullptr : &*found;
}

const Resource* Picture::find(Handle handle) const noexcept {
  const auto slot_of = [](const Resource& resource) { return resource.entry.handle.slot(); };
  const auto found = std::ranges::lower_bound(resources, handle.slot(), {}, slot_of);
  if (found == resources.end() || found->entry.handle != handle) return nullptr;
  return &*found;
}

}  // namespace resmgrctl
