// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "hal/src/queue_ring.hpp"

#include "resmgr/base/atomic.hpp"

namespace hal::ring {
namespace {

// Lost races before a push gives up: memory that changes under it must not hold it for ever. On top
// of them comes a full round of retired slots.
constexpr std::uint64_t kClaimAttempts = 1000;

}  // namespace

void MpscRing::move_tail(std::uint64_t from) noexcept {
  // Fails when another one did it already.
  static_cast<void>(resmgr::cas(view_.control().tail, from, from + 1));
}

Outcome MpscRing::claim(Claim& claim) noexcept {
  const Control& control = view_.control();
  const std::uint64_t attempts = kClaimAttempts + view_.geometry.capacity;
  for (std::uint64_t attempt = 0; attempt < attempts; ++attempt) {
    const std::uint64_t tail = resmgr::load_acquire(control.tail);
    // Acquire: a Free of this lap says that the consumer has finished reading the slot.
    std::uint64_t seen = resmgr::load_acquire(word(tail));
    const std::uint64_t now = lap(tail);
    // NOLINTNEXTLINE(bugprone-branch-clone): for another reason than below
    if (slot_state(seen) == SlotState::Retired) {
      move_tail(tail);
    } else if (seen == slot_word(now, SlotState::Free)) {
      const std::uint64_t mine = slot_word(now, SlotState::Claimed, self_);
      if (resmgr::cas(word(tail), seen, mine)) {
        move_tail(tail);
        claim = {.position = tail, .word = mine};
        return Outcome::Done;
      }
    } else if (slot_lap(seen) == ((now - 1) & kLapMask) && slot_state(seen) != SlotState::Free) {
      return Outcome::Blocked;  // the message of the lap before is still there
    } else if (slot_lap(seen) == now || slot_lap(seen) == ((now + 1) & kLapMask)) {
      // Claimed, or even consumed, by the time we look: its claimant may have died before he moved
      // the tail.
      move_tail(tail);
    } else if (resmgr::load_acquire(control.tail) == tail) {
      return Outcome::Damaged;
    }
  }
  return Outcome::Blocked;
}

Outcome MpscRing::push(std::span<const std::byte> message) noexcept {
  Claim claimed{};
  if (const Outcome outcome = claim(claimed); outcome != Outcome::Done) return outcome;
  std::memcpy(payload(claimed.position), message.data(), message.size());
  // A compare-and-swap, for the consumer may have skipped us.
  const std::uint64_t ready = slot_word(slot_lap(claimed.word), SlotState::Ready);
  return resmgr::cas(word(claimed.position), claimed.word, ready) ? Outcome::Done
                                                                  : Outcome::Skipped;
}

MpscRing::Next MpscRing::next() noexcept {
  Control& control = view_.control();
  std::uint64_t head = resmgr::load_relaxed(control.head);
  // Each turn passes one slot that has nothing for us; no run of the protocol leaves more of them
  // in a row than there are slots.
  for (std::uint32_t turn = 0; turn <= view_.geometry.capacity; ++turn) {
    // Acquire: a Ready of this lap says that its message is complete.
    const std::uint64_t seen = resmgr::load_acquire(word(head));
    if (slot_state(seen) != SlotState::Retired) {
      if (slot_lap(seen) == lap(head)) {
        return {.position = head, .word = seen, .outcome = Outcome::Done};
      }
      if (slot_lap(seen) != lap(head + view_.geometry.capacity)) {
        return {.position = head, .word = seen, .outcome = Outcome::Damaged};
      }
    }
    // Retired, or consumed by a predecessor who was killed before he moved the head. The head may
    // get ahead of the tail here: only slots of the lap tell what there is.
    resmgr::store_release(control.head, ++head);
  }
  return {.position = head, .word = 0, .outcome = Outcome::Blocked};
}

Outcome MpscRing::pop(std::span<std::byte> message) noexcept {
  const Next found = next();
  if (found.outcome != Outcome::Done) return found.outcome;
  if (slot_state(found.word) != SlotState::Ready) return Outcome::Blocked;
  std::memcpy(message.data(), payload(found.position), message.size());
  // Release: our reads are over before a producer claims the slot for the next lap. No producer
  // changes a Ready word, so this needs no compare-and-swap.
  resmgr::store_release(word(found.position), slot_word(slot_lap(found.word) + 1, SlotState::Free));
  resmgr::store_release(view_.control().head, found.position + 1);
  return Outcome::Done;
}

bool MpscRing::has_message() noexcept {
  const Next found = next();
  return found.outcome == Outcome::Damaged ||
         (found.outcome == Outcome::Done && slot_state(found.word) == SlotState::Ready);
}

std::optional<StalledSlot> MpscRing::stalled() noexcept {
  const Next found = next();
  if (found.outcome != Outcome::Done || slot_state(found.word) != SlotState::Claimed) return {};
  return StalledSlot{.position = found.position, .producer_pid = slot_claimant(found.word)};
}

bool MpscRing::skip(const StalledSlot& stalled, StalledProducer producer) noexcept {
  const Next found = next();
  std::uint64_t claimed =
      slot_word(lap(stalled.position), SlotState::Claimed, stalled.producer_pid);
  if (found.outcome != Outcome::Done || found.position != stalled.position ||
      found.word != claimed) {
    return false;
  }
  const std::uint64_t given_up =
      producer == StalledProducer::Dead
          ? slot_word(slot_lap(claimed) + 1, SlotState::Free)
          : slot_word(slot_lap(claimed), SlotState::Retired, stalled.producer_pid);
  if (!resmgr::cas(word(stalled.position), claimed, given_up)) return false;
  resmgr::store_release(view_.control().head, stalled.position + 1);
  return true;
}

}  // namespace hal::ring
