// SPDX-License-Identifier: Apache-2.0
//
// RegistryView: the registry as everyone reads it.
//
// What it is: look-up by name, copies of entries and of what hangs on them, without a lock and
// without a message, in any process that mapped the region. What it is not: trusting; whatever the
// region contains, every call ends and stays inside it, and answers with what is there or an error.
// Lifetime: borrows the region. Thread-safety: all functions, from any thread, beside the writer.
//
//   RegistryView view(region);
//   Handle handle = view.find("gpu0/frame/3").value();
//   EntryCopy entry = view.read(handle).value();
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "resmgr/abi/names.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/registry/dependencies.hpp"
#include "resmgr/registry/entry.hpp"
#include "resmgr/registry/name_lookup.hpp"
#include "resmgr/registry/name_search.hpp"
#include "resmgr/registry/pairs.hpp"
#include "resmgr/registry/region.hpp"
#include "resmgr/registry/shares.hpp"
#include "resmgr/registry/tags.hpp"
#include "resmgr/registry/teardown_order.hpp"

namespace resmgr::registry {

class RegistryView {
 public:
  explicit RegistryView(const RegistryRegion& region) noexcept : tables_(region.tables()) {}

  /// The resource of that name, null if there is none or it can't be read; find() says which.
  [[nodiscard, gnu::always_inline]] Handle lookup(std::string_view name) const noexcept {
    const Handle handle = lookup_at_home(name);
    return !handle.is_null() ? handle : lookup_elsewhere(name);
  }
  /// Its fast half, for names of 8 to 16 bytes: null where the other has to be asked.
  [[nodiscard, gnu::always_inline]] Handle lookup_at_home(std::string_view name) const noexcept {
    if (!is_of_words<2>(name)) [[unlikely]]
      return {};
    return find_at_home<2>(tables_, tables_.current->part(), name);
  }
  /// Its other half.
  [[nodiscard]] Handle lookup_elsewhere(std::string_view name) const noexcept {
    return find_handle(tables_, name);
  }
  /// From here on lookup_at_home() finds nothing. The others go on.
  void stop_lookups_at_home() const noexcept { tables_.current->stop(); }
  /// The resource of that name. Errors: NotFound, InvalidName, InvalidArgument (damaged region),
  /// WouldBlock (the index was replaced during each of many attempts).
  [[nodiscard]] Result<Handle> find(std::string_view name) const noexcept {
    const Handle handle = lookup(name);
    if (!handle.is_null()) [[likely]]
      return handle;
    return search(name);
  }
  /// The same, without the fast attempt that lookup() is.
  [[nodiscard]] Result<Handle> search(std::string_view name) const noexcept {
    return find_name(tables_, name);
  }

  /// Asks for the memory where a look-up or a registration of that name will begin.
  void prefetch(std::string_view name) const noexcept {
    if (name.empty() || name.size() > kMaxNameBytes) return;
    prefetch_home(tables_, name_key(name, tables_.secrets));
  }

  /// Whether a published resource has this handle.
  [[nodiscard]] bool is_live(Handle handle) const noexcept {
    return live_entry(tables_, handle) != nullptr;
  }
  /// Errors: StaleHandle, InvalidArgument (damaged entry).
  [[nodiscard]] Result<EntryCopy> read(Handle handle) const noexcept {
    return read_entry(tables_, handle);
  }
  /// The same, of its priority alone; Normal where there is none.
  [[nodiscard]] ResourcePriority priority(Handle handle) const noexcept {
    return read_priority(tables_, handle);
  }
  /// How many there were and are of a driver (0: of all) and type.
  [[nodiscard]] Tally tally(std::uint32_t driver, ResourceType type) const noexcept {
    return tables_.tallies.read(driver, type);
  }
  /// See read_row().
  [[nodiscard]] std::optional<std::uint32_t> row(Handle handle) const noexcept {
    return read_row(tables_, handle);
  }
  /// The generation of the resource in `slot`, or of the last one there; 0 if there never was one.
  [[nodiscard]] std::uint32_t generation(std::uint32_t slot) const noexcept;
  /// Registered resources.
  [[nodiscard]] std::uint32_t size() const noexcept { return load_acquire(tables_.root->live); }
  /// Counts what is registered and unregistered, by twos; odd in the middle of it.
  [[nodiscard]] std::uint32_t changes() const noexcept {
    return load_acquire(tables_.root->changes_seq);
  }
  /// Slots below this were ever used.
  [[nodiscard]] std::uint32_t slot_end() const noexcept;
  /// Slots that are out of generations.
  [[nodiscard]] std::uint32_t retired_slots() const noexcept {
    return load_acquire(tables_.root->retired_slots);
  }

  /// Calls `visit(const EntryCopy&)` for each resource until it returns false. What is registered
  /// or unregistered meanwhile may or may not be seen; damaged entries are left out.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    const std::uint32_t end = slot_end();
    for (std::uint32_t slot = 0; slot < end; ++slot) {
      const auto entry = read_entry(tables_, live_handle(tables_, slot));
      if (entry && !visit(*entry)) return;
    }
  }

  /// See read_pairs(), read_shares(), read_rights(), read_needs(), read_needed_by(),
  /// read_teardown_order() and read_whole_teardown_order() for what they return and their errors.
  [[nodiscard]] Result<std::vector<PairCopy>> pairs(Handle handle) const {
    return read_pairs(tables_, handle);
  }
  [[nodiscard]] Result<std::vector<ShareCopy>> shares(Handle handle) const {
    return read_shares(tables_, handle);
  }
  [[nodiscard]] Result<Rights> rights(Handle handle, std::uint32_t driver) const noexcept {
    return read_rights(tables_, handle, driver);
  }
  [[nodiscard]] Result<std::vector<Handle>> needs(Handle handle) const {
    return read_needs(tables_, handle);
  }
  [[nodiscard]] Result<std::vector<Handle>> needed_by(Handle handle) const {
    return read_needed_by(tables_, handle);
  }
  [[nodiscard]] Result<std::vector<Handle>> teardown_order(Handle handle) const {
    return read_teardown_order(tables_, handle);
  }
  [[nodiscard]] Result<std::vector<Handle>> whole_teardown_order() const {
    return read_whole_teardown_order(tables_, slot_end());
  }

  /// Names and numbers of classes and drivers.
  [[nodiscard]] TagReader classes() const noexcept { return TagReader(tables_.classes); }
  [[nodiscard]] TagReader drivers() const noexcept { return TagReader(tables_.drivers); }

  /// The 32-bit form of a handle. Errors: Unsupported (the domain was created without compact
  /// handles), StaleHandle.
  [[nodiscard]] Result<Handle32> compact(Handle handle) const noexcept;
  /// Back again, without a tenure. Errors: as compact().
  [[nodiscard]] Result<Handle> expand(Handle32 handle) const noexcept;

 private:
  Tables tables_;
};

}  // namespace resmgr::registry
