// SPDX-License-Identifier: Apache-2.0
//
// Names: how the lock engine, which knows numbers only, gets what the registry says: names for
// blame and reports, priorities, rights on what is restricted.
//
// What it is: an interface that the layer above implements from the registry. What it is not: on
// any fast path. Lifetime: outlives the engine. Thread-safety: called from any thread, under no
// lock.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "resmgr/base/error.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr::lock {

struct Emergency;

class Names {
 public:
  Names() = default;
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;
  virtual ~Names() = default;

  /// Fills in `driver` (of the driver with this index) and `resource` (of who.handle).
  virtual void describe(Participant& who, std::uint32_t driver) const noexcept = 0;
  [[nodiscard]] virtual std::string class_name(std::uint16_t class_id) const = 0;
  /// A lock-order inversion under policy Warn, once for each pair of classes.
  virtual void report_order(std::string_view text) const noexcept = 0;
  /// The place in the queue of a request that names none; asked of those that queue alone.
  [[nodiscard]] virtual ResourcePriority default_priority(Handle) const noexcept {
    return ResourcePriority::Normal;
  }
  static constexpr std::uint32_t kNoRow = ~std::uint32_t{0};
  /// Where what becomes of requests for it is counted: its owner's number times RM_RESOURCE_TYPES,
  /// and its type; kNoRow where it is not known. Asked of those that queue or fail alone.
  [[nodiscard]] virtual std::uint32_t row_of(Handle) const noexcept { return kNoRow; }
  /// Whether contexts of this driver may acquire a restricted resource: ErrorCode{}, NotPermitted,
  /// or why that can't be told. Allocates nothing.
  [[nodiscard]] virtual ErrorCode check_rights(Handle handle,
                                               std::uint32_t driver) const noexcept = 0;
  /// A resource with an access hook was acquired.
  virtual void accessed(Handle handle) const noexcept = 0;
  /// A request in an emergency waits, and holders may be asked to let go: quick, and waits for
  /// nobody.
  virtual void urgent(const Emergency&) const noexcept {}
  /// Holds begin so often that reading the clock for each costs much: a tick would be cheaper.
  virtual void busy() const noexcept = 0;
};

}  // namespace resmgr::lock
