// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/ticket.hpp"

#include "drivers/dma/batch.hpp"

namespace drivers::dma {

std::size_t Ticket::size() const noexcept { return batch_ ? batch_->size() : 0; }

bool Ticket::finished() const noexcept { return !batch_ || batch_->finished(); }

hal::Result<Outcome> Ticket::outcome(std::size_t index) const noexcept {
  if (index >= size()) return fail(hal::ErrorCode::InvalidArgument, "Ticket::outcome");
  return batch_->outcome(index);
}

hal::Result<void> Ticket::result() const {
  if (!batch_) return fail(hal::ErrorCode::InvalidArgument, "an empty ticket has no result");
  return batch_->result();
}

}  // namespace drivers::dma
