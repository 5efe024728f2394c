// SPDX-License-Identifier: Apache-2.0
//
// What the verbs show, as one text each.
//
// What it is: tables for people, or JSON where the options ask for it. What it is not: printing;
// main() does that. Lifetime and thread-safety: pure functions.
//
//   std::string text = show_status(picture, source.origin(), options.json);
#pragma once

#include <string>

#include "tools/resmgrctl/doctor.hpp"
#include "tools/resmgrctl/options.hpp"
#include "tools/resmgrctl/picture.hpp"
#include "tools/resmgrctl/snapshot.hpp"

namespace resmgrctl {

[[nodiscard]] std::string show_status(const Picture& picture, const Origin& origin, bool json);
[[nodiscard]] std::string show_list(const Picture& picture, const Origin& origin,
                                    const Filter& filter, bool json);
[[nodiscard]] std::string show_resource(const Resource& resource, const Picture& picture,
                                        bool json);
/// `only`: of this resource alone, null: of all.
[[nodiscard]] std::string show_holders(const Picture& picture, const Resource* only, bool json);
[[nodiscard]] std::string show_waiters(const Picture& picture, const Resource* only, bool json);
[[nodiscard]] std::string show_diagnosis(const Diagnosis& diagnosis, bool json);
[[nodiscard]] std::string show_saved(const std::string& path, const SnapshotSize& size, bool json);

}  // namespace resmgrctl
