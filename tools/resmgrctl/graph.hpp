// SPDX-License-Identifier: Apache-2.0
//
// Graph: who waits for what, who holds it, what needs what, who uses what.
//
// What it is: edges between contexts, resources and drivers, written as Graphviz's dot language, as
// JSON, or, by the program `dot`, as SVG. Resources that have no edge are left out. What it is not:
// the wait-for graph of the deadlock check, which has contexts alone. Lifetime and thread-safety:
// pure functions; to_svg() starts a program and waits for it.
//
//   auto svg = to_svg(to_dot(picture));
#pragma once

#include <string>

#include "tools/resmgrctl/failure.hpp"
#include "tools/resmgrctl/picture.hpp"

namespace resmgrctl {

[[nodiscard]] std::string to_dot(const Picture& picture);
[[nodiscard]] std::string to_graph_json(const Picture& picture);
/// `program`: Graphviz's, looked for along PATH. Fails where it is missing, or refuses.
[[nodiscard]] Outcome<std::string> to_svg(const std::string& dot,
                                          const std::string& program = "dot");

}  // namespace resmgrctl
