// SPDX-License-Identifier: Apache-2.0
//
// A picture's parts as JSON.
//
// What it is: one object for each thing, with the same keys wherever it appears. Handles and ids
// are text of sixteen hexadecimal digits: JSON numbers lose what is beyond 53 bits. Bytes that are
// not UTF-8 are replaced. What it is not: text for people, see print.hpp. Lifetime and
// thread-safety: pure functions.
//
//   std::string text = dump({{"resource", json_of(resource, picture)}});
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "tools/resmgrctl/doctor.hpp"
#include "tools/resmgrctl/picture.hpp"
#include "tools/resmgrctl/snapshot.hpp"

namespace resmgrctl {

using Json = nlohmann::ordered_json;

/// Of all outputs; raised when a key changes its meaning or goes.
inline constexpr int kJsonSchema = 1;

[[nodiscard]] Json json_of(const Who& who);
[[nodiscard]] Json json_of(const Hold& hold);
[[nodiscard]] Json json_of(const Wait& wait, const Picture& picture);
[[nodiscard]] Json json_of(const Finding& finding);
[[nodiscard]] Json json_of(const Origin& origin, const Picture& picture);
/// A line of `list`, and all of `show`.
[[nodiscard]] Json summary_of(const Resource& resource);
[[nodiscard]] Json json_of(const Resource& resource, const Picture& picture);

/// An object with the schema's number, indented.
[[nodiscard]] std::string dump(const Json& object);

}  // namespace resmgrctl
