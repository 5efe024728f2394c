// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/role_process.hpp"

#include "tools/demo/served_messages.hpp"

namespace demo {

Outcome<RoleProcess> RoleProcess::start(Role role, const Options& options,
                                        const std::string& socket) {
  auto line = ControlLine::pair();
  if (!line) return std::unexpected(std::move(line.error()));
  auto words = words_for_role(options, {.role = role, .socket = socket});
  words.insert(words.begin(), "/proc/self/exe");
  auto process = ChildProcess::start({.words = std::move(words), .given = line->second.fd()});
  if (!process) return std::unexpected(std::move(process.error()));
  return RoleProcess(role, std::move(*process), std::move(line->first));
}

std::optional<std::string> RoleProcess::stop() {
  // Who has ended can't hear it, and says so by its status.
  static_cast<void>(line_.send(Stop()));
  const int status = process_.wait(kPatience);
  if (status == 0) return {};
  return std::string(role_name(role_)) + " " + fate_text(status);
}

}  // namespace demo
