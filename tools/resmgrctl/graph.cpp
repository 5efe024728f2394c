// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/graph.hpp"

#include <fmt/format.h>

#include <map>
#include <utility>
#include <vector>

#include "tools/resmgrctl/json.hpp"
#include "tools/resmgrctl/words.hpp"

namespace resmgrctl {
namespace {

/// An edge between two nodes, each named by its kind and its own name.
struct Edge {
  std::string kind;  ///< waits, holds, needs, uses
  std::string from;
  std::string to;
  std::string label;
};

struct Graph {
  std::map<std::string, std::pair<std::string, std::string>> nodes;  ///< id: kind, label
  std::vector<Edge> edges;
};

class Builder {
 public:
  explicit Builder(const Picture& picture) : picture_(picture) {}

  [[nodiscard]] Graph build() && {
    for (const Resource& resource : picture_.resources) {
      for (const Wait& wait : resource.waits) {
        edge("waits", context(wait.who), node(resource),
             fmt::format("{}, {}", mode_text(wait.mode), time_text(wait.waited_ns)));
      }
      for (const Hold& hold : resource.holds) {
        edge("holds", node(resource), context(hold.who),
             fmt::format("{}, {}", kind_text(hold.kind), time_text(hold.held_ns)));
      }
      for (const resmgr::Handle needed : resource.needs) {
        const Resource* const other = picture_.find(needed);
        if (other != nullptr) edge("needs", node(resource), node(*other), "needs");
      }
      for (const Share& share : resource.shares) {
        edge("uses", driver(share.driver), node(resource),
             joined(rights_names(share.rights), ", "));
      }
    }
    return std::move(graph_);
  }

 private:
  std::string add(std::string id, const char* kind, std::string label) {
    graph_.nodes.emplace(id, std::pair(kind, std::move(label)));
    return id;
  }
  std::string context(const Who& who) {
    return add(fmt::format("context {}", who.context), "context", who_text(who));
  }
  std::string node(const Resource& resource) {
    return add(fmt::format("resource {}", resource.name()), "resource",
               std::string(resource.name()));
  }
  std::string driver(const std::string& name) {
    return add("driver " + printable(name), "driver", printable(name));
  }
  void edge(const char* kind, std::string from, std::string to, std::string label) {
    graph_.edges.push_back({kind, std::move(from), std::move(to), std::move(label)});
  }

  const Picture& picture_;
  Graph graph_;
};

std::string quoted(const std::string& text) {
  std::string safe = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') safe += '\\';
    safe += c;
  }
  return safe + '"';
}

const char* shape_of(const std::string& kind) {
  if (kind == "resource") return "box";
  return kind == "context" ? "ellipse" : "hexagon";
}

const char* style_of(const std::string& kind) {
  if (kind == "waits") return "color=red, style=bold";
  if (kind == "holds") return "color=black, style=bold";
  return kind == "needs" ? "color=blue, style=dashed" : "color=gray, style=dotted";
}

}  // namespace

std::string to_dot(const Picture& picture) {
  const Graph graph = Builder(picture).build();
  std::string text = "digraph resmgr {\n  rankdir=LR;\n";
  for (const auto& [id, node] : graph.nodes) {
    text += fmt::format("  {} [label={}, shape={}];\n", quoted(id), quoted(node.second),
                        shape_of(node.first));
  }
  for (const Edge& edge : graph.edges) {
    text += fmt::format("  {} -> {} [label={}, {}];\n", quoted(edge.from), quoted(edge.to),
                        quoted(edge.label), style_of(edge.kind));
  }
  return text + "}\n";
}

std::string to_graph_json(const Picture& picture) {
  const Graph graph = Builder(picture).build();
  Json nodes = Json::array();
  for (const auto& [id, node] : graph.nodes) {
    nodes.push_back({{"id", id}, {"kind", node.first}, {"label", node.second}});
  }
  Json edges = Json::array();
  for (const Edge& edge : graph.edges) {
    edges.push_back(
        {{"kind", edge.kind}, {"from", edge.from}, {"to", edge.to}, {"label", edge.label}});
  }
  return dump({{"nodes", std::move(nodes)}, {"edges", std::move(edges)}});
}

}  // namespace resmgrctl
