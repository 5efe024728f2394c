// SPDX-License-Identifier: Apache-2.0
//
// The words in which resmgrctl shows values to people.
//
// What it is: times, sizes, modes, rights and who somebody is, as short texts; and a table with
// aligned columns. Texts that come from a domain are shown without control characters. What it is
// not: JSON, see json.hpp. Lifetime and thread-safety: pure functions.
//
//   Table table({"NAME", "STATE"});
//   table.add({"gpu0/frame/3", "locked"});
//   fmt::print("{}", table.text());
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/base/types.hpp"
#include "tools/resmgrctl/picture.hpp"

namespace resmgrctl {

[[nodiscard]] std::string time_text(std::uint64_t ns);     ///< "3.1 ms"
[[nodiscard]] std::string size_text(std::uint64_t bytes);  ///< "4.0 KiB"
/// Bytes of memory as a size, of other types a number; "-" where it is unlimited.
[[nodiscard]] std::string amount_text(resmgr::ResourceType type, std::uint64_t amount);
[[nodiscard]] std::string hex(std::uint64_t bits);  ///< "0x0000000700000100"
/// Without control characters and what is not ASCII, each of which becomes '?'.
[[nodiscard]] std::string printable(std::string_view text);
[[nodiscard]] std::string_view mode_text(std::uint8_t mode);  ///< of enum rm_wait_mode
[[nodiscard]] std::string_view kind_text(resmgr::HoldKind kind);
[[nodiscard]] std::string_view process_text(Process process);
[[nodiscard]] std::string priority_text(std::uint16_t priority);  ///< as a node has it
[[nodiscard]] std::vector<std::string> rights_names(resmgr::Rights rights);
[[nodiscard]] std::vector<std::string> flag_names(resmgr::ResourceFlags flags);
[[nodiscard]] std::string joined(const std::vector<std::string>& texts, std::string_view between);
/// "dma-edu (pid 812, context 3)".
[[nodiscard]] std::string who_text(const Who& who);

class Table {
 public:
  explicit Table(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] bool is_empty() const noexcept { return rows_.size() == 1; }
  /// Lines, each with its end.
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace resmgrctl
