// SPDX-License-Identifier: Apache-2.0
//
// Region files: the sealed memfds that regions live in.
//
// What it is: creation of a file of fixed size, and mapping of one that came from elsewhere. What
// it is not: the layout inside, see region_header.hpp. A file is sealed against shrinking and
// growing, so that no peer can pull pages out from under a mapping (SIGBUS); an unsealed one is
// refused. Lifetime: the file lives as long as a descriptor or a mapping of it.
// Thread-safety: pure functions.
//
//   auto fd = create_region_file("resmgr-registry", header.region_bytes);
//   auto region = map_region_file(fd->get(), RM_REGISTRY_MAGIC, Mapping::Access::Read);
#pragma once

#include <cstdint>

#include "resmgr/abi/layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgr {

/// A new zeroed memfd of `bytes`, close-on-exec, sealed against a change of its size. `name` is
/// what /proc shows. Errors: System, CapacityExceeded (no descriptor left).
[[nodiscard]] Result<UniqueFd> create_region_file(const char* name, std::uint64_t bytes) noexcept;

/// Allocates all memory of the file that has none yet, so that nothing in it can fail for want of
/// memory later. Errors: CapacityExceeded (there is not so much), System.
[[nodiscard]] Result<void> allocate_file(int fd, std::uint64_t bytes) noexcept;

/// Maps a whole memfd that is sealed against a change of its size, whatever is in it. The caller
/// keeps the descriptor. Errors: InvalidArgument (no such file), NotPermitted, System.
[[nodiscard]] Result<Mapping> map_sealed_file(int fd, Mapping::Access access);

/// A mapped region and the checked copy of its header.
struct MappedRegion {
  Mapping mapping;
  rm_region_header header{};
};

/// Maps the whole file and checks the header. The caller keeps the descriptor.
/// Errors: InvalidArgument (no sealed memfd, not a region of this kind, damaged), VersionMismatch,
/// NotPermitted (`access` is more than the descriptor allows), System.
[[nodiscard]] Result<MappedRegion> map_region_file(int fd, std::uint64_t magic,
                                                   Mapping::Access access);

}  // namespace resmgr
