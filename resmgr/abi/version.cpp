// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/version.hpp"

#include <string>

namespace resmgr {

Error version_mismatch(const char* context, const char* what, Version theirs, Version ours) {
  const auto number = [](Version version) {
    return std::to_string(version.major_number) + "." + std::to_string(version.minor_number);
  };
  Error error(ErrorCode::VersionMismatch, context);
  error.with_detail(
      {.cycle = {},
       .text = std::string(what) + " " + number(theirs) + ", this library speaks " + number(ours)});
  return error;
}

}  // namespace resmgr
