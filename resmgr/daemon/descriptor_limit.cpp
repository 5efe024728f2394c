// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/descriptor_limit.hpp"

#include <sys/resource.h>

#include <cerrno>

namespace resmgr::daemon {
namespace {

// Regions, sockets, signals, the ring: what a daemon has without clients, and some to spare.
constexpr std::uint64_t kOwn = 64;
// A connection and a pidfd.
constexpr std::uint64_t kOfEachClient = 2;

}  // namespace

Result<std::uint64_t> raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "setrlimit");
  return limit.rlim_cur;
}

std::uint64_t promised_descriptors(const Config& config) noexcept {
  return kOwn + config.domain.capacities.clients * (kOfEachClient + config.limits.fds);
}

std::string descriptor_warning(const Config& config, std::uint64_t limit) {
  const std::uint64_t promised = promised_descriptors(config);
  if (limit >= promised) return {};
  return "the daemon may have " + std::to_string(limit) +
         " descriptors, and its clients are promised " + std::to_string(promised) +
         " ('clients' of [domain], 'fds' of [limits]): raise its limit "
         "(LimitNOFILE= of the service, ulimit -n), or promise less";
}

}  // namespace resmgr::daemon
