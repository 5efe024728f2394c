// SPDX-License-Identifier: Apache-2.0
//
// Snapshot: two looks at a domain, in a file.
//
// What it is: a header, what was known of the clients' processes, and the pages of both looks that
// hold anything; of the second look only those that differ from the first. Two, so that whoever
// judges the domain later can tell what moved from what stood still. Everything is covered by a
// checksum, and the regions are checked again like those of any domain. What it is not: portable to
// another layout major or byte order; nor a way to bring a domain back.
//
// Lifetime and thread-safety: plain values.
//
//   auto saved = write_snapshot("/tmp/main.snap", first, second, origin);
//   auto snapshot = read_snapshot("/tmp/main.snap");
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "tools/resmgrctl/failure.hpp"
#include "tools/resmgrctl/look.hpp"

namespace resmgrctl {

/// Where a look comes from, for people.
struct Origin {
  std::string place = {};           ///< the socket, or the snapshot's file
  std::string daemon_version = {};  ///< empty: not known
  std::uint64_t taken_at_utc = 0;   ///< s since 1970
  bool is_snapshot = false;
};

struct Snapshot {
  Origin origin;
  Look first;
  Look second;
};

/// What was written.
struct SnapshotSize {
  std::uint64_t bytes = 0;
  std::uint64_t pages = 0;
};

/// A new file, which takes the place of one that is there when it is complete; only its owner can
/// read it. REQUIRES: both looks are of one domain.
[[nodiscard]] Outcome<SnapshotSize> write_snapshot(const std::string& path, const Look& first,
                                                   const Look& second, const Origin& origin);

[[nodiscard]] Outcome<Snapshot> read_snapshot(const std::string& path);

}  // namespace resmgrctl
