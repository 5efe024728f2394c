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

#include "resmgr/base/clock.hpp"
#include "resmgr/budget/book.hpp"
#include "resmgr/budget/pressure_watch.hpp"
#include "resmgr/client/authority.hpp"
#include "resmgr/lock/emergencies.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/region.hpp"
#include "resmgr/registry/view.hpp"
#include "resmgr/registry/writer.hpp"

namespace resmgr::client {

class EmbeddedAuthority final : public Authority, private lock::EmergencyHost {
 public:
  EmbeddedAuthority(const registry::RegistryWriter& writer, const registry::RegistryView& view,
                    const BudgetTables& budgets, lock::LockRegion& locks, lock::LockEngine& engine)
      : writer_(writer),
        view_(view),
        book_(budgets),
        watch_(budgets),
        locks_(locks),
        engine_(engine),
        emergencies_(engine, *this) {
    writer_.set_accountant(&book_);
    book_.on_change([this](std::uint32_t driver, ResourceType type) {
      watch_.look(driver, type, Clock::coarse());
    });
    watch_.on_change([this](const budget::PressureWatch::Change& change) {
      if (!asked_.pressure) return;
      asked_.pressure({.driver_id = change.driver,
                       .type = change.type,
                       .level = change.level,
                       .before = change.before});
    });
  }

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
  // Asked for where something is taken from a holder alone: who holds ends before this process
  // does, which owns what it holds. By the thread of plead().
  void quiesced(Handle handle, std::uint32_t attempt,
                std::optional<ErrorCode> error) noexcept override;
  [[nodiscard]] Result<void> plead(const lock::Emergency& emergency) override;
  [[nodiscard]] std::optional<std::uint64_t> pursue() override;
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
  [[nodiscard]] std::optional<std::uint64_t> look_at_pressure() override;
  [[nodiscard]] bool is_there() noexcept override { return true; }
  void read_apart(const std::function<void()>& read) override;
  void close() noexcept override {}
  void before_fork() noexcept override {}
  void after_fork_in_parent() noexcept override {}
  void after_fork_in_child() noexcept override {}

 private:
  // lock::EmergencyHost
  void ask(const lock::Emergency& emergency, const Participant& holder,
           std::uint64_t until_ns) override;
  [[nodiscard]] std::optional<std::uint64_t> quiesce(Handle handle, std::uint32_t attempt,
                                                     std::uint64_t now_ns) override;
  [[nodiscard]] bool may_open(Handle) override { return true; }
  void told(const lock::Emergency&, lock::EmergencyStep, const Participant&,
            std::string_view) override {}

  // REQUIRES of these two: mutex_ held.
  [[nodiscard]] Result<registry::PreparedSlot> prepare(const NewResource& resource,
                                                       LocalPart& part);
  void arm(const registry::PreparedSlot& prepared, const NewResource& resource);

  std::mutex mutex_;
  registry::RegistryWriter writer_;
  const registry::RegistryView& view_;
  budget::Book book_;
  budget::PressureWatch watch_;
  lock::LockRegion& locks_;
  lock::LockEngine& engine_;
  Asked asked_;
  lock::Emergencies emergencies_;  ///< by the thread of plead() alone
};

}  // namespace resmgr::client
