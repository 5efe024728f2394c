// SPDX-License-Identifier: Apache-2.0
//
// Outbox: where goes what is told unasked.
//
// What it is: how the clerk's parts reach clients and the operator. What it is not: a queue: who
// can't be told now is not told later. Lifetime: set before it is used, and taken back before it
// goes. Thread-safety: one thread.
//
//   outbox.for_each_listener([&](const Client& client) { listeners.push_back(client.index); });
//   outbox.post(listeners[0], event);
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace resmgr::daemon {

struct Client;

class Outbox {
 public:
  virtual ~Outbox() = default;
  /// An event for the client of that place. False: it is not connected, reads no events, or takes
  /// none at the moment.
  virtual bool post(std::uint32_t client, std::span<const std::byte> event) = 0;
  /// Those who want to hear what becomes of resources whose owner died.
  virtual void for_each_listener(const std::function<void(const Client&)>& visit) = 0;
  /// For the operator.
  virtual void warn(const std::string& line) noexcept = 0;
};

}  // namespace resmgr::daemon
