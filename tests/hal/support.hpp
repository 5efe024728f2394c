// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the public interface share: a manager with a log that can be read.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <hal/resource_manager.hpp>

namespace hal::test {

/// Lines the manager reported, from any thread.
class Log {
 public:
  [[nodiscard]] LogSink sink() {
    return [state = state_](LogLevel, std::string_view line) {
      const std::lock_guard lock(state->mutex);
      state->lines.emplace_back(line);
    };
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    const std::lock_guard lock(state_->mutex);
    return state_->lines;
  }
  [[nodiscard]] std::size_t count(std::string_view part) const {
    std::size_t found = 0;
    for (const std::string& line : lines()) found += line.find(part) != std::string::npos;
    return found;
  }

 private:
  struct State {
    std::mutex mutex;
    std::vector<std::string> lines;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class ManagerTest : public ::testing::Test {
 protected:
  void SetUp() override { restart({}); }

  /// A new manager; the log goes to log_ whatever the options say.
  void restart(ManagerOptions options) {
    options.log = log_.sink();
    auto made = ResourceManager::create(std::move(options));
    ASSERT_TRUE(made) << made.error().message();
    manager_ = std::move(*made);
  }

  [[nodiscard]] Handle add(std::string_view name, const ResourceMetadata& metadata = {}) {
    auto handle = manager_->register_resource(name, metadata);
    EXPECT_TRUE(handle) << handle.error().message();
    return handle.value_or(Handle());
  }

  Log log_;
  std::unique_ptr<ResourceManager> manager_;
};

/// The code of a result that must have failed; ErrorCode{} if it did not.
template <typename T>
[[nodiscard]] ErrorCode code_of(const Result<T>& result) {
  return result ? ErrorCode{} : result.error().code();
}

}  // namespace hal::test
