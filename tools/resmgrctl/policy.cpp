// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/policy.hpp"

#include <fmt/format.h>

#include <utility>

#include "resmgr/daemon/config.hpp"
#include "tools/resmgrctl/json.hpp"

namespace resmgrctl {

Outcome<PolicyCheck> check_policy(const std::string& path, bool json) {
  const auto text = resmgr::daemon::load_text(path);
  if (!text) return failed(path, text.error());
  const auto result = resmgr::daemon::read_config(*text, path);
  PolicyCheck check{.text = {}, .is_good = result.mistakes.empty()};
  if (json) {
    Json mistakes = Json::array();
    for (const auto& mistake : result.mistakes) {
      mistakes.push_back(
          {{"line", mistake.line}, {"column", mistake.column}, {"reason", mistake.reason}});
    }
    check.text = dump({{"file", path}, {"good", check.is_good}, {"mistakes", std::move(mistakes)}});
    return check;
  }
  for (const auto& mistake : result.mistakes) {
    check.text += resmgr::daemon::located(mistake, path) + '\n';
  }
  if (check.is_good) check.text = fmt::format("{}: no mistakes\n", path);
  return check;
}

}  // namespace resmgrctl
