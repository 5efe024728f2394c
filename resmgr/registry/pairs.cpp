// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/pairs.hpp"

#include <cstddef>
#include <cstring>
#include <utility>

#include "resmgr/abi/names.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/registry/chains.hpp"
#include "resmgr/registry/entry.hpp"

namespace resmgr::registry {
namespace {

constexpr std::size_t kHeadOffset = offsetof(rm_entry, pairs_link);
constexpr std::size_t kNextOffset = offsetof(rm_pair, next_link);

template <std::size_t N>
std::string_view text_of(const char (&bytes)[N]) noexcept {
  return {bytes, ::strnlen(bytes, N)};
}

}  // namespace

Result<std::vector<PairCopy>> read_pairs(const Tables& tables, Handle handle) {
  std::vector<PairCopy> found;
  auto ok = read_chains(tables, [&] {
    found.clear();
    const Word* const entry = live_entry(tables, handle);
    if (entry == nullptr) return Walk::Stale;
    std::uint32_t budget = RM_MAX_PAIRS;
    const Walk walk = walk_chain(tables.pairs, load_field<std::uint32_t>(entry, kHeadOffset),
                                 kNextOffset, budget, [&](const Word* record) {
                                   const auto pair = load_record<rm_pair>(record);
                                   PairCopy& copy = found.emplace_back();
                                   copy_text(copy.key, text_of(pair.key));
                                   copy_text(copy.value, text_of(pair.value));
                                   return true;
                                 });
    return live_entry(tables, handle) == nullptr ? Walk::Stale : walk;
  });
  if (!ok) return std::unexpected(std::move(ok.error()));
  return found;
}

PairWriter::PairWriter(const Tables& tables) noexcept
    : tables_(tables), pool_(tables.pairs, tables.root->pairs, tables.root->chains_seq) {}

Result<void> PairWriter::check(std::span<const PairText> pairs) const noexcept {
  if (auto sound = check_pairs(pairs); !sound) return sound;
  if (pairs.size() > pool_.available()) {
    return table_full("table of metadata pairs", pairs.size(), pool_.available());
  }
  return {};
}

std::uint32_t PairWriter::write(std::span<const PairText> pairs) noexcept {
  std::uint32_t next = 0;
  for (std::size_t i = pairs.size(); i-- > 0;) {
    const std::uint32_t link = pool_.take();
    rm_pair record{};
    record.next_link = next;
    pairs[i].key.copy(record.key, kMaxKeyBytes);
    pairs[i].value.copy(record.value, kMaxValueBytes);
    store_record(tables_.pairs.find(link), record);
    next = link;
  }
  return next;
}

void PairWriter::drop_all(Word* entry) noexcept {
  pool_.give_back_chain(entry, kHeadOffset, kNextOffset);
}

void PairWriter::recover(const std::vector<bool>& live) {
  std::vector<bool> in_use(pool_.high_water());
  for (std::uint32_t slot = 0; slot < live.size(); ++slot) {
    if (live[slot]) pool_.mark_chain(tables_.entries.at(slot), kHeadOffset, kNextOffset, in_use);
  }
  pool_.reset(in_use);
}

}  // namespace resmgr::registry
