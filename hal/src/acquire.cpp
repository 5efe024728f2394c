// SPDX-License-Identifier: Apache-2.0
//
// Acquiring: the fast path first, then everything else.
#include <algorithm>
#include <utility>

#include <hal/executor.hpp>
#include <hal/resource_manager.hpp>

#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;
using resmgr::lock::FastPath;
using resmgr::lock::Grant;
using Outcome = FastPath::Outcome;

// The two hot functions call nothing but what is compiled into them, so that they need no frame.

ScopedResource::Held ResourceManager::acquire_at_once(Handle handle,
                                                      std::source_location where) noexcept {
  resmgr::lock::Context* context = domain_ ? domain_->known_thread_context() : nullptr;
  std::uint8_t tenure = 0;
  if (!context) [[unlikely]]
    return {};
  if (FastPath::try_exclusive(*context, handle, where, tenure) != Outcome::Done) [[unlikely]] {
    return acquire_beside_others(handle, where);
  }
  return {handle.with_tenure(tenure), reinterpret_cast<std::uintptr_t>(context)};
}

ScopedResource::Held ResourceManager::acquire_shared_at_once(Handle handle,
                                                             std::source_location where) noexcept {
  resmgr::lock::Context* context = domain_ ? domain_->known_thread_context() : nullptr;
  if (!context) [[unlikely]]
    return {};
  std::uint8_t tenure = 0;
  const Outcome outcome = FastPath::try_shared(*context, handle, where, tenure);
  if (outcome == Outcome::Done) [[likely]] {
    return {handle.with_tenure(tenure),
            reinterpret_cast<std::uintptr_t>(context) | ScopedResource::kSharedBit};
  }
  if (outcome == Outcome::Owing) return take_shared_back(handle);
  return {};
}

ScopedResource::Held ResourceManager::acquire_beside_others(Handle handle,
                                                            std::source_location where) noexcept {
  resmgr::lock::Context& context = *domain_->known_thread_context();
  std::uint8_t tenure = 0;
  if (resmgr::lock::HoldList(context).unused() ||
      FastPath::try_exclusive_beside(context, &domain_->engine().order(), handle, where, tenure) !=
          Outcome::Done) {
    return {};
  }
  return {handle.with_tenure(tenure), reinterpret_cast<std::uintptr_t>(&context)};
}

ScopedResource::Held ResourceManager::take_shared_back(Handle handle) noexcept {
  domain_->engine().take_false_hold_back(*domain_->known_thread_context(), handle);
  return {};
}

Result<resmgr::lock::Context*> Budgeting::context_of(Context* given) const noexcept {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (!given) return domain_->thread_context();
  if (!given->impl_ || given->domain_ != domain_) {
    return fail(ErrorCode::InvalidArgument, "a context of another manager");
  }
  return given->impl_;
}

Result<resmgr::lock::Context*> ResourceManager::acquirer(Context* given,
                                                         bool runs_tasks) const noexcept {
  auto context = context_of(given);
  if (context && given) domain_->note_task(**context, runs_tasks);
  return context;
}

Result<ScopedResource> ResourceManager::acquire_slowly(Handle handle, const AcquireOptions& options,
                                                       std::source_location where) noexcept {
  auto context = acquirer(options.context, ExecutorScope::inside());
  if (!context) return std::unexpected(std::move(context.error()));
  resmgr::lock::LockEngine& engine = domain_->engine();
  if (convert::is_valid(options)) {
    const bool ordered = options.mode != AcquisitionMode::NonBlocking;
    Grant grant;
    if (options.kind == HoldKind::Exclusive
            ? engine.try_exclusive(**context, handle, ordered, where, grant)
            : engine.try_shared(**context, handle, ordered, where, grant)) {
      if (auto whole = domain_->complete(**context, handle, options.kind, grant); !whole) {
        return std::unexpected(std::move(whole.error()));
      }
      return ScopedResource(handle.with_tenure(grant.tenure), *context, options.kind);
    }
  }
  auto request = convert::request(options, where);
  if (!request) return std::unexpected(std::move(request.error()));
  auto grant = domain_->acquire(**context, handle, *request);
  if (!grant) return std::unexpected(std::move(grant.error()));
  return ScopedResource(handle.with_tenure(grant->tenure), *context, options.kind);
}

Result<void> ResourceManager::release_resource(Handle handle, Context* context) noexcept {
  auto holder = context_of(context);
  if (!holder) return std::unexpected(std::move(holder.error()));
  resmgr::lock::LockEngine& engine = domain_->engine();
  const auto kind = engine.held_kind(**holder, handle);
  // What was fenced is let go of by its release, whichever kind it was.
  if (!kind && kind.error() == ErrorCode::NotPermitted) {
    return engine.release(**holder, engine.as_held(handle), HoldKind::Exclusive);
  }
  if (!kind) return std::unexpected(kind.error());
  return engine.release(**holder, engine.as_held(handle), *kind);
}

namespace {

/// A new memfd in which an object was constructed.
class ConstructedBacking final : public Backing {
 public:
  explicit ConstructedBacking(void (*construct)(void*)) noexcept : construct_(construct) {}

  Result<BackingMemory> make(const std::string& name, const ResourceMetadata& metadata) override {
    auto made = Backing::memfd()->make(name, metadata);
    if (!made) return made;
    auto mapping = resmgr::Mapping::map_file(made->fd.get(), metadata.size_bytes,
                                             resmgr::Mapping::Access::ReadWrite);
    if (!mapping) return std::unexpected(std::move(mapping.error()));
    construct_(mapping->data());
    return made;
  }

 private:
  void (*construct_)(void*);
};

}  // namespace

Result<ResourceManager::OpenedResource> ResourceManager::open_typed(
    std::string_view name, const ResourceMetadata& metadata, const TypeOfMemory& type,
    const AcquireOptions& options, std::source_location where) {
  // What is wrong with the request must not leave a resource behind.
  const auto context = context_of(options.context);
  if (!context) return std::unexpected(context.error());
  const DriverId driver{resmgr::load_relaxed((*context)->record->driver)};
  if (auto request = convert::request(options, where); !request) {
    return std::unexpected(std::move(request.error()));
  }
  // As it was given: what T asks for would hide some of it.
  const auto described = convert::description(metadata, {}, type.tag, {});
  if (auto sound = resmgr::check_description(described); !sound) {
    return std::unexpected(std::move(sound.error()));
  }
  return guard("acquire_resource", [&]() -> Result<OpenedResource> {
    ResourceMetadata wanted = metadata;
    wanted.size_bytes = std::max<std::uint64_t>(metadata.size_bytes, type.size);
    wanted.alignment = std::max<std::uint64_t>(metadata.alignment, type.alignment);
    OpenedResource opened;
    bool fresh = false;
    auto handle = find(name);
    if (!handle && handle.error() == ErrorCode::NotFound) {
      RegisterOptions backed{.driver = driver, .mode = options.mode, .timeout = options.timeout};
      backed.backing = std::make_shared<ConstructedBacking>(type.construct);
      handle = register_typed(name, wanted, std::move(backed), type.tag);
      fresh = handle.has_value();
      // Somebody else was faster: his is opened.
      if (!handle && handle.error() == ErrorCode::AlreadyExists) handle = find(name);
    }
    if (!handle) return std::unexpected(std::move(handle.error()));
    if (!fresh) {
      const auto entry = domain_->view().read(*handle);
      if (!entry) return std::unexpected(entry.error());
      const std::string class_name =
          wanted.class_name.empty() ? std::string(to_string(wanted.type)) : wanted.class_name;
      if (entry->type_tag != type.tag || entry->size_bytes < type.size ||
          entry->type != wanted.type || domain_->class_name(entry->class_id) != class_name ||
          (metadata.size_bytes != 0 && entry->size_bytes != wanted.size_bytes)) {
        return fail(ErrorCode::InvalidArgument, "it exists with another type, class or size");
      }
    }
    auto hold = acquire_scoped_resource(*handle, options, where);
    if (!hold) return std::unexpected(std::move(hold.error()));
    opened.hold = std::move(*hold);
    auto memory = map(*handle);
    // Another process's: what that driver has rights on.
    if (!memory && memory.error() == ErrorCode::NotPermitted) memory = map(*handle, driver);
    if (!memory) return std::unexpected(std::move(memory.error()));
    opened.memory = memory->data();
    return opened;
  });
}

}  // namespace hal
