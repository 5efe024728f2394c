// SPDX-License-Identifier: Apache-2.0
//
// ServedAuthority: the authority of a domain that resmgrd serves.
//
// What it is: each change as a request over a Link. What it is not: in the way of anybody who looks
// up, acquires or releases: that needs no message. While resmgrd is being restarted changes wait;
// one that may have been carried out before the connection was lost is asked for again and then
// compared with what the registry says.
//
// Lifetime: owns the link. Thread-safety: all functions from any thread.
//
//   auto attached = ServedAuthority::attach({.socket_path = "/run/resmgr/main.sock"}).value();
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "resmgr/abi/replies.hpp"
#include "resmgr/base/presence.hpp"
#include "resmgr/client/authority.hpp"
#include "resmgr/client/link.hpp"
#include "resmgr/lock/region.hpp"
#include "resmgr/registry/region.hpp"
#include "resmgr/registry/view.hpp"

namespace resmgr::client {

class ServedAuthority : public Authority {
 public:
  /// A place in a served domain, and the regions, mapped.
  struct Attached {
    registry::RegistryRegion registry;
    lock::LockRegion locks;
    std::unique_ptr<ServedAuthority> authority;
    std::uint32_t client;        ///< which record of the lock region this process is
    std::string daemon_version;  ///< of the daemon that gave the place
  };
  /// Errors: those of Link::connect(), and of attaching to the regions.
  [[nodiscard]] static Result<Attached> attach(LinkOptions options);
  /// Has `registry`, where it is for good, follow the domain to the next daemon, should this one
  /// be replaced. It has to live until close() has returned. Errors: those of follow().
  [[nodiscard]] Result<void> follow_in(registry::RegistryRegion& registry);
  /// As Link::on_end().
  void on_end(Link::OnEnd on_end);

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
  void listen(Asked asked) override;
  void quiesced(Handle handle, std::uint32_t attempt,
                std::optional<ErrorCode> error) noexcept override;
  [[nodiscard]] Result<void> plead(const lock::Emergency& emergency) override;
  // What follows is the daemon's.
  [[nodiscard]] std::optional<std::uint64_t> pursue() override { return {}; }
  void memory_made(Handle handle, int file) noexcept override;
  [[nodiscard]] Result<UniqueFd> open_file(Handle handle, Rights rights) override;
  [[nodiscard]] Result<void> share(Handle handle, std::uint32_t by, std::uint32_t with,
                                   Rights rights) override;
  [[nodiscard]] Result<void> unshare(Handle handle, std::uint32_t by, std::uint32_t with) override;
  [[nodiscard]] Result<void> add_dependency(Handle needs, Handle needed) override;
  [[nodiscard]] Result<void> remove_dependency(Handle needs, Handle needed) override;
  [[nodiscard]] Result<void> set_budget(std::uint32_t driver, ResourceType type,
                                        const ResourceBudget& budget) override;
  [[nodiscard]] Result<budget::Drawn> draw(std::uint32_t driver, ResourceType type,
                                           std::uint64_t least, std::uint64_t most,
                                           Urgency urgency) override;
  [[nodiscard]] Result<void> return_credits(std::uint32_t account, ResourceType type,
                                            std::uint64_t kept) override;
  [[nodiscard]] Result<void> need(std::uint32_t driver, ResourceType type,
                                  std::uint64_t amount) override;
  // The daemon does.
  [[nodiscard]] std::optional<std::uint64_t> look_at_pressure() override { return {}; }
  [[nodiscard]] bool is_there() noexcept override { return link_->is_connected(); }
  void read_apart(const std::function<void()>& read) override;
  /// For requests that are no authority's, such as an operator's.
  [[nodiscard]] Link& link() noexcept { return *link_; }
  void close() noexcept override;
  void before_fork() noexcept override { link_->before_fork(); }
  void after_fork_in_parent() noexcept override { link_->after_fork_in_parent(); }
  void after_fork_in_child() noexcept override;

 private:
  ServedAuthority(std::unique_ptr<Link> link, const registry::RegistryRegion& registry,
                  std::uint32_t client, Presence presence) noexcept
      : link_(std::move(link)),
        view_(registry),
        budgets_(registry.tables().budgets),
        client_(client),
        presence_(std::move(presence)) {}

  /// The errors of a request whose answer says no more than that it is done. `done_before`: what
  /// says so where it was sent twice.
  template <typename Request>
  Result<void> ask(const Request& request, std::span<const int> fds = {},
                   std::optional<ErrorCode> done_before = {});
  [[nodiscard]] Result<Handle> register_all(std::span<const NewResource* const> resources);
  [[nodiscard]] Handle own(std::string_view name) const noexcept;
  [[nodiscard]] Result<Handle> outcome_of(const wire::RegistrationOutcome& outcome,
                                          const NewResource& resource, bool repeated) const;

  std::unique_ptr<Link> link_;
  registry::RegistryView view_;
  BudgetTables budgets_;
  std::uint32_t client_;
  /// By which the daemon sees, while there is no connection, that this process has part in the
  /// domain. None where the process can't have one.
  Presence presence_;
};

}  // namespace resmgr::client
