// SPDX-License-Identifier: Apache-2.0
//
// LogCollector: keeps what managers report, for the end of the run.
//
// What it is: a sink for any number of managers, and their lines. What it is not: a printer; a
// report that the user has to see is shown with the results. Lifetime: sinks keep what they write
// to alive; the lines are complete once the managers are gone. Thread-safety: all functions may be
// called from any thread.
//
//   hal::ResourceManager::create({.log = collector.sink()});
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <hal/resource_manager.hpp>

namespace demo {

class LogCollector {
 public:
  [[nodiscard]] hal::LogSink sink() const;
  /// Reports of holds that were left behind.
  [[nodiscard]] std::vector<std::string> leaks() const;
  /// All other reports.
  [[nodiscard]] std::vector<std::string> others() const;

 private:
  struct State {
    mutable std::mutex mutex;  // for what follows
    std::vector<std::string> lines;
  };
  [[nodiscard]] std::vector<std::string> select(bool leaks) const;

  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace demo
