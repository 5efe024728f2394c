// SPDX-License-Identifier: Apache-2.0
//
// Candidates: the resources of a domain that a Selector describes.
//
// What it is: a list of handles, in the order in which they are tried, made anew when something was
// registered or unregistered since. What it is not: a hold; what is in the list may be gone by the
// time it is asked for, which is then left out. Making the list is a look at all that is
// registered; while nothing changes it is one load.
//
// Lifetime: keeps the domain. Thread-safety: none.
//
//   auto candidates = Candidates::make(domain, {.class_name = "dma-channel"}).value();
//   for (const Handle handle : candidates.list()) ...
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/selector.hpp"
#include "resmgr/registry/entry.hpp"

namespace resmgr::client {

class Domain;

class Candidates {
 public:
  /// Errors: InvalidArgument (an enumeration, a node, or a pattern that is too long).
  [[nodiscard]] static Result<Candidates> make(std::shared_ptr<Domain> domain, Selector selector);

  /// As it is now. Throws std::bad_alloc.
  [[nodiscard]] std::span<const Handle> list();
  /// The same, those acquired least first, if that is the order. Throws std::bad_alloc.
  [[nodiscard]] std::span<const Handle> sorted();
  [[nodiscard]] const std::shared_ptr<Domain>& domain() const noexcept { return domain_; }
  [[nodiscard]] SelectionOrder order() const noexcept { return selector_.order; }

 private:
  Candidates(std::shared_ptr<Domain> domain, Selector selector) noexcept;
  void make_list();
  [[nodiscard]] bool fits(const registry::EntryCopy& entry, std::uint32_t class_id) const;
  [[nodiscard]] bool has_pairs(Handle handle) const;

  std::shared_ptr<Domain> domain_;
  Selector selector_;
  std::vector<Handle> list_;
  std::optional<std::uint32_t> made_at_;  ///< the registry's number of changes then
};

}  // namespace resmgr::client
