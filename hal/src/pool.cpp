// SPDX-License-Identifier: Apache-2.0
#include <hal/pool.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <bit>
#include <cerrno>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <hal/resource_manager.hpp>

#include "hal/src/guard.hpp"
#include "resmgr/base/hash.hpp"
#include "resmgr/client/domain.hpp"
#include "resmgr/pool/block_pool.hpp"

namespace hal {
namespace {

using resmgr::fail;
using resmgr::client::Domain;
using resmgr::pool::BlockPool;
using resmgr::pool::PoolGeometry;
using resmgr::pool::PoolPayer;

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
          .flags = ResourceFlags::Shareable,
          .pairs = {{"block_bytes", std::to_string(options.block_bytes)},
                    {"max_blocks", std::to_string(options.max_blocks)}}};
}

// What has to be the same for a pool to be adopted by who is restarted.
std::uint64_t tag_of(const PoolGeometry& geometry) noexcept {
  const std::array<std::uint64_t, 3> shape{geometry.block_bytes, geometry.alignment,
                                           geometry.capacity};
  return resmgr::fnv1a(std::bit_cast<std::array<unsigned char, sizeof shape>>(shape)) | 1;
}

PoolPayer payer_of(const std::shared_ptr<Charges>& charges) {
  return {.may_grow =
              [charges](std::uint64_t bytes) {
                return guard("pool", [&] { return charges->add(bytes); });
              },
          .gave_up = [charges](std::uint64_t bytes) { charges->remove(bytes); }};
}

Result<std::shared_ptr<Charges>> make_charges(ResourceManager& manager, DriverId driver) {
  auto context = manager.create_context(driver);
  if (!context) return std::unexpected(std::move(context.error()));
  return std::make_shared<Charges>(manager, std::move(*context));
}

Result<bool> is_same_file(int one, int other) noexcept {
  struct stat first{};
  struct stat second{};
  if (::fstat(one, &first) != 0 || ::fstat(other, &second) != 0) {
    return resmgr::fail_errno(errno, "fstat");
  }
  return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

}  // namespace

struct Pool::Impl {
  /// A pool that others made, or that was adopted from who made it.
  [[nodiscard]] static Result<std::unique_ptr<Impl>> open(ResourceManager& manager, UniqueFd file,
                                                          Handle handle,
                                                          const PoolAttachOptions& options) {
    auto charges = make_charges(manager, options.driver);
    if (!charges) return std::unexpected(std::move(charges.error()));
    auto pool = BlockPool::attach(std::move(file),
                                  {.initial_blocks = std::numeric_limits<std::uint32_t>::max(),
                                   .owner = manager.domain()->block_owner(),
                                   .thread_safe = options.thread_safe,
                                   .payer = payer_of(*charges),
                                   .adaptive = options.adaptive});
    if (!pool) return std::unexpected(std::move(pool.error()));
    auto impl = std::make_unique<Impl>(std::move(*charges), std::move(*pool), handle);
    if (auto listed = impl->list(manager); !listed) {
      return std::unexpected(std::move(listed.error()));
    }
    return impl;
  }
  [[nodiscard]] Result<void> list(ResourceManager& manager) {
    if (manager.domain()->pools().add(handle, pool)) return {};
    return fail(ErrorCode::Disconnected, kClass);
  }
  /// Of what this process has just registered, and may have adopted.
  [[nodiscard]] static Result<std::unique_ptr<Impl>> settle(ResourceManager& manager,
                                                            std::unique_ptr<Impl> made,
                                                            const PoolOptions& options);

  std::shared_ptr<Charges> charges;
  std::shared_ptr<BlockPool> pool;
  Handle handle;
  bool owns = false;

  Impl(std::shared_ptr<Charges> its_charges, std::shared_ptr<BlockPool> its_pool, Handle its_handle)
      : charges(std::move(its_charges)), pool(std::move(its_pool)), handle(its_handle) {}
};

// The daemon kept the pool that others have blocks of, if there was one: that one it is, and who
// owns it pays for it.
Result<std::unique_ptr<Pool::Impl>> Pool::Impl::settle(ResourceManager& manager,
                                                       std::unique_ptr<Impl> made,
                                                       const PoolOptions& options) {
  Domain& domain = *manager.domain();
  auto file = domain.authority().open_file(made->handle, Rights::Read | Rights::Write);
  if (!file) return std::unexpected(std::move(file.error()));
  const auto same = is_same_file(file->get(), made->pool->region().fd());
  if (!same) return std::unexpected(same.error());
  if (*same) return made;
  auto copy = file->duplicate();
  if (!copy) return std::unexpected(std::move(copy.error()));
  domain.replace_file(made->handle, std::move(*copy));
  const Handle handle = made->handle;
  made.reset();
  auto adopted = open(
      manager, std::move(*file), handle,
      {.thread_safe = options.thread_safe, .adaptive = options.adaptive, .driver = options.driver});
  if (!adopted) return adopted;
  (*adopted)->owns = true;
  BlockPool& pool = *(*adopted)->pool;
  const std::uint64_t stride = pool.region().geometry().stride;
  if (auto paid = (*adopted)->charges->add(pool.depot().limit() * stride); !paid) {
    return std::unexpected(std::move(paid.error()));
  }
  if (auto grown = pool.reserve(options.initial_blocks); !grown) {
    return std::unexpected(std::move(grown.error()));
  }
  return adopted;
}

Pool::Pool() noexcept = default;
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;
Pool::~Pool() = default;
Pool::Pool(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<Pool> Pool::create(ResourceManager& manager, std::string_view name,
                          const PoolOptions& options) {
  return guard("pool", [&]() -> Result<Pool> {
    auto charges = make_charges(manager, options.driver);
    if (!charges) return std::unexpected(std::move(charges.error()));
    Domain& domain = *manager.domain();
    PoolPlacement placement = options.placement;
    // Whoever has such pages can take them away from all others, the daemon included.
    if (domain.is_served() && placement.huge_pages == HugePages::Reserved) {
      placement.huge_pages = HugePages::Transparent;
    }
    auto pool = BlockPool::create({.shape = {.block_bytes = options.block_bytes,
                                             .max_blocks = options.max_blocks,
                                             .alignment = options.alignment},
                                   .initial_blocks = options.initial_blocks,
                                   .name = "hal-pool",
                                   .owner = domain.block_owner(),
                                   .thread_safe = options.thread_safe,
                                   .payer = payer_of(*charges),
                                   .placement = std::move(placement),
                                   .adaptive = options.adaptive});
    if (!pool) return std::unexpected(std::move(pool.error()));
    auto impl = std::make_unique<Impl>(std::move(*charges), std::move(*pool), Handle());
    impl->owns = true;
    UniqueFd file(::fcntl(impl->pool->region().fd(), F_DUPFD_CLOEXEC, 0));
    if (!file) return resmgr::fail_errno(errno, "fcntl(F_DUPFD_CLOEXEC)");
    auto handle = manager.register_typed(name, metadata_of(options),
                                         {.driver = options.driver, .fd = std::move(file)},
                                         tag_of(impl->pool->region().geometry()));
    if (!handle) return std::unexpected(std::move(handle.error()));
    impl->handle = *handle;
    if (auto listed = impl->list(manager); !listed) {
      return std::unexpected(std::move(listed.error()));
    }
    if (!domain.is_served()) return Pool(std::move(impl));
    auto settled = Impl::settle(manager, std::move(impl), options);
    if (!settled) return std::unexpected(std::move(settled.error()));
    return Pool(std::move(*settled));
  });
}

Result<Pool> Pool::attach(ResourceManager& manager, std::string_view name,
                          const PoolAttachOptions& options) {
  const auto handle = manager.find(name);
  if (!handle) return std::unexpected(handle.error());
  return attach(manager, *handle, options);
}

Result<Pool> Pool::attach(ResourceManager& manager, Handle pool, const PoolAttachOptions& options) {
  return guard("pool", [&]() -> Result<Pool> {
    const auto info = manager.info(pool);
    if (!info) return std::unexpected(info.error());
    if (info->metadata.type != ResourceType::Memory || info->metadata.class_name != kClass) {
      return fail(ErrorCode::InvalidArgument, "not a pool");
    }
    auto file = manager.fd(pool, options.driver);
    if (!file) return std::unexpected(std::move(file.error()));
    auto impl = Impl::open(manager, std::move(*file), info->handle, options);
    if (!impl) return std::unexpected(std::move(impl.error()));
    return Pool(std::move(*impl));
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

Result<std::uint32_t> Pool::number_of(const void* block) const noexcept {
  if (!impl_) return fail(ErrorCode::Disconnected, kClass);
  const auto number = impl_->pool->find_number(block);
  if (!number) return fail(ErrorCode::InvalidArgument, "not a block of the pool");
  return *number;
}

Result<void*> Pool::block(std::uint32_t number) const noexcept {
  if (!impl_) return fail(ErrorCode::Disconnected, kClass);
  const resmgr::pool::PoolTables& tables = impl_->pool->region().tables();
  if (number >= tables.capacity) return fail(ErrorCode::InvalidArgument, "no block of the pool");
  return tables.block(number);
}

Result<void> Pool::adopt(void* block) noexcept {
  const ErrorCode code = impl_ ? impl_->pool->adopt(block) : ErrorCode::Disconnected;
  if (code == ErrorCode{}) return {};
  return fail(code, code == ErrorCode::InvalidArgument ? "not a block, or not allocated" : kClass);
}

Result<void> Pool::reserve(std::uint32_t blocks) noexcept {
  if (!impl_) return fail(ErrorCode::Disconnected, "pool");
  return impl_->pool->reserve(blocks);
}

std::uint32_t Pool::shrink(std::uint32_t blocks) noexcept {
  return impl_ && impl_->owns ? impl_->pool->shrink(blocks) : 0;
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
