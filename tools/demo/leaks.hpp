// SPDX-License-Identifier: Apache-2.0
//
// What a manager knows to be held, as lines for the leak report.
//
// Lifetime and thread-safety: a function.
#pragma once

#include <string>
#include <vector>

#include <hal/resource_manager.hpp>

namespace demo {

/// One line for each hold in the domain, whichever process has it.
[[nodiscard]] std::vector<std::string> hold_lines(const hal::ResourceManager& manager);

}  // namespace demo
