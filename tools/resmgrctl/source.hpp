// SPDX-License-Identifier: Apache-2.0
//
// Source: where looks come from: a living domain, or a snapshot of one.
//
// What it is: the one place that knows of sockets and files. A living domain is read as one of its
// clients, for as long as the source is there; it is changed by nothing but requests over its link.
// A snapshot has two looks, each to be had once; the second is the younger one. What it is not: a
// look.
//
// Lifetime: owns the connection. Thread-safety: one thread.
//
//   auto source = open_source({.socket = "/run/resmgr/main.sock"});
//   auto look = (*source)->look();
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "resmgr/abi/socket_path.hpp"
#include "resmgr/client/link.hpp"
#include "tools/resmgrctl/failure.hpp"
#include "tools/resmgrctl/look.hpp"
#include "tools/resmgrctl/snapshot.hpp"

namespace resmgrctl {

class Source {
 public:
  virtual ~Source() = default;
  /// Of now, or the younger one of a snapshot.
  [[nodiscard]] virtual Outcome<Look> look() = 0;
  /// The look that the younger one of a snapshot is to be compared with; nothing where the domain
  /// lives and can be looked at again.
  [[nodiscard]] virtual std::optional<Outcome<Look>> look_before() = 0;
  [[nodiscard]] virtual const Origin& origin() const noexcept = 0;
  /// To its daemon; null of a snapshot.
  [[nodiscard]] virtual resmgr::client::Link* link() noexcept = 0;
};

/// What the command line says of it.
struct Where {
  std::string domain{resmgr::kDefaultDomain};
  std::optional<std::string> socket = {};
  std::optional<std::string> snapshot = {};
};

/// Attaches, or reads the file. Failures name the next step.
[[nodiscard]] Outcome<std::unique_ptr<Source>> open_source(const Where& where);

}  // namespace resmgrctl
