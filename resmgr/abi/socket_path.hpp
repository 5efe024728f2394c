// SPDX-License-Identifier: Apache-2.0
//
// Where resmgrd listens, as both it and its clients work it out.
//
// What it is: the rule for domains that nobody gave a path. What it is not: a look at whether
// anybody is there. Environment is ignored in set-user-id programs. Thread-safety: as getenv(3).
//
//   auto link = Link::connect({.socket_path = candidate_socket_paths("main").front()});
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace resmgr {

/// The domain that is meant where none is named.
inline constexpr std::string_view kDefaultDomain = "main";

/// Where this process would listen for `domain`: root in /run/resmgr, others in
/// $XDG_RUNTIME_DIR/resmgr; empty if there is no such place. May throw std::bad_alloc.
[[nodiscard]] std::string listening_socket_path(std::string_view domain);

/// Where a client looks for `domain`, the first first: $RESMGR_SOCKET alone if it is set, else
/// $XDG_RUNTIME_DIR/resmgr, then /run/resmgr. May throw std::bad_alloc.
[[nodiscard]] std::vector<std::string> candidate_socket_paths(std::string_view domain);

}  // namespace resmgr
