// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/leaks.hpp"

#include <fmt/format.h>

namespace demo {

std::vector<std::string> hold_lines(const hal::ResourceManager& manager) {
  const auto holds = manager.holds();
  if (!holds) return {fmt::format("what is held is not known: {}", holds.error().message())};
  std::vector<std::string> lines;
  for (const hal::Participant& who : *holds) {
    lines.push_back(fmt::format("{} is held by {} (context {})", who.resource.data(),
                                who.driver[0] != '\0' ? who.driver.data() : "an unnamed driver",
                                who.context));
  }
  return lines;
}

}  // namespace demo
