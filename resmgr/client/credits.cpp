// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/credits.hpp"

#include <algorithm>

namespace resmgr::client {
namespace {

/// So much more than is needed is asked for, where there is plenty.
constexpr std::uint64_t kInAdvance = 16;

}  // namespace

Result<std::uint32_t> Credits::charge(std::uint32_t driver, ResourceType type, std::uint64_t amount,
                                      Urgency urgency) {
  if (column(type) >= RM_RESOURCE_TYPES || driver >= tables_.drivers) {
    return fail(ErrorCode::InvalidArgument, "no such driver or type");
  }
  const std::lock_guard lock(asking_);
  for (;;) {
    // Others may have drawn meanwhile, or given something back.
    const auto known = accounts_.find(driver);
    if (known != accounts_.end() && try_charge(known->second, type, amount)) return known->second;
    const std::uint64_t idle = known == accounts_.end() ? 0 : idle_in(known->second, type);
    const std::uint64_t short_of = amount - std::min(amount, idle);
    const bool ahead = urgency == Urgency::Normal && amount <= kUnlimited / kInAdvance;
    auto drawn =
        authority_.draw(driver, type, short_of,
                        ahead ? std::max(short_of, amount * kInAdvance) : short_of, urgency);
    if (!drawn) {
      Error& error = drawn.error();
      if (error == ErrorCode::BudgetExceeded) {
        error.with_amounts(amount, error.available() + std::min(idle, amount));
      }
      return std::unexpected(std::move(error));
    }
    if (drawn->account >= std::min(tables_.account_count, locks_.credit_count)) {
      return fail(ErrorCode::InvalidArgument, "an account that there is not");
    }
    if (known == accounts_.end()) {
      // What was charged of it was another client's.
      for (std::uint64_t& each : locks_.credits[drawn->account].used) store_relaxed(each, 0);
      accounts_.emplace(driver, drawn->account);
    }
  }
}

std::uint64_t Credits::idle_in(std::uint32_t account, ResourceType type) noexcept {
  const std::uint64_t charged = load_relaxed(used(account, type));
  const std::uint64_t limit = load_relaxed(granted(account, type));
  return charged < limit ? limit - charged : 0;
}

std::uint64_t Credits::return_idle(ResourceType type) {
  const std::lock_guard lock(asking_);
  std::uint64_t sum = 0;
  for (const auto& [driver, account] : accounts_) {
    // Charged first, so that nobody else does.
    const std::uint64_t idle =
        budget::charge_up_to(used(account, type), granted(account, type), kUnlimited);
    if (idle == 0) continue;
    const std::uint64_t before = load_relaxed(granted(account, type));
    if (authority_.return_credits(account, type, before - idle)) sum += idle;
    budget::give_back(used(account, type), idle);
  }
  return sum;
}

}  // namespace resmgr::client
