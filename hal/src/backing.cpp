// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <limits>

#include <hal/resource.hpp>

namespace hal {

using resmgr::fail;
using resmgr::fail_errno;

Backing::~Backing() = default;

namespace {

class MemfdBacking final : public Backing {
 public:
  Result<BackingMemory> make(const std::string& name, const ResourceMetadata& metadata) override {
    if (metadata.size_bytes == 0 ||
        metadata.size_bytes > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) {
      return fail(ErrorCode::InvalidArgument, "memory of this size");
    }
    UniqueFd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return fail_errno(errno, "memfd_create");
    if (::ftruncate(fd.get(), static_cast<off_t>(metadata.size_bytes)) != 0) {
      return fail_errno(errno, "ftruncate");
    }
    // Nobody who maps it can have pages pulled away from under him.
    int seals = F_SEAL_SHRINK;
    if (metadata.access_pattern == AccessPattern::WriteOnce) seals |= F_SEAL_GROW;
    if (::fcntl(fd.get(), F_ADD_SEALS, seals) != 0) return fail_errno(errno, "fcntl(F_ADD_SEALS)");
    return BackingMemory{std::move(fd), metadata.size_bytes};
  }
};

}  // namespace

std::shared_ptr<Backing> Backing::memfd() { return std::make_shared<MemfdBacking>(); }

}  // namespace hal
