// SPDX-License-Identifier: Apache-2.0
//
// Ticket: names one submitted batch, keeps its outcomes, and can be asked for them at any time.
//
// What it is: a small copyable reference. Outcomes live as long as a ticket to them does: nothing
// is overwritten by later work, and nothing needs to be collected. What it is not: an owner of the
// work; dropping all tickets lets the work go on.
//
// Lifetime: may outlive its channel; work that a closing channel did not do is Cancelled.
// Thread-safety: as std::shared_ptr; all const functions may be called from any thread.
//
//   Ticket ticket = channel.submit(batch).value();
//   if (ticket.finished()) use(ticket.outcome(0)->crc32c);
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include <hal/resource.hpp>

#include "drivers/dma/descriptor.hpp"

namespace drivers::dma {

class Batch;

class Ticket {
 public:
  /// Names nothing.
  Ticket() noexcept = default;
  /// For backends.
  explicit Ticket(std::shared_ptr<Batch> batch) noexcept : batch_(std::move(batch)) {}

  [[nodiscard]] explicit operator bool() const noexcept { return batch_ != nullptr; }
  /// Descriptors in the batch; 0 if the ticket is empty.
  [[nodiscard]] std::size_t size() const noexcept;
  /// Whether every outcome is final. An empty ticket has nothing to wait for: true.
  [[nodiscard]] bool finished() const noexcept;
  /// What became of descriptor `index` so far. Errors: InvalidArgument (empty ticket, index out of
  /// range).
  [[nodiscard]] hal::Result<Outcome> outcome(std::size_t index) const noexcept;
  /// The batch as a whole: success if all of it is Done. Errors: WouldBlock (not finished yet),
  /// InvalidArgument (empty ticket), else the error of the first descriptor that is not Done, with
  /// its number in detail(): Cancelled, or what the engine reported.
  [[nodiscard]] hal::Result<void> result() const;

  /// For backends. Null if empty.
  [[nodiscard]] const std::shared_ptr<Batch>& batch() const noexcept { return batch_; }

 private:
  std::shared_ptr<Batch> batch_;
};

/// Told once that a batch is finished. It can't throw, as its type says; where it runs stands with
/// Channel::submit().
using Callback = std::move_only_function<void(const Ticket&) noexcept>;

}  // namespace drivers::dma
