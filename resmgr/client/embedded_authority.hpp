// SPDX-License-Identifier: Apache-2.0
//
// EmbeddedAuthority: the authority of a domain that lives in one process.
//
// What it is: the writer's hand in the registry and the slots of the lock region, in step, under
// one mutex. What it is not: hooks or mappings; the domain keeps those. Lifetime: borrows regions
// and engine. Thread-safety: all functions from any thread; local parts are called with the
// mutex held, and must not come back here.
//
//   EmbeddedAuthority authority(writer, view, locks, engine);
#pragma once

#include <mutex>

#include "resmgr/client/authority.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/region.hpp"
#include "resmgr/registry/view.hpp"
#include "resmgr/registry/writer.hpp"

namespace resmgr::client {

class EmbeddedAuthority final : public Authority {
 public:
  EmbeddedAuthority(const registry::RegistryWriter& writer, const registry::RegistryView& view,
                    lock::LockRegion& locks, lock::LockEngine& engine) noexcept
      : writer_(writer), view_(view), locks_(locks), engine_(engine) {}

  [[nodiscard]] Result<std::uint32_t> intern_driver(std::string_view name) override;
  [[nodiscard]] Result<void> check(std::string_view name, const Description& description) override;
  [[nodiscard]] Result<Handle> register_resource(const NewResource& resource,
                                                 LocalPart& part) override;
  [[nodiscard]] Result<Handle> register_with_needed(const NewResource& resource, LocalPart& part,
                                                    const NewResource& needed,
                                                    LocalPart& needed_part) override;
  [[nodiscard]] Result<void> register_many(std::span<const NewResource> resources,
                                           std::span<Result<Handle>> outcomes) override;
  [[nodiscard]] Result<void> begin_unregister(Handle handle,
                                              const registry::Leaving* leaving) override;
  void cancel_unregister(Handle handle) noexcept override;
  [[nodiscard]] Result<void> finish_unregister(lock::Context& context, Handle handle,
                                               const registry::Leaving* leaving,
                                               bool waited) override;
  // Who holds ends before this process does, which owns what it holds.
  void listen(Asked) override {}
  void quiesced(Handle, std::uint32_t, std::optional<ErrorCode>) noexcept override {}
  void memory_made(Handle handle, int file) noexcept override;
  [[nodiscard]] Result<UniqueFd> open_file(Handle handle, Rights rights) override;
  [[nodiscard]] Result<void> share(Handle handle, std::uint32_t by, std::uint32_t with,
                                   Rights rights) override;
  [[nodiscard]] Result<void> unshare(Handle handle, std::uint32_t by, std::uint32_t with) override;
  [[nodiscard]] Result<void> add_dependency(Handle needs, Handle needed) override;
  [[nodiscard]] Result<void> remove_dependency(Handle needs, Handle needed) override;
  void read_apart(const std::function<void()>& read) override;
  void close() noexcept override {}
  void before_fork() noexcept override {}
  void after_fork_in_parent() noexcept override {}
  void after_fork_in_child() noexcept override {}

 private:
  // REQUIRES of these two: mutex_ held.
  [[nodiscard]] Result<registry::PreparedSlot> prepare(const NewResource& resource,
                                                       LocalPart& part);
  void arm(const registry::PreparedSlot& prepared, const NewResource& resource);

  std::mutex mutex_;
  registry::RegistryWriter writer_;
  const registry::RegistryView& view_;
  lock::LockRegion& locks_;
  lock::LockEngine& engine_;
};

}  // namespace resmgr::client
