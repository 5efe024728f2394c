// SPDX-License-Identifier: Apache-2.0
//
// Asking a domain's daemon: one request, and what to do about a refusal.
//
// What it is: what the operations have in common. Lifetime: borrows for the call. Thread-safety:
// that of the source.
//
//   const auto count = ask(source, wire::DrainRequest{step, driver});
//   if (!count) return failed(advice(source, driver, count.error()));
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "resmgr/abi/replies.hpp"
#include "resmgr/client/link.hpp"
#include "tools/resmgrctl/source.hpp"

namespace resmgrctl {

/// The first value of the answer. Errors: what the daemon refuses; those of Link::call(). REQUIRES:
/// a source that is no snapshot.
template <typename Request>
resmgr::Result<std::uint64_t> ask(Source& source, const Request& request) {
  std::uint64_t value = 0;
  auto done = source.link()->call(
      [&](std::uint64_t id, std::span<std::byte> out) {
        return resmgr::wire::encode(request, id, out);
      },
      {},
      [&](const resmgr::client::Link::Attempt& reply) -> resmgr::Result<void> {
        const auto result = resmgr::wire::ResultReply::decode(reply.frame);
        if (!result) return std::unexpected(result.error());
        if (result->error) return std::unexpected(resmgr::wire::error_of(*result));
        value = result->value[0];
        return {};
      });
  if (!done) return std::unexpected(std::move(done.error()));
  return value;
}

/// What an operator does next, where that does not depend on the verb.
[[nodiscard]] std::string advice(const Source& source, const std::string& subject,
                                 const resmgr::Error& error);

}  // namespace resmgrctl
