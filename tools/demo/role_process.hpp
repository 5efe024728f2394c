// SPDX-License-Identifier: Apache-2.0
//
// RoleProcess: this program once more, in another process, as one of the drivers.
//
// What it is: started with the coordinator's options and the role's name, a line to it, and the
// limits of patience. Lifetime: kills what still runs. Thread-safety: one thread.
//
//   auto dma = RoleProcess::start(Role::Dma, options, daemon.socket());
//   auto ready = dma->hear<Ready>();
//   if (auto trouble = dma->stop()) complain(*trouble);
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tools/demo/child_process.hpp"
#include "tools/demo/control_line.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/options.hpp"

namespace demo {

class RoleProcess {
 public:
  [[nodiscard]] static Outcome<RoleProcess> start(Role role, const Options& options,
                                                  const std::string& socket);

  [[nodiscard]] ChildProcess& process() noexcept { return process_; }
  [[nodiscard]] const ChildProcess& process() const noexcept { return process_; }
  [[nodiscard]] ControlLine& line() noexcept { return line_; }
  template <typename Message>
  Outcome<void> tell(const Message& message) {
    return name(line_.send(message));
  }
  /// An answer, which is due at once.
  template <typename Message>
  [[nodiscard]] Outcome<std::unique_ptr<Message>> hear() {
    return name(line_.receive<Message>(kPatience));
  }
  /// Has it end. Returns what is wrong with how it did, as one line.
  [[nodiscard]] std::optional<std::string> stop();

  static constexpr std::chrono::seconds kPatience{10};

 private:
  RoleProcess(Role role, ChildProcess process, ControlLine line) noexcept
      : role_(role), process_(std::move(process)), line_(std::move(line)) {}
  /// With the role in front of a failure.
  template <typename T>
  Outcome<T> name(Outcome<T> outcome) const {
    if (!outcome) return failed(role_name(role_), outcome.error().text);
    return outcome;
  }

  Role role_;
  ChildProcess process_;
  ControlLine line_;
};

}  // namespace demo
