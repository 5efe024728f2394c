// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/acquire_all.hpp"

#include <algorithm>
#include <atomic>
#include <compare>
#include <cstdint>
#include <utility>

namespace resmgr::client {

Result<AcquireAll> AcquireAll::make(lock::LockEngine& engine, const registry::RegistryView& view,
                                    lock::Context& context, std::span<const Wanted> wanted,
                                    const lock::Request& request) {
  struct Ranked {
    std::uint16_t class_id = 0;
    Handle handle;
    HoldKind kind = HoldKind::Exclusive;
    auto operator<=>(const Ranked&) const = default;
  };
  std::vector<Ranked> sorted;
  sorted.reserve(wanted.size());
  for (const Wanted& one : wanted) {
    if (one.kind > HoldKind::Shared) return fail(ErrorCode::InvalidArgument, "kind of hold");
    const auto entry = view.read(one.handle);  // what is stale is refused in its turn
    sorted.push_back({entry ? entry->class_id : std::uint16_t{0}, one.handle, one.kind});
  }
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted, {}, &Ranked::handle) != sorted.end()) {
    return fail(ErrorCode::InvalidArgument, "a resource twice");
  }
  AcquireAll all(context, request);
  if (request.mode != AcquisitionMode::NonBlocking) {
    // Once, while nothing of the set is held.
    for (const Ranked& one : sorted) {
      auto known = engine.order().learn(context, one.class_id, request.place);
      if (!known) return std::unexpected(std::move(known.error()));
    }
    all.request_.orderless = true;
    all.request_.ticket = engine.take_ticket();
  }
  all.wanted_.reserve(sorted.size());
  for (const Ranked& one : sorted) all.wanted_.emplace_back(one.handle, one.kind);
  all.acquired_.reserve(sorted.size());
  return all;
}

lock::Request AcquireAll::request() const noexcept {
  lock::Request request = request_;
  request.kind = next()->kind;
  return request;
}

void AcquireAll::granted(const lock::Grant& grant) noexcept {
  const Wanted& had = *next();
  acquired_.push_back({had.handle.with_tenure(grant.tenure), context_, had.kind});
}

Result<void> AcquireAll::refused(Error error) noexcept {
  const bool in_a_cycle = error == ErrorCode::Deadlock || error == ErrorCode::Preempted;
  const bool retreats = in_a_cycle && !acquired_.empty();
  const auto in_the_way = static_cast<std::ptrdiff_t>(acquired_.size());
  let_go();
  if (!retreats) return std::unexpected(std::move(error));
  const auto first = wanted_.begin();
  std::rotate(first, first + in_the_way, first + in_the_way + 1);
  return {};
}

// The last first, as scopes do it. Of a context that was closed meanwhile nothing is left to let go
// of.
void AcquireAll::let_go() noexcept {
  lock::LockEngine* const engine = context_->engine.load(std::memory_order_acquire);
  for (; !acquired_.empty(); acquired_.pop_back()) {
    const Acquired& last = acquired_.back();
    if (engine) (void)engine->release(*context_, last.handle, last.kind);
  }
}

std::vector<Acquired> AcquireAll::take() noexcept { return std::exchange(acquired_, {}); }

}  // namespace resmgr::client
