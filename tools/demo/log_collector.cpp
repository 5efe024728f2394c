// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/log_collector.hpp"

#include <string_view>

namespace demo {

hal::LogSink LogCollector::sink() const {
  return [state = state_](hal::LogLevel, std::string_view line) {
    const std::lock_guard lock(state->mutex);
    state->lines.emplace_back(line);
  };
}

std::vector<std::string> LogCollector::leaks() const { return select(true); }

std::vector<std::string> LogCollector::others() const { return select(false); }

std::vector<std::string> LogCollector::select(bool leaks) const {
  const std::lock_guard lock(state_->mutex);
  std::vector<std::string> selected;
  for (const std::string& line : state_->lines) {
    if (line.starts_with("leak:") == leaks) selected.push_back(line);
  }
  return selected;
}

}  // namespace demo
