// SPDX-License-Identifier: Apache-2.0
//
// Acquiring any of several: what is free is had without a look at the registry, all else by the
// engine.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <hal/executor.hpp>
#include <hal/resource_manager.hpp>
#include <hal/selection.hpp>

#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/client/candidates.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;
using resmgr::client::Candidates;
using resmgr::lock::LockTables;
using resmgr::lock::StateWord;

namespace {

// A look, without taking the line of a resource that others hold.
bool seems_free(const LockTables& tables, Handle handle, HoldKind kind) noexcept {
  const rm_slot* const slot = tables.slot(handle.slot());
  if (!slot) return false;
  const StateWord word{resmgr::load_relaxed(slot->word)};
  const StateWord free = StateWord::free(handle.generation());
  return word == free || (kind == HoldKind::Shared && word == free.with(RM_WORD_SHARED));
}

// The one among those that seem free which was acquired exclusively the fewest times; null if none
// seems so.
Handle least_used(const LockTables& tables, std::span<const Handle> any, HoldKind kind) noexcept {
  Handle best;
  std::uint32_t fewest = std::numeric_limits<std::uint32_t>::max();
  for (const Handle handle : any) {
    if (!seems_free(tables, handle, kind)) continue;
    const std::uint32_t times = resmgr::load_relaxed(tables.slot(handle.slot())->acquisitions);
    if (!best.is_null() && times >= fewest) continue;
    best = handle;
    fewest = times;
  }
  return best;
}

}  // namespace

Selection::Selection(std::unique_ptr<Candidates> candidates) noexcept
    : candidates_(std::move(candidates)) {}
Selection::Selection(Selection&&) noexcept = default;
Selection& Selection::operator=(Selection&&) noexcept = default;
Selection::~Selection() = default;

Result<std::vector<Handle>> Selection::candidates() {
  if (candidates_->domain()->closed()) return fail(ErrorCode::Disconnected);
  return guard("selection", [&]() -> Result<std::vector<Handle>> {
    const auto list = candidates_->sorted();
    return std::vector<Handle>(list.begin(), list.end());
  });
}

Result<Selection> ResourceManager::select(Selector selector) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("selection", [&]() -> Result<Selection> {
    auto made = Candidates::make(domain_, std::move(selector));
    if (!made) return std::unexpected(std::move(made.error()));
    return Selection(std::make_unique<Candidates>(std::move(*made)));
  });
}

Result<std::span<const Handle>> ResourceManager::list_of(Selection& selection,
                                                         bool sorted) const noexcept {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (selection.candidates_->domain() != domain_) {
    return fail(ErrorCode::InvalidArgument, "a selection of another manager");
  }
  return guard("selection", [&]() -> Result<std::span<const Handle>> {
    return sorted ? selection.candidates_->sorted() : selection.candidates_->list();
  });
}

ScopedResource::Held ResourceManager::any_at_once(std::span<const Handle> any, SelectionOrder order,
                                                  const AcquireOptions& options,
                                                  std::source_location where) noexcept {
  const bool plain =
      !options.context && domain_->known_thread_context() &&
      (are_plain(options, HoldKind::Exclusive) || are_plain(options, HoldKind::Shared));
  if (!plain) return {};
  const LockTables& tables = domain_->engine().tables();
  const auto attempt = [&](Handle handle) {
    return options.kind == HoldKind::Shared ? acquire_shared_at_once(handle, where)
                                            : acquire_at_once(handle, where);
  };
  if (order == SelectionOrder::LeastUsed) {
    const Handle best = least_used(tables, any, options.kind);
    return best.is_null() ? ScopedResource::Held{} : attempt(best);
  }
  for (const Handle handle : any) {
    if (!seems_free(tables, handle, options.kind)) continue;
    const ScopedResource::Held held = attempt(handle);
    if (held.context != 0) return held;
  }
  return {};
}

Result<ScopedResource> ResourceManager::acquire_any(Selection& selection,
                                                    const AcquireOptions& options,
                                                    std::source_location where) noexcept {
  const auto any = list_of(selection, false);
  if (!any) return std::unexpected(any.error());
  const auto held = any_at_once(*any, selection.candidates_->order(), options, where);
  if (held.context != 0) [[likely]]
    return Result<ScopedResource>(std::in_place, held);
  const auto sorted = list_of(selection, true);
  if (!sorted) return std::unexpected(sorted.error());
  if (sorted->empty()) return fail(ErrorCode::NotFound, "nothing that was selected");
  return any_slowly(*sorted, options, where);
}

Result<ScopedResource> ResourceManager::acquire_any(std::span<const Handle> any,
                                                    const AcquireOptions& options,
                                                    std::source_location where) noexcept {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  const auto held = any_at_once(any, SelectionOrder::NearestFirst, options, where);
  if (held.context != 0) return Result<ScopedResource>(std::in_place, held);
  return any_slowly(any, options, where);
}

Result<ScopedResource> ResourceManager::any_slowly(std::span<const Handle> any,
                                                   const AcquireOptions& options,
                                                   std::source_location where) noexcept {
  auto context = acquirer(options.context, ExecutorScope::inside());
  if (!context) return std::unexpected(std::move(context.error()));
  auto request = convert::request(options, where);
  if (!request) return std::unexpected(std::move(request.error()));
  return guard("acquire_any", [&]() -> Result<ScopedResource> {
    auto had = domain_->acquire_any(**context, any, *request);
    if (!had) return std::unexpected(std::move(had.error()));
    return ScopedResource(had->handle, had->context, had->kind);
  });
}

}  // namespace hal
