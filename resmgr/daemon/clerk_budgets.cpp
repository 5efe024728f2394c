// SPDX-License-Identifier: Apache-2.0
//
// What clients ask for of budgets.
#include <string>
#include <utility>

#include "resmgr/abi/budget_requests.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/daemon/clerk.hpp"

namespace resmgr::daemon {

Result<void> Clerk::check_urgency(const Role& role, Urgency urgency) {
  if (urgency == Urgency::Emergency && !role.policy.may_use_emergency()) {
    return fail(ErrorCode::NotPermitted, "the driver may not overdraw in an emergency");
  }
  return {};
}

Result<Role*> Clerk::role_for(Client& client, std::uint32_t driver) {
  if (Role* const role = client.role(driver)) return role;
  if (driver != 0) return fail(ErrorCode::NotPermitted, "another client's driver");
  return take_role(client, {});
}

Result<Clerk::Reply> Clerk::draw(Client& client, const wire::Frame& frame) {
  const auto request = wire::DrawRequest::decode(frame);
  if (!request) return std::unexpected(request.error());
  const auto role = role_for(client, request->driver_id);
  if (!role) return std::unexpected(role.error());
  if (auto allowed = check_urgency(**role, request->urgency); !allowed) {
    tell(AuditEvent::Refused, client, {}, allowed.error().message());
    return std::unexpected(std::move(allowed.error()));
  }
  const auto drawn = treasury_.book().draw(client.index, request->driver_id, request->type,
                                           request->least, request->most, request->urgency);
  if (!drawn) return std::unexpected(drawn.error());
  return Reply{.value = {drawn->account, drawn->amount}};
}

Result<Clerk::Reply> Clerk::return_credits(const Client& client, const wire::Frame& frame) {
  const auto request = wire::ReturnCreditsRequest::decode(frame);
  if (!request) return std::unexpected(request.error());
  if (auto done = treasury_.book().return_credits(client.index, request->account, request->type,
                                                  request->kept);
      !done) {
    return std::unexpected(std::move(done.error()));
  }
  return Reply{};
}

Result<Clerk::Reply> Clerk::need(Client& client, const wire::Frame& frame) {
  const auto request = wire::NeedRequest::decode(frame);
  if (!request) return std::unexpected(request.error());
  if (auto role = role_for(client, request->driver_id); !role) {
    return std::unexpected(std::move(role.error()));
  }
  treasury_.need(request->type, request->amount, monotonic_ns());
  return Reply{};
}

Result<Clerk::Reply> Clerk::set_budget(const Client& client, const wire::Frame& frame) {
  const auto request = wire::SetBudgetRequest::decode(frame);
  if (!request) return std::unexpected(request.error());
  std::string driver(request->driver);
  if (request->driver_id != 0) {
    if (const auto name = state_.view().drivers().name(request->driver_id)) driver = name->data();
  }
  const std::string what = "set the budget of " + std::string(to_string(request->type)) + " to " +
                           std::to_string(request->budget.max);
  return perform(client, {.what = what, .driver = driver}, [&]() -> Result<Reply> {
    std::uint32_t number = request->driver_id;
    if (!request->driver.empty()) {
      // One that has not come yet will find it.
      auto interned = state_.writer().drivers().intern(request->driver);
      if (!interned) return std::unexpected(std::move(interned.error()));
      number = *interned;
      treasury_.driver_came(number);
    }
    auto done = treasury_.book().set(number, request->type, request->budget, true);
    if (!done) return std::unexpected(std::move(done.error()));
    return Reply{};
  });
}

}  // namespace resmgr::daemon
