// SPDX-License-Identifier: Apache-2.0
//
// guard(): the border that want of memory does not cross as an exception.
//
// What it is: the one place of libhal where std::bad_alloc becomes an Error. What it is not: a net
// for other exceptions; a visitor's own pass. Lifetime: none. Thread-safety: pure.
//
//   return guard("info", [&]() -> Result<ResourceInfo> { return convert::info(*domain_, entry); });
#pragma once

#include <cerrno>
#include <new>
#include <utility>

#include "resmgr/base/error.hpp"

namespace hal {

/// What `call` returns, a Result. Errors: those of `call`; System (ENOMEM) if it lacked memory.
template <typename Call>
[[nodiscard]] auto guard(const char* what, Call&& call) -> decltype(call()) try {
  return std::forward<Call>(call)();
} catch (const std::bad_alloc&) {
  return resmgr::fail_errno(ENOMEM, what);
}

}  // namespace hal
