// SPDX-License-Identifier: Apache-2.0
//
// The manager's life, its drivers and contexts, and registration.
#include <hal/resource_manager.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/abi/socket_path.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;
using resmgr::PairText;
using resmgr::client::Domain;
using resmgr::client::LinkChange;
using resmgr::client::LinkState;
using resmgr::client::Notice;
using resmgr::wire::ClosingReason;

namespace {

ConnectionState public_state(LinkState state) noexcept {
  switch (state) {
    case LinkState::Lost:
      return ConnectionState::Lost;
    case LinkState::Restored:
      return ConnectionState::Restored;
    case LinkState::Ended:
      break;
  }
  return ConnectionState::Ended;
}

CloseReason public_reason(std::optional<ClosingReason> reason) noexcept {
  if (!reason) return CloseReason::None;
  switch (*reason) {
    case ClosingReason::Shutdown:
      return CloseReason::Shutdown;
    case ClosingReason::Restart:
      return CloseReason::Restart;
    case ClosingReason::Protocol:
      return CloseReason::Protocol;
  }
  return CloseReason::None;
}

ResourceNotice public_notice(const Notice& notice) noexcept {
  switch (notice.what) {
    case Notice::What::Orphaned:
      return {.news = ResourceNews::Orphaned, .handle = notice.handle};
    case Notice::What::OwnerDied:
      return {.news = ResourceNews::OwnerDied, .handle = notice.handle};
    case Notice::What::Missed:
      break;
  }
  return {.news = ResourceNews::Missed, .missed = notice.missed};
}

std::vector<PairText> views(const ResourceMetadata& metadata) {
  std::vector<PairText> pairs;
  pairs.reserve(metadata.pairs.size());
  for (const auto& [key, value] : metadata.pairs) pairs.push_back({key, value});
  return pairs;
}

}  // namespace

// ---- Context ------------------------------------------------------------------------------------

Context::Context(std::shared_ptr<Domain> domain, resmgr::lock::Context* impl) noexcept
    : domain_(std::move(domain)), impl_(impl) {}

Context::Context(Context&& other) noexcept
    : domain_(std::move(other.domain_)), impl_(std::exchange(other.impl_, nullptr)) {}

Context& Context::operator=(Context&& other) noexcept {
  if (this != &other) {
    if (impl_) domain_->close_context(*impl_, "its context was destroyed");
    domain_ = std::move(other.domain_);
    impl_ = std::exchange(other.impl_, nullptr);
  }
  return *this;
}

Context::~Context() {
  if (impl_) domain_->close_context(*impl_, "its context was destroyed");
}

std::uint32_t Context::id() const noexcept { return impl_ ? impl_->id : 0; }

// ---- life ---------------------------------------------------------------------------------------

ResourceManager::ResourceManager(std::shared_ptr<Domain> domain) noexcept
    : Observing(std::move(domain)) {}

std::unique_ptr<ResourceManager> ResourceManager::of(std::shared_ptr<Domain> domain) {
  struct Public : ResourceManager {  // make_unique needs a constructor it may call
    explicit Public(std::shared_ptr<Domain> d) noexcept : ResourceManager(std::move(d)) {}
  };
  return std::make_unique<Public>(std::move(domain));
}

Result<std::unique_ptr<ResourceManager>> ResourceManager::create(ManagerOptions options) {
  if (options.order_policy > OrderPolicy::Refuse) {
    return fail(ErrorCode::InvalidArgument, "order policy");
  }
  if (options.profile > DomainProfile::Static) return fail(ErrorCode::InvalidArgument, "profile");
  if (auto path = convert::check(options.async_path); !path) {
    return std::unexpected(std::move(path.error()));
  }
  return guard("manager", [&]() -> Result<std::unique_ptr<ResourceManager>> {
    resmgr::client::DomainOptions to;
    to.name = std::move(options.name);
    to.capacities.slots = options.capacities.resources;
    to.capacities.contexts = options.capacities.contexts;
    to.capacities.nodes = options.capacities.waits;
    to.capacities.cells = options.capacities.shared_holds;
    to.capacities.pairs = options.capacities.metadata_pairs;
    to.capacities.dependencies = options.capacities.dependencies;
    to.capacities.shares = options.capacities.shares;
    static_assert(static_cast<unsigned>(DomainProfile::Static) ==
                      static_cast<unsigned>(resmgr::budget::ProfileChoice::Static),
                  "in the same order");
    to.profile = static_cast<resmgr::budget::ProfileChoice>(options.profile);
    to.compact_handles = options.compact_handles;
    to.order_policy = options.order_policy;
    to.async_path = options.async_path;
    to.log = std::move(options.log);
    auto domain = Domain::create(std::move(to));
    if (!domain) return std::unexpected(std::move(domain.error()));
    return of(std::move(*domain));
  });
}

Result<std::unique_ptr<ResourceManager>> ResourceManager::connect(ConnectOptions options) {
  if (auto path = convert::check(options.async_path); !path) {
    return std::unexpected(std::move(path.error()));
  }
  return guard("connect", [&]() -> Result<std::unique_ptr<ResourceManager>> {
    const std::vector<std::string> paths = options.socket.empty()
                                               ? resmgr::candidate_socket_paths(options.domain)
                                               : std::vector{options.socket};
    std::function<void(const LinkChange&)> on_state;
    if (options.on_connection) {
      on_state = [tell = options.on_connection](const LinkChange& change) {
        tell({.state = public_state(change.state), .reason = public_reason(change.reason)});
      };
    }
    std::function<void(const Notice&)> on_notice;
    if (options.on_notice) {
      on_notice = [tell = options.on_notice](const Notice& notice) { tell(public_notice(notice)); };
    }
    Result<std::shared_ptr<Domain>> domain = fail(ErrorCode::Disconnected);
    for (const std::string& path : paths) {
      domain = Domain::connect({.socket_path = path,
                                .patience_ns = static_cast<std::uint64_t>(
                                    std::max(options.patience.count(), 1'000'000l)),
                                .log = options.log,
                                .on_state = on_state,
                                .on_notice = on_notice},
                               options.async_path);
      if (domain || domain.error() != ErrorCode::Disconnected) break;
    }
    if (!domain) return std::unexpected(std::move(domain.error()));
    return of(std::move(*domain));
  });
}

bool ResourceManager::is_served() const noexcept { return domain_ && domain_->is_served(); }

ResourceManager& ResourceManager::instance() noexcept {
  static const std::unique_ptr<ResourceManager> made = [] {
    auto manager = connect();
    if (!manager) manager = create();
    return manager ? std::move(*manager) : nullptr;
  }();
  static ResourceManager disconnected{nullptr};
  return made ? *made : disconnected;
}

ResourceManager::~ResourceManager() { close(); }

void ResourceManager::close() noexcept {
  if (domain_) domain_->close();
}

// ---- drivers and contexts -----------------------------------------------------------------------

Result<DriverId> ResourceManager::register_driver(std::string_view name) {
  if (!domain_) return fail(ErrorCode::Disconnected);
  return guard("driver", [&]() -> Result<DriverId> {
    auto id = domain_->register_driver(name);
    if (!id) return std::unexpected(std::move(id.error()));
    return DriverId{*id};
  });
}

Result<Context> ResourceManager::create_context(DriverId driver) {
  if (!domain_) return fail(ErrorCode::Disconnected);
  return guard("context", [&]() -> Result<Context> {
    auto context = domain_->open_context(driver.value);
    if (!context) return std::unexpected(std::move(context.error()));
    return Context(domain_, *context);
  });
}

Result<void> ResourceManager::set_thread_driver(DriverId driver) {
  auto context = context_of(nullptr);
  if (!context) return std::unexpected(std::move(context.error()));
  return domain_->set_driver(**context, driver.value);
}

// ---- registry -----------------------------------------------------------------------------------

Result<Handle> ResourceManager::register_resource(std::string_view name,
                                                  const ResourceMetadata& metadata,
                                                  RegisterOptions options) {
  return register_typed(name, metadata, std::move(options), 0);
}

Result<std::vector<Result<Handle>>> ResourceManager::register_resources(
    std::span<const NamedResource> resources, DriverId driver) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (!domain_->knows_driver(driver.value)) {
    return fail(ErrorCode::InvalidArgument, "no such driver");
  }
  return guard("registration", [&]() -> Result<std::vector<Result<Handle>>> {
    std::vector<std::vector<PairText>> pairs;
    std::vector<resmgr::Description> descriptions;
    std::vector<resmgr::client::NewResource> wanted;
    pairs.reserve(resources.size());
    descriptions.reserve(resources.size());  // what follows points into it
    wanted.reserve(resources.size());
    for (const NamedResource& each : resources) {
      pairs.push_back(views(each.metadata));
      descriptions.push_back(convert::description(
          each.metadata, {.driver = driver, .cookie = each.cookie}, 0, pairs.back()));
      wanted.push_back({.name = each.name, .description = descriptions.back()});
    }
    std::vector<Result<Handle>> outcomes(resources.size(), Handle());
    auto done = domain_->register_many(wanted, descriptions, outcomes);
    if (!done) return std::unexpected(std::move(done.error()));
    return outcomes;
  });
}

Result<Handle> ResourceManager::register_typed(std::string_view name,
                                               const ResourceMetadata& metadata,
                                               RegisterOptions&& options, std::uint64_t type_tag) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  // Where the name will go is not in a cache, and all that follows goes on meanwhile.
  domain_->view().prefetch(name);
  if (options.fd && options.backing) {
    return fail(ErrorCode::InvalidArgument, "a file and a backing together");
  }
  if (!domain_->knows_driver(options.driver.value)) {
    return fail(ErrorCode::InvalidArgument, "no such driver");
  }
  const bool lazy = has(metadata.flags, ResourceFlags::Lazy);
  if (lazy && !options.backing) {
    return fail(ErrorCode::InvalidArgument, "lazy needs a backing");
  }
  if (options.fd && resmgr::is_too_short(options.fd.get(), metadata.size_bytes)) {
    return fail(ErrorCode::InvalidArgument, "the file is smaller than size_bytes");
  }
  if (options.mode > AcquisitionMode::Emergency) {
    return fail(ErrorCode::InvalidArgument, "no such mode");
  }
  if (options.backing && metadata.size_bytes == 0) {
    return fail(ErrorCode::InvalidArgument, "a backing needs a size");
  }
  return guard("registration", [&]() -> Result<Handle> {
    const auto pairs = views(metadata);
    resmgr::client::Registration registration{
        .description = convert::description(metadata, options, type_tag, pairs),
        .file = {std::move(options.fd), metadata.size_bytes},
        .make = {},
        .lazy = lazy,
        .hooks = {std::move(options.hooks.on_create),
                  std::move(options.hooks.on_access),
                  std::move(options.hooks.on_cleanup),
                  {}},
        .on_quiesce = std::move(options.hooks.on_quiesce),
        .deadline_ns = convert::patience(options.mode, options.timeout)};
    if (options.backing) {
      registration.make = [backing = std::move(options.backing), name = std::string(name),
                           metadata]() -> Result<resmgr::client::BackedFile> {
        Result<BackingMemory> made = fail(ErrorCode::System, "the backing threw");
        try {
          made = guard("backing", [&] { return backing->make(name, metadata); });
        } catch (...) {
          // Authors' exceptions end here: nothing throws across this interface.
        }
        if (!made) return std::unexpected(std::move(made.error()));
        if (!made->fd || made->size_bytes < metadata.size_bytes ||
            resmgr::is_too_short(made->fd.get(), metadata.size_bytes)) {
          return fail(ErrorCode::System, "the backing made less memory than asked for");
        }
        return resmgr::client::BackedFile{std::move(made->fd), metadata.size_bytes};
      };
    }
    return domain_->register_resource(name, registration);
  });
}

Result<Handle> ResourceManager::register_with_needed(FileResource resource, FileResource needed,
                                                     DriverId owner) {
  if (!domain_) return fail(ErrorCode::Disconnected);
  return guard("registration", [&]() -> Result<Handle> {
    const std::array pairs{views(resource.metadata), views(needed.metadata)};
    const auto registration = [&](FileResource& from, std::span<const PairText> its_pairs) {
      return resmgr::client::Registration{
          .description = convert::description(from.metadata, {.driver = owner}, 0, its_pairs),
          .file = {std::move(from.fd), from.metadata.size_bytes},
          .make = {},
          .lazy = false,
          .hooks = {},
          .on_quiesce = {}};
    };
    auto first = registration(resource, pairs[0]);
    auto second = registration(needed, pairs[1]);
    return domain_->register_with_needed(resource.name, first, needed.name, second);
  });
}

Result<void> ResourceManager::unregister_resource(Handle handle, std::chrono::nanoseconds timeout) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("unregister",
               [&] { return domain_->unregister_resource(handle, convert::deadline(timeout)); });
}

Result<void> ResourceManager::teardown(Handle handle, std::chrono::nanoseconds timeout) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("teardown", [&] { return domain_->teardown(handle, convert::deadline(timeout)); });
}

Handle ResourceManager::lookup(std::string_view name) const noexcept {
  const Domain* const domain = domain_.get();
  if (!domain) [[unlikely]]
    return {};
  // A closed domain has nothing at home, so this is not asked for each look-up.
  const Handle handle = domain->view().lookup_at_home(name);
  if (!handle.is_null()) [[likely]]
    return handle;
  return domain->lookup_elsewhere(name);
}

Result<Handle> ResourceManager::find_or_say_why(std::string_view name) const noexcept {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return domain_->view().search(name);
}

bool ResourceManager::is_valid(Handle handle) const noexcept {
  return domain_ && !domain_->closed() && domain_->engine().is_valid(handle);
}

std::uint32_t ResourceManager::size() const noexcept {
  return domain_ ? domain_->view().size() : 0;
}

Result<Handle32> ResourceManager::compact(Handle handle) const noexcept {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return domain_->view().compact(handle);
}

Result<Handle> ResourceManager::expand(Handle32 handle) const noexcept {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return domain_->view().expand(handle);
}

WeakResource ResourceManager::weak(Handle handle) const noexcept {
  return WeakResource(handle, domain_);
}

Result<std::span<std::byte>> ResourceManager::map(Handle handle, DriverId driver) {
  if (!domain_) return fail(ErrorCode::Disconnected);
  return guard("map", [&] { return domain_->map(handle, driver.value); });
}

Result<UniqueFd> ResourceManager::fd(Handle handle, DriverId driver) {
  if (!domain_) return fail(ErrorCode::Disconnected);
  return guard("fd", [&] { return domain_->duplicate_fd(handle, driver.value); });
}

}  // namespace hal
