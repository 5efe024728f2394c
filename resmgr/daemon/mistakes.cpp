// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/mistakes.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

namespace resmgr::daemon {
namespace {

/// Texts longer than that are no misspelt key.
constexpr std::size_t kMostCompared = 64;

/// Letters to insert, delete or replace to make one text from the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string located(const Mistake& mistake, std::string_view file) {
  return std::string(file) + ":" + std::to_string(mistake.line) + ":" +
         std::to_string(mistake.column) + ": " + mistake.reason;
}

void Mistakes::add(Place place, std::string reason) {
  if (is_full()) return;
  std::ranges::replace_if(
      reason, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, '?');
  mistakes_.push_back({place.line, place.column, std::move(reason)});
}

std::vector<Mistake> Mistakes::in_order() && {
  std::ranges::sort(mistakes_, {},
                    [](const Mistake& m) { return std::tie(m.line, m.column, m.reason); });
  return std::move(mistakes_);
}

std::string did_you_mean(std::string_view text, std::span<const std::string_view> known) {
  if (text.size() > kMostCompared) return {};
  std::string_view nearest;
  std::size_t least = kMostCompared;
  for (const std::string_view word : known) {
    // With more than a third of the letters wrong it is another word.
    const std::size_t most = std::max<std::size_t>(1, std::max(text.size(), word.size()) / 3);
    const std::size_t apart = distance(text, word);
    if (apart <= most && apart < least) {
      least = apart;
      nearest = word;
    }
  }
  return nearest.empty() ? std::string() : "; did you mean '" + std::string(nearest) + "'?";
}

}  // namespace resmgr::daemon
