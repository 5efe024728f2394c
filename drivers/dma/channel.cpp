// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/channel.hpp"

#include <utility>

namespace drivers::dma {

Channel::~Channel() = default;

hal::Result<Ticket> Channel::run(std::span<const Descriptor> batch, Clock::time_point deadline) {
  auto ticket = submit(batch);
  return ticket ? finish(*std::move(ticket), deadline) : std::move(ticket);
}

hal::Result<Ticket> Channel::finish(Ticket ticket, Clock::time_point deadline) {
  auto ended = wait(ticket, deadline);
  if (!ended && !ticket.finished()) {
    static_cast<void>(cancel(ticket));
    // What runs stops at its next chunk.
    static_cast<void>(wait(ticket, kForever));
  }
  if (!ended) return std::unexpected(std::move(ended.error()));
  return ticket;
}

}  // namespace drivers::dma
