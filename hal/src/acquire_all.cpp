// SPDX-License-Identifier: Apache-2.0
//
// Acquiring several: what is free is had without a look at the registry, all else by AcquireAll.
#include <algorithm>
#include <memory>
#include <utility>

#include <hal/executor.hpp>
#include <hal/resource_manager.hpp>

#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;
using resmgr::lock::FastPath;
using resmgr::lock::Grant;

namespace {

bool try_one(resmgr::client::Domain& domain, resmgr::lock::Context& context, const Wanted& wanted,
             std::source_location where, Grant& grant) noexcept {
  resmgr::lock::LockEngine& engine = domain.engine();
  switch (wanted.kind) {
    case HoldKind::Exclusive:
      if (!engine.try_exclusive(context, wanted.handle, false, where, grant)) return false;
      break;
    case HoldKind::Shared:
      if (!engine.try_shared(context, wanted.handle, false, where, grant)) return false;
      break;
    default:
      return false;
  }
  return domain.complete(context, wanted.handle, wanted.kind, grant).has_value();
}

}  // namespace

// Of a context that holds nothing else, so that there is no order of classes to learn. False: they
// were not all free, or are not all as they should be, which others find out; none is held then.
// `holds`: as many, empty.
bool ResourceManager::all_at_once(resmgr::client::Domain& domain, resmgr::lock::Context& context,
                                  std::span<const Wanted> wanted, std::source_location where,
                                  std::span<ScopedResource> holds) noexcept {
  if (!resmgr::lock::HoldList(context).unused()) return false;
  ScopedResource* hold = holds.data();
  for (const Wanted& one : wanted) {
    Grant grant;
    const bool had = (one.kind == HoldKind::Exclusive &&
                      FastPath::try_exclusive_beside(context, nullptr, one.handle, where,
                                                     grant.tenure) == FastPath::Outcome::Done) ||
                     try_one(domain, context, one, where, grant);
    if (!had) [[unlikely]] {
      for (ScopedResource& empty : holds) empty = ScopedResource();
      return false;
    }
    // Not assigned: there is nothing to let go of.
    std::construct_at(hold++,
                      ScopedResource(one.handle.with_tenure(grant.tenure), &context, one.kind));
  }
  return true;
}

Result<void> ResourceManager::acquire_all_into(std::span<ScopedResource> holds,
                                               std::span<const Wanted> wanted,
                                               const AcquireOptions& options,
                                               std::source_location where) {
  const bool fits = holds.size() == wanted.size() &&
                    std::ranges::none_of(holds, [](const auto& hold) { return bool(hold); });
  if (!fits) return fail(ErrorCode::InvalidArgument, "room for what is wanted");
  const bool plain = domain_ && !options.context && are_plain(options, options.kind);
  if (resmgr::lock::Context* const known = plain ? domain_->known_thread_context() : nullptr) {
    if (all_at_once(*domain_, *known, wanted, where, holds)) return {};
  }
  auto context = acquirer(options.context, ExecutorScope::inside());
  if (!context) return std::unexpected(std::move(context.error()));
  auto request = convert::request(options, where);
  if (!request) return std::unexpected(std::move(request.error()));
  return guard("acquire_all", [&]() -> Result<void> {
    auto acquired = domain_->acquire_all(**context, wanted, *request);
    if (!acquired) return std::unexpected(std::move(acquired.error()));
    std::ranges::transform(*acquired, holds.begin(), [](const resmgr::client::Acquired& one) {
      return ScopedResource(one.handle, one.context, one.kind);
    });
    return {};
  });
}

Result<std::vector<ScopedResource>> ResourceManager::acquire_all(std::span<const Wanted> wanted,
                                                                 const AcquireOptions& options,
                                                                 std::source_location where) {
  return guard("acquire_all", [&]() -> Result<std::vector<ScopedResource>> {
    Result<std::vector<ScopedResource>> holds(std::in_place, wanted.size());
    if (auto done = acquire_all_into(*holds, wanted, options, where); !done) {
      return std::unexpected(std::move(done.error()));
    }
    return holds;
  });
}

Result<std::vector<ScopedResource>> ResourceManager::acquire_all(std::span<const Handle> handles,
                                                                 const AcquireOptions& options,
                                                                 std::source_location where) {
  return guard("acquire_all", [&] {
    std::vector<Wanted> wanted;
    wanted.reserve(handles.size());
    for (const Handle handle : handles) wanted.emplace_back(handle, options.kind);
    return acquire_all(wanted, options, where);
  });
}

Result<std::vector<ScopedResource>> ResourceManager::acquire_aggregate(
    Handle aggregate, const AcquireOptions& options, std::source_location where) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (!convert::is_valid(options)) return fail(ErrorCode::InvalidArgument, "acquire options");
  const auto entry = domain_->view().read(aggregate);
  if (!entry) return std::unexpected(entry.error());
  if (!has(entry->flags, ResourceFlags::Aggregate)) {
    return fail(ErrorCode::InvalidArgument, "not an aggregate");
  }
  auto members = teardown_order(aggregate);
  if (!members) return std::unexpected(std::move(members.error()));
  return acquire_all(std::span<const Handle>(*members), options, where);
}

}  // namespace hal
