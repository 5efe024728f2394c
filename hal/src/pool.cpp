// SPDX-License-Identifier: Apache-2.0
#include <hal/pool.hpp>

#include <fcntl.h>

#include <cerrno>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <hal/resource_manager.hpp>

#include "hal/src/guard.hpp"
#include "resmgr/pool/block_pool.hpp"

namespace hal {
namespace {

using resmgr::fail;
using resmgr::pool::BlockPool;

constexpr const char* kClass = "pool";

/// What the pool grew by, charged to its driver.
class Charges {
 public:
  Charges(ResourceManager& manager, Context context)
      : manager_(manager), context_(std::move(context)) {}

  [[nodiscard]] Result<void> add(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    charges_.reserve(charges_.size() + 1);
    auto charge = manager_.charge(ResourceType::Memory, bytes, {.context = &context_});
    if (!charge) return std::unexpected(std::move(charge.error()));
    charges_.push_back(std::move(*charge));
    return {};
  }
  // The latest first. Of one that is larger the rest is charged anew before it is given back; where
  // that can't be, it stays.
  void remove(std::uint64_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    while (!charges_.empty() && bytes != 0) {
      const std::uint64_t amount = charges_.back().amount();
      if (amount > bytes) {
        auto rest = manager_.charge(ResourceType::Memory, amount - bytes, {.context = &context_});
        if (rest) charges_.back() = std::move(*rest);
        return;
      }
      bytes -= amount;
      charges_.pop_back();
    }
  }

 private:
  ResourceManager& manager_;
  Context context_;
  std::mutex mutex_;
  std::vector<BudgetCharge> charges_;
};

ResourceMetadata metadata_of(const PoolOptions& options) {
  // No size: what there is of it is charged as it grows.
  return {.type = ResourceType::Memory,
          .class_name = kClass,
          .pairs = {{"block_bytes", std::to_string(options.block_bytes)},
                    {"max_blocks", std::to_string(options.max_blocks)}}};
}

}  // namespace

struct Pool::Impl {
  std::shared_ptr<Charges> charges;
  std::shared_ptr<BlockPool> pool;
  Handle handle;
};

Pool::Pool() noexcept = default;
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;
Pool::~Pool() = default;
Pool::Pool(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<Pool> Pool::create(ResourceManager& manager, std::string_view name,
                          const PoolOptions& options) {
  return guard("pool", [&]() -> Result<Pool> {
    // Nobody would take back there what a dead process had.
    if (manager.is_served()) return fail(ErrorCode::Unsupported, "pools of served domains");
    auto context = manager.create_context(options.driver);
    if (!context) return std::unexpected(std::move(context.error()));
    auto impl = std::make_unique<Impl>();
    impl->charges = std::make_shared<Charges>(manager, std::move(*context));
    auto pool = BlockPool::create(
        {.shape = {.block_bytes = options.block_bytes,
                   .max_blocks = options.max_blocks,
                   .alignment = options.alignment},
         .initial_blocks = options.initial_blocks,
         .name = "hal-pool",
         .thread_safe = options.thread_safe,
         .payer = {
             .may_grow =
                 [charges = impl->charges](std::uint64_t bytes) {
                   return guard("pool", [&] { return charges->add(bytes); });
                 },
             .gave_up = [charges = impl->charges](std::uint64_t bytes) { charges->remove(bytes); }},
         .placement = options.placement,
         .adaptive = options.adaptive});
    if (!pool) return std::unexpected(std::move(pool.error()));
    impl->pool = std::move(*pool);
    UniqueFd file(::fcntl(impl->pool->region().fd(), F_DUPFD_CLOEXEC, 0));
    if (!file) return resmgr::fail_errno(errno, "fcntl(F_DUPFD_CLOEXEC)");
    auto handle = manager.register_resource(name, metadata_of(options),
                                            {.driver = options.driver, .fd = std::move(file)});
    if (!handle) return std::unexpected(std::move(handle.error()));
    impl->handle = *handle;
    return Pool(std::move(impl));
  });
}

void* Pool::try_allocate() noexcept { return impl_ ? impl_->pool->try_allocate() : nullptr; }

Result<void*> Pool::allocate() noexcept {
  if (!impl_) return fail(ErrorCode::Disconnected, "pool");
  return impl_->pool->allocate();
}

Result<void> Pool::free(void* block) noexcept {
  if (!impl_) return fail(ErrorCode::Disconnected, "pool");
  return impl_->pool->free(block);
}

void Pool::flush() noexcept {
  if (impl_) impl_->pool->flush();
}

Result<void> Pool::reserve(std::uint32_t blocks) noexcept {
  if (!impl_) return fail(ErrorCode::Disconnected, "pool");
  return impl_->pool->reserve(blocks);
}

std::uint32_t Pool::shrink(std::uint32_t blocks) noexcept {
  return impl_ ? impl_->pool->shrink(blocks) : 0;
}

PoolAdaptation Pool::adapt() noexcept { return impl_ ? impl_->pool->adapt() : PoolAdaptation(); }

PoolStats Pool::stats() const noexcept { return impl_ ? impl_->pool->statistics() : PoolStats(); }

std::uint64_t Pool::block_bytes() const noexcept {
  return impl_ ? impl_->pool->region().geometry().block_bytes : 0;
}

std::uint64_t Pool::alignment() const noexcept {
  return impl_ ? impl_->pool->region().geometry().alignment : 0;
}

Handle Pool::handle() const noexcept { return impl_ ? impl_->handle : Handle(); }

}  // namespace hal
