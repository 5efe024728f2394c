// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/lock_order.hpp"

#include <cstdio>
#include <new>
#include <string_view>
#include <utility>

namespace resmgr::lock {
namespace {

constexpr std::uint64_t key_of(std::uint16_t held, std::uint16_t acquired) noexcept {
  return std::uint64_t{1} << 32 | std::uint64_t{held} << 16 | acquired;
}

using PlaceText = std::array<char, RM_PLACE_BYTES>;

// "file:line", the file without its folders, cut to fit.
PlaceText place_text(const std::source_location& place) noexcept {
  const std::string_view file = place.file_name();
  const auto slash = file.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? file : file.substr(slash + 1);
  PlaceText text{};
  std::snprintf(text.data(), text.size(), "%.*s:%u", static_cast<int>(name.size()), name.data(),
                static_cast<unsigned>(place.line()));
  return text;
}

}  // namespace

Result<void> LockOrder::learn(Context& context, std::uint16_t class_id,
                              const std::source_location& place) noexcept try {
  std::uint64_t* row = row_of(class_id);
  if (!row || class_id == 0 || policy() == OrderPolicy::Off) return {};
  const HoldList holds(context);
  for (std::uint64_t used = holds.bitmap(); used != 0; used &= used - 1) {
    const std::uint16_t held = class_of(holds, used);
    if (held == class_id || held == 0 || held >= RM_MAX_CLASSES || test(row, held)) continue;
    Chain known;
    find_chain(class_id, held, known);
    if (known.count != 0) {
      rm_order_edge* record = edge(held, class_id);
      std::uint32_t unreported = 0;
      const bool first = !record || cas(record->reported, unreported, 1u);
      if (first) atomic(t_.region->order_inversions).fetch_add(1, std::memory_order_relaxed);
      const bool refuse = policy() == OrderPolicy::Refuse;
      if (first || refuse) {
        std::string text = describe(held, class_id, known.view(), place);
        if (first && !refuse) names_.report_order(text);
        if (refuse) {
          Error error(ErrorCode::OrderViolation);
          error.with_detail({.cycle = {}, .text = std::move(text)});
          return std::unexpected(std::move(error));
        }
      }
    }
    remember(held, class_id, place);
    atomic(row[held / 64]).fetch_or(std::uint64_t{1} << (held % 64), std::memory_order_release);
  }
  return {};
} catch (const std::bad_alloc&) {
  // Only a report's text allocates. Refused all the same; a warning is counted, and not told.
  if (policy() == OrderPolicy::Refuse) return std::unexpected(Error(ErrorCode::OrderViolation));
  return {};
}

// The known chain from -> ... -> to; empty if there is none. Backwards from `to`, breadth first: a
// class's row has those that were held before it.
void LockOrder::find_chain(std::uint16_t from, std::uint16_t to, Chain& chain) const noexcept {
  std::array<std::uint16_t, RM_MAX_CLASSES> next{};
  std::array<std::uint16_t, RM_MAX_CLASSES> found{};
  std::array<std::uint64_t, kWords> seen{};
  std::size_t count = 0;
  chain.count = 0;
  found[count++] = to;
  seen[to / 64] |= std::uint64_t{1} << (to % 64);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t* row = row_of(found[i]);
    for (std::uint32_t word = 0; word < kWords; ++word) {
      std::uint64_t fresh = load_acquire(row[word]) & ~seen[word];
      seen[word] |= fresh;
      for (; fresh != 0; fresh &= fresh - 1) {
        const auto before =
            static_cast<std::uint16_t>(word * 64 + static_cast<unsigned>(std::countr_zero(fresh)));
        next[before] = found[i];
        found[count++] = before;
        if (before != from) continue;
        chain.classes[chain.count++] = from;
        for (std::uint16_t at = from; at != to; at = next[at]) {
          chain.classes[chain.count++] = next[at];
        }
        return;
      }
    }
  }
}

// The record of an edge, made if it is new; null when the table is full.
rm_order_edge* LockOrder::edge(std::uint16_t held, std::uint16_t acquired) noexcept {
  const std::uint64_t key = key_of(held, acquired);
  // Fibonacci hashing: 2^64 divided by the golden ratio spreads neighbouring keys.
  const auto start = static_cast<std::uint32_t>(key * 0x9e3779b97f4a7c15u >> 52);
  static_assert(RM_ORDER_EDGES == 1u << 12, "the shift above keeps 12 bits");
  for (std::uint32_t i = 0; i < RM_ORDER_EDGES; ++i) {
    rm_order_edge& record = t_.order_edges[(start + i) % RM_ORDER_EDGES];
    std::uint64_t found = load(record.key);
    if (found == 0 && cas(record.key, found, key)) {
      atomic(t_.region->order_edges).fetch_add(1, std::memory_order_relaxed);
      return &record;
    }
    if (found == key) return &record;
  }
  return nullptr;
}

void LockOrder::remember(std::uint16_t held, std::uint16_t acquired,
                         const std::source_location& place) noexcept {
  rm_order_edge* record = edge(held, acquired);
  if (!record) return;
  std::uint32_t unwritten = 0;
  // 1: being written, 2: complete. A writer killed in between leaves a nameless place.
  if (!cas(record->ready, unwritten, 1u)) return;
  const PlaceText text = place_text(place);
  for (std::size_t i = 0; i < text.size(); ++i) store_relaxed(record->place[i], text[i]);
  store_release(record->ready, 2u);
}

std::string LockOrder::describe(std::uint16_t held, std::uint16_t acquired,
                                std::span<const std::uint16_t> known,
                                const std::source_location& place) {
  std::string text = "class " + names_.class_name(acquired) + " acquired at " +
                     place_text(place).data() + " while holding " + names_.class_name(held) +
                     "; known order:";
  for (std::size_t i = 0; i + 1 < known.size(); ++i) {
    std::string where = "an unknown place";
    const rm_order_edge* record = edge(known[i], known[i + 1]);
    if (record && load_acquire(record->ready) == 2) {
      where.clear();
      for (std::size_t c = 0; c < RM_PLACE_BYTES; ++c) {
        const char letter = load_relaxed(record->place[c]);
        if (letter == '\0') break;
        where.push_back(letter);
      }
    }
    text += (i == 0 ? " " : ", ") + names_.class_name(known[i + 1]) + " while holding " +
            names_.class_name(known[i]) + " at " + where;
  }
  return text;
}

}  // namespace resmgr::lock
