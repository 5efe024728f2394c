// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/treasury.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "resmgr/abi/budget_requests.hpp"
#include "resmgr/base/atomic.hpp"
#include "resmgr/base/clock.hpp"

namespace resmgr::daemon {

Treasury::Treasury(DomainState& state) : state_(state), watch_(state.book().tables()) {
  book().on_overdraft([this](const budget::Overdraft& overdraft) { record(overdraft); });
  book().on_change([this](std::uint32_t driver, ResourceType type) {
    watch_.look(driver, type, Clock::coarse());
  });
  watch_.on_change([this](const budget::PressureWatch::Change& change) { tell_pressure(change); });
}

Treasury::~Treasury() {
  book().on_overdraft({});
  book().on_change({});
}

void Treasury::set_policy(std::shared_ptr<const Policy> policy) {
  const std::shared_ptr<const Policy> before = std::exchange(policy_, std::move(policy));
  const std::uint32_t drivers = load_acquire(state_.registry().tables().root->driver_count);
  for (std::uint32_t driver = 0; driver < drivers; ++driver) apply(driver, before.get());
}

void Treasury::driver_came(std::uint32_t driver) {
  if (driver != 0) apply(driver, policy_.get());
}

void Treasury::apply(std::uint32_t driver, const Policy* before) {
  if (!policy_) return;
  const std::string name = name_of(driver);
  if (name.empty() && driver != 0) return;
  for (unsigned column = 0; column < kResourceTypes; ++column) {
    const auto type = static_cast<ResourceType>(column);
    const rm_budget* const row = book().tables().row(driver, type);
    if (row == nullptr) return;
    const ResourceBudget budget = policy_->budget(name, type);
    const bool by_operator = (load_relaxed(row->flags) & RM_BUDGET_CHANGED) != 0;
    if (by_operator && (before == nullptr || before->budget(name, type) == budget)) continue;
    if (budget::read_usage(*row).budget == budget) continue;
    (void)book().set(driver, type, budget);
  }
}

std::string Treasury::name_of(std::uint32_t driver) const {
  const auto name = state_.view().drivers().name(driver);
  return name ? std::string(name->data()) : std::string();
}

void Treasury::need(ResourceType type, std::uint64_t amount, std::uint64_t now_ns) {
  constexpr std::uint64_t kPauseNs = 5'000'000;
  book().expect_return(type);
  Asked& last = asked_.at(static_cast<std::size_t>(type));
  if (!outbox_ || (amount <= last.amount && now_ns - last.at_ns < kPauseNs)) return;
  last = {.amount = amount, .at_ns = now_ns};
  post_to_all(wire::ReclaimEvent{.type = type, .amount = amount});
}

void Treasury::tell_pressure(const budget::PressureWatch::Change& change) {
  pressed_ = true;
  if (!outbox_) return;
  post_to_all(wire::PressureEvent{.driver_id = change.driver,
                                  .type = change.type,
                                  .level = change.level,
                                  .before = change.before});
}

template <typename Event>
void Treasury::post_to_all(const Event& event) {
  constexpr std::size_t kMost = std::max(sizeof(rm_wire_reclaim), sizeof(rm_wire_pressure));
  std::array<std::byte, sizeof(rm_frame_header) + kMost> frame{};
  const auto bytes = wire::encode(event, frame);
  if (!bytes) return;
  const std::uint32_t clients = state_.locks().tables().client_count;
  for (std::uint32_t client = 1; client < clients; ++client) {
    (void)outbox_->post(client, std::span(frame).first(*bytes));
  }
}

void Treasury::record(const budget::Overdraft& overdraft) const noexcept try {
  if (!audit_) return;
  const std::string driver = name_of(overdraft.driver);
  std::string detail(to_string(overdraft.type));
  detail += ": " + std::to_string(overdraft.amount) + " charged, " +
            std::to_string(overdraft.reserved) + " of it from the reserve, " +
            std::to_string(overdraft.beyond) + " above the maximum";
  audit_->record({.event = AuditEvent::Overdrawn, .driver = driver, .detail = detail});
} catch (const std::bad_alloc&) {
  // The book counts it all the same.
}

}  // namespace resmgr::daemon
