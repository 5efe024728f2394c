// SPDX-License-Identifier: Apache-2.0
//
// Tags: the interned names of classes and drivers.
//
// What it is: a table in which a name gets a number once and for good; number 0 means "none". What
// it is not: counted; tags are never removed, so a full table stays full. Lifetime: borrows the
// tables. Thread-safety: TagReader beside the writer at any time; one TagWriter for a table.
//
//   TagWriter drivers(tables.drivers, tables.root->driver_count);
//   std::uint32_t id = drivers.intern("dma-edu").value();
#pragma once

#include <cstdint>
#include <string_view>

#include "resmgr/abi/names.hpp"
#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/registry/records.hpp"

namespace resmgr::registry {

class TagReader {
 public:
  explicit TagReader(const Records<rm_tag>& tags) noexcept : tags_(tags) {}

  /// Errors: NotFound (also for InvalidName's names), InvalidArgument (damaged table).
  [[nodiscard]] Result<std::uint32_t> find(std::string_view name) const noexcept;
  /// The name of a number; empty for 0. Errors: NotFound, InvalidArgument (damaged table).
  [[nodiscard]] Result<Tag> name(std::uint32_t id) const noexcept;
  /// Of a driver: how many resources it has registered. Not counted for 0.
  [[nodiscard]] std::uint32_t resources(std::uint32_t id) const noexcept;

 protected:
  /// The tag whose bucket_link heads the chain for names of that hash.
  [[nodiscard]] Word* bucket(std::uint32_t hash) const noexcept;

  Records<rm_tag> tags_;
};

class TagWriter : public TagReader {
 public:
  /// `count` is the table's counter in the region.
  TagWriter(const Records<rm_tag>& tags, std::uint32_t& count) noexcept
      : TagReader(tags), count_(&count) {}

  /// The number of a name, a new one if need be. Errors: InvalidName, CapacityExceeded,
  /// InvalidArgument (damaged table).
  [[nodiscard]] Result<std::uint32_t> intern(std::string_view name) noexcept;
  /// The number that intern() would give; stores nothing. Errors: as intern().
  [[nodiscard]] Result<std::uint32_t> number_of(std::string_view name) const noexcept;
  /// Whether number_of() made this number up: nothing is stored under it yet.
  [[nodiscard]] bool is_new(std::uint32_t id) const noexcept { return id == load_relaxed(*count_); }
  /// Stores a name under the new number that number_of() gave for it.
  void add(std::uint32_t id, std::string_view name) noexcept;
  /// Undoes add() of the newest name. REQUIRES: nothing that was published names it.
  void take_back(std::uint32_t id) noexcept;
  /// Of a driver: it registered a resource, or one of its resources went.
  void add_resource(std::uint32_t id) noexcept { set_resources(id, resources(id) + 1); }
  void drop_resource(std::uint32_t id) noexcept {
    // Damaged entries are not counted when they are recovered.
    if (const std::uint32_t count = resources(id); count != 0) set_resources(id, count - 1);
  }
  /// Makes the chains and the counter anew from the names that are complete; nobody has resources
  /// afterwards.
  void recover() noexcept;

 private:
  void link(std::uint32_t id, std::uint32_t hash) noexcept;
  void set_resources(std::uint32_t id, std::uint32_t count) noexcept;

  std::uint32_t* count_;
};

}  // namespace resmgr::registry
