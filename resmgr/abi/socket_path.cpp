// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/socket_path.hpp"

#include <unistd.h>

#include <cstdlib>

namespace resmgr {
namespace {

std::string in_folder(std::string_view folder, std::string_view domain) {
  return std::string(folder) + "/resmgr/" + std::string(domain) + ".sock";
}

}  // namespace

std::string listening_socket_path(std::string_view domain) {
  if (::geteuid() == 0) return in_folder("/run", domain);
  const char* const folder = ::secure_getenv("XDG_RUNTIME_DIR");
  return folder ? in_folder(folder, domain) : std::string();
}

std::vector<std::string> candidate_socket_paths(std::string_view domain) {
  if (const char* const path = ::secure_getenv("RESMGR_SOCKET")) return {path};
  std::vector<std::string> paths;
  if (const char* const folder = ::secure_getenv("XDG_RUNTIME_DIR")) {
    paths.push_back(in_folder(folder, domain));
  }
  paths.push_back(in_folder("/run", domain));
  return paths;
}

}  // namespace resmgr
