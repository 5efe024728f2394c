// SPDX-License-Identifier: Apache-2.0
//
// Examination: what the doctor's checks have in common.
//
// What it is: a look with what the checks ask of it (who lives, what is named how), the evidence
// that they collect, and the list that they add to. What it is not: a check; those are functions in
// doctor_*.cpp, all listed below. Lifetime: borrows the look. Thread-safety: one thread.
//
//   Examination examination(look);
//   for (const Check check : kChecks) check(examination);
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/hash.hpp"
#include "resmgr/lock/tables.hpp"
#include "resmgr/lock/word.hpp"
#include "resmgr/registry/view.hpp"
#include "tools/resmgrctl/doctor.hpp"
#include "tools/resmgrctl/look.hpp"
#include "tools/resmgrctl/walks.hpp"

namespace resmgrctl {

/// Next steps that several checks have.
inline constexpr const char* kRecover =
    "resmgrd recovers what the dead leave: see its log; if this stays, restart it "
    "(systemctl restart resmgrd)";
inline constexpr const char* kReport =
    "this can't come about by itself: keep 'resmgrctl snapshot FILE' for a report, then "
    "unregister the resource and register it again";

/// All that a check looked at. While none of it changed, nothing happened there.
class Evidence {
 public:
  /// A record of the look, whole.
  template <typename T>
  Evidence& add(const T& record) noexcept {
    const std::string_view bytes(reinterpret_cast<const char*>(&record), sizeof(record));
    value_ = resmgr::hash_bytes(bytes, value_);
    return *this;
  }
  /// The line of a context that others read; holds move elsewhere in it.
  Evidence& add_context(const rm_context* context) noexcept {
    if (context == nullptr) return *this;
    const std::string_view line(reinterpret_cast<const char*>(context),
                                offsetof(rm_context, hold_bitmap));
    value_ = resmgr::hash_bytes(line, value_);
    return *this;
  }
  Evidence& add_words(std::span<const std::uint64_t> words) noexcept {
    const std::string_view bytes(reinterpret_cast<const char*>(words.data()), words.size_bytes());
    value_ = resmgr::hash_bytes(bytes, value_);
    return *this;
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 1;
};

class Examination {
 public:
  enum class Life : std::uint8_t { Nobody, Free, Live, Dead };

  explicit Examination(const Look& look)
      : look_(look), t_(look.locks.tables()), view_(look.registry), budget_(walk_budget(t_)) {}

  [[nodiscard]] const Look& look() const noexcept { return look_; }
  [[nodiscard]] const resmgr::lock::LockTables& tables() const noexcept { return t_; }
  [[nodiscard]] const resmgr::registry::RegistryView& view() const noexcept { return view_; }
  [[nodiscard]] const resmgr::registry::Tables& registry() const noexcept {
    return look_.registry.tables();
  }
  [[nodiscard]] std::uint64_t& budget() noexcept { return budget_; }
  /// Slots of both regions that were ever used are below this.
  [[nodiscard]] std::uint32_t slot_end() const noexcept {
    return std::min(view_.slot_end(), t_.slot_count);
  }

  [[nodiscard]] Life life(std::uint32_t context) const noexcept {
    const rm_context* const record = t_.context(context);
    return record == nullptr ? Life::Nobody : life_of(resmgr::load(record->state));
  }
  [[nodiscard]] static Life life_of(std::uint64_t state) noexcept {
    switch (state & RM_CONTEXT_STATE_MASK) {
      case RM_CONTEXT_LIVE:
        return Life::Live;
      case RM_CONTEXT_DEAD:
        return Life::Dead;
      default:
        return Life::Free;
    }
  }
  /// Nobody works on the slot: what its latch holder does in several steps is done.
  [[nodiscard]] static bool is_settled(const rm_slot& slot) noexcept {
    return resmgr::lock::StateWord{resmgr::load(slot.word)}.latch() == 0 &&
           (resmgr::load(slot.queue_seq) & 1u) == 0;
  }

  /// "gpu0/frame/3", or "slot 7" of what has no name.
  [[nodiscard]] std::string name(std::uint32_t slot) const;
  /// "dma-edu (pid 812, context 3)".
  [[nodiscard]] std::string who(std::uint32_t context) const;

  void add(Finding finding, const Evidence& evidence) {
    finding.evidence = evidence.value();
    findings_.push_back(std::move(finding));
  }
  [[nodiscard]] std::vector<Finding> take() && { return std::move(findings_); }

 private:
  const Look& look_;
  const resmgr::lock::LockTables& t_;
  resmgr::registry::RegistryView view_;
  std::uint64_t budget_;
  std::vector<Finding> findings_;
};

// ---- the checks, in the order in which their findings are shown
// -----------------------------------

void check_entries(Examination& examination);  // doctor_registry.cpp
void check_index(Examination& examination);    // doctor_registry.cpp
void check_words(Examination& examination);    // doctor_words.cpp
void check_queues(Examination& examination);   // doctor_queues.cpp
void check_cells(Examination& examination);    // doctor_cells.cpp
void check_clients(Examination& examination);  // doctor_clients.cpp
void check_cycles(Examination& examination);   // doctor_cycles.cpp

using Check = void (*)(Examination&);
inline constexpr std::array<Check, 7> kChecks{check_entries, check_index, check_words,
                                              check_queues,  check_cells, check_clients,
                                              check_cycles};

}  // namespace resmgrctl
