// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/block_pool.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "resmgr/pool/pool_forks.hpp"

namespace resmgr::pool {
namespace {

std::uint64_t next_serial() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(kSerialUnit, std::memory_order_relaxed) + kSerialUnit;
}

constexpr const char* kClosed = "the pool was closed, or is its parent's";
/// How often others may get in between.
constexpr int kAttempts = 64;
/// So many magazines may lie idle, full, before they keep a thread from half of a small pool.
constexpr std::uint32_t kMagazineShare = 16;

std::uint32_t magazine_blocks(const PoolGeometry& geometry, bool thread_safe) noexcept {
  const std::uint32_t share = thread_safe ? geometry.capacity / kMagazineShare : geometry.capacity;
  return std::clamp(share, std::uint32_t{1}, Magazine::kMost);
}

void add(MagazineCounts& sum, const MagazineCounts& more) noexcept {
  sum.freed += more.freed;
  sum.foreign += more.foreign;
  sum.taken += more.taken;
  sum.returned += more.returned;
  sum.refills += more.refills;
  sum.overflows += more.overflows;
  sum.cached += more.cached;
}

void raise(std::atomic<std::uint32_t>& mark, std::uint32_t to) noexcept {
  std::uint32_t seen = mark.load(std::memory_order_relaxed);
  while (to > seen && !mark.compare_exchange_weak(seen, to, std::memory_order_relaxed)) {
  }
}

void* refused(Error* why, Error error) noexcept {
  if (why) *why = std::move(error);
  return nullptr;
}

}  // namespace

// ---- making and closing -------------------------------------------------------------------------

Result<std::shared_ptr<BlockPool>> BlockPool::create(PoolSettings settings) {
  if (settings.initial_blocks > settings.shape.max_blocks) {
    return fail(ErrorCode::InvalidArgument, "a pool begins with more blocks than it may have");
  }
  const std::uint32_t initial = settings.initial_blocks;
  auto region = make_region(settings);
  if (!region) return std::unexpected(std::move(region.error()));
  auto pool = make(std::move(*region), std::move(settings));
  if (!pool) return pool;
  BlockPool& made = **pool;
  auto pages = apply_policy(made.region_.blocks(), made.placement_,
                            made.region_.geometry().huge_pages, made.calls_);
  if (!pages) return std::unexpected(std::move(pages.error()));
  made.pages_ = *pages;
  if (initial == 0) return pool;
  if (auto grown = (*pool)->reserve(initial); !grown) {
    return std::unexpected(std::move(grown.error()));
  }
  return pool;
}

// Huge pages that were set apart, or those that the kernel joins.
Result<PoolRegion> BlockPool::make_region(PoolSettings& settings) noexcept {
  Placement& placement = settings.placement;
  if (auto good = check_placement(placement); !good) {
    return std::unexpected(std::move(good.error()));
  }
  settings.shape.huge_pages = placement.huge_pages == HugePages::Reserved;
  auto region = PoolRegion::create(settings.shape, settings.name.c_str());
  if (region || !settings.shape.huge_pages) return region;
  placement.huge_pages = HugePages::Transparent;
  settings.shape.huge_pages = false;
  return PoolRegion::create(settings.shape, settings.name.c_str());
}

Result<std::shared_ptr<BlockPool>> BlockPool::attach(UniqueFd fd, PoolSettings settings) {
  auto region = PoolRegion::attach(std::move(fd));
  if (!region) return std::unexpected(std::move(region.error()));
  return make(std::move(*region), std::move(settings));
}

Result<std::shared_ptr<BlockPool>> BlockPool::make(PoolRegion region, PoolSettings settings) {
  if (settings.owner == 0 || settings.owner > RM_POOL_MAX_OWNER) {
    return fail(ErrorCode::InvalidArgument, "owner of blocks");
  }
  const bool thread_safe = settings.thread_safe;
  std::shared_ptr<BlockPool> pool(new BlockPool(std::move(region), std::move(settings)));
  if (!thread_safe) pool->sole_ = pool->add_magazine();
  PoolForks::add(*pool);
  return pool;
}

BlockPool::BlockPool(PoolRegion region, PoolSettings settings) noexcept
    : serial_(next_serial()),
      region_(std::move(region)),
      depot_(region_.tables()),
      owner_(settings.owner),
      magazine_blocks_(magazine_blocks(region_.geometry(), settings.thread_safe)),
      payer_(std::move(settings.payer)),
      placement_(std::move(settings.placement)),
      calls_(settings.calls ? *settings.calls : MemoryCalls::of_the_system()),
      adaptive_(settings.adaptive),
      sizing_(settings.initial_blocks) {}

BlockPool::~BlockPool() {
  PoolForks::remove(*this);
  const bool flushes = !closed();
  magazines_.clear_and_dispose([&](Magazine* magazine) {
    if (flushes) magazine->flush(depot_);
    delete magazine;
  });
}

void BlockPool::close() noexcept {
  const std::lock_guard lock(mutex_);
  if (closed_.exchange(true, std::memory_order_relaxed)) return;
  for (Magazine& magazine : magazines_) magazine.close(depot_);
}

void BlockPool::after_fork_in_child() noexcept {
  closed_.store(true, std::memory_order_relaxed);
  sole_ = nullptr;
  mutex_.unlock();
}

// ---- magazines
// ------------------------------------------------------------------------------------

Magazine* BlockPool::add_magazine() {
  const std::lock_guard lock(mutex_);
  // Threads begin apart from each other, so that they rarely meet in a group.
  const std::uint32_t groups = region_.tables().groups;
  const std::uint32_t begin = made_++ % kMagazineShare * (groups / kMagazineShare);
  auto magazine = std::make_unique<Magazine>(region_.tables(), owner_, magazine_blocks_, begin);
  magazines_.push_back(*magazine);
  return magazine.release();
}

Magazine* BlockPool::find_magazine() noexcept try {
  if (sole_) return sole_;
  ThreadMagazines* const mine = ThreadMagazines::of_this_thread();
  if (!mine) return nullptr;
  if (Magazine* const found = mine->find(serial_)) return found;
  mine->reserve();
  Magazine* const made = add_magazine();
  mine->add(serial_, weak_from_this(), made);
  return made;
} catch (const std::bad_alloc&) {
  return nullptr;
}

// Under the lock, as close() is: of a thread that ends and a domain that closes one is first.
void BlockPool::close_magazine(Magazine& magazine) noexcept {
  const std::lock_guard lock(mutex_);
  if (closed()) return;
  magazine.flush(depot_);
  add(gone_, magazine.counts());
  magazines_.erase_and_dispose(magazines_.iterator_to(magazine),
                               [](Magazine* gone) { delete gone; });
}

void BlockPool::flush() noexcept {
  if (closed()) return;
  if (Magazine* const magazine = this->magazine()) magazine->flush(depot_);
}

// ---- allocating
// -----------------------------------------------------------------------------------

Result<void*> BlockPool::allocate() noexcept {
  Magazine* const magazine = this->magazine();
  void* block = magazine ? magazine->pop() : nullptr;
  if (block) [[likely]]
    return block;
  Error why(ErrorCode::PoolExhausted);
  block = allocate_slowly(&why);
  if (!block) return std::unexpected(std::move(why));
  return block;
}

void* BlockPool::allocate_slowly(Error* why) noexcept {
  if (closed()) return refused(why, Error(ErrorCode::Disconnected, kClosed));
  if (Magazine* const magazine = find_magazine()) return allocate_from(*magazine, why);
  // A thread that is ending, or has no memory for one: a magazine for this one block.
  Magazine passing(region_.tables(), owner_, 1, 0);
  void* const block = allocate_from(passing, why);
  const std::lock_guard lock(mutex_);
  add(gone_, passing.counts());
  return block;
}

void* BlockPool::allocate_from(Magazine& magazine, Error* why) noexcept {
  for (int attempts = 0; attempts < kAttempts; ++attempts) {
    do {
      if (void* const block = magazine.pop()) return block;
    } while (drop_spoiled(magazine));
    if (magazine.refill(depot_, owner_) != 0) {
      look_at_peak();
    } else if (!grow(why)) {
      return nullptr;
    }
  }
  // Others were quicker, each time.
  return refused(why, std::move(Error(ErrorCode::PoolExhausted, "pool").with_amounts(1, 0)));
}

bool BlockPool::drop_spoiled(Magazine& magazine) noexcept {
  if (!magazine.drop_spoiled()) return false;
  depot_.note_refused(1);
  return true;
}

// All words are looked through, so once in as many refills as that takes no notable time of.
void BlockPool::look_at_peak() noexcept {
  const std::uint32_t left = refills_until_look_.load(std::memory_order_relaxed);
  if (left != 0) {
    refills_until_look_.store(left - 1, std::memory_order_relaxed);
    return;
  }
  constexpr std::uint32_t kWordsARefill = 8;
  refills_until_look_.store(region_.tables().groups / kWordsARefill, std::memory_order_relaxed);
  const std::uint32_t taken = depot_.count_taken();
  raise(peak_, taken);
  raise(recent_peak_, taken);
}

// ---- freeing
// --------------------------------------------------------------------------------------

Result<void> BlockPool::free(void* block) noexcept {
  const ErrorCode code = try_free(block);
  if (code == ErrorCode{}) [[likely]]
    return {};
  return fail(code, code == ErrorCode::InvalidArgument ? "not a block of the pool, or not allocated"
                                                       : kClosed);
}

ErrorCode BlockPool::free_slowly(void* block) noexcept {
  if (closed()) return ErrorCode::Disconnected;
  if (Magazine* const magazine = find_magazine()) return free_into(*magazine, block);
  Magazine passing(region_.tables(), owner_, 1, 0);
  const ErrorCode code = free_into(passing, block);
  passing.flush(depot_);
  const std::lock_guard lock(mutex_);
  add(gone_, passing.counts());
  return code;
}

ErrorCode BlockPool::free_into(Magazine& magazine, void* block) noexcept {
  if (magazine.push(block)) return ErrorCode{};
  std::uint16_t* const tag = magazine.tag_of(block);
  if (!tag) return ErrorCode::InvalidArgument;
  if (!magazine.has_room()) magazine.make_room(depot_);
  const std::uint16_t seen = load_relaxed(*tag);
  if (seen == allocated_tag(owner_)) {
    return magazine.push(block) ? ErrorCode{} : ErrorCode::InvalidArgument;
  }
  if (!depot_.take_over(*tag, seen, cached_tag(owner_))) return ErrorCode::InvalidArgument;
  magazine.push_foreign(block, tag);
  return ErrorCode{};
}

ErrorCode BlockPool::adopt(void* block) noexcept {
  if (closed()) return ErrorCode::Disconnected;
  const auto number = find_number(block);
  if (!number) return ErrorCode::InvalidArgument;
  std::uint16_t& tag = region_.tables().tags[*number];
  const bool good = depot_.take_over(tag, load_relaxed(tag), allocated_tag(owner_));
  return good ? ErrorCode{} : ErrorCode::InvalidArgument;
}

// ---- growing and shrinking
// ------------------------------------------------------------------------

Result<void> BlockPool::grow_by(std::uint32_t seen, std::uint32_t blocks) noexcept {
  const std::uint64_t bytes = blocks * region_.geometry().stride;
  if (payer_.may_grow) {
    if (auto paid = payer_.may_grow(bytes); !paid) return paid;
  }
  auto ready = make_ready(memory_of(seen, seen + blocks), placement_, calls_);
  // Somebody else changed it: they pay for that, and we look again.
  if ((!ready || !depot_.grow(seen, seen + blocks)) && payer_.gave_up) payer_.gave_up(bytes);
  return ready;
}

std::span<std::byte> BlockPool::memory_of(std::uint32_t begin, std::uint32_t end) const noexcept {
  const std::uint64_t stride = region_.geometry().stride;
  return region_.blocks().subspan(begin * stride, (end - begin) * stride);
}

// By half of what there is, so that the number of times is small; where that is too much for
// whoever pays, by what a magazine takes.
bool BlockPool::grow(Error* why) noexcept {
  const std::uint32_t capacity = region_.tables().capacity;
  const std::uint32_t seen = depot_.limit();
  raise(peak_, seen);
  raise(recent_peak_, seen);
  if (seen >= capacity) {
    (void)refused(why, std::move(Error(ErrorCode::PoolExhausted, "pool").with_amounts(1, 0)));
    return false;
  }
  const std::uint32_t least = std::min(magazine_blocks_.load(), capacity - seen);
  const std::uint32_t more = std::clamp(seen / 2, least, capacity - seen);
  auto grown = grow_by(seen, more);
  if (!grown && more > least) grown = grow_by(seen, least);
  if (!grown && least > 1) grown = grow_by(seen, 1);
  if (!grown) (void)refused(why, std::move(grown.error()));
  return grown.has_value();
}

Result<void> BlockPool::reserve(std::uint32_t blocks) noexcept {
  if (blocks > region_.tables().capacity) {
    return std::unexpected(std::move(
        Error(ErrorCode::PoolExhausted, "pool").with_amounts(blocks, region_.tables().capacity)));
  }
  if (closed()) return fail(ErrorCode::Disconnected, kClosed);
  for (int attempts = 0; attempts < kAttempts; ++attempts) {
    const std::uint32_t seen = depot_.limit();
    if (seen >= blocks) return {};
    if (auto grown = grow_by(seen, blocks - seen); !grown) return grown;
  }
  return fail(ErrorCode::WouldBlock, "others change the size of the pool all the time");
}

std::uint32_t BlockPool::shrink(std::uint32_t blocks) noexcept {
  if (closed()) return 0;
  std::uint32_t given_up = 0;
  depot_.shrink(owner_, blocks, [&](std::uint32_t begin, std::uint32_t end) {
    if (placement_.lock) calls_.unlock(region_.whole_pages(begin, end));
    region_.discard(begin, end);
    given_up = end - begin;
  });
  const std::uint64_t bytes = given_up * region_.geometry().stride;
  given_up_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (given_up != 0 && payer_.gave_up) payer_.gave_up(bytes);
  return given_up;
}

// ---- numbers
// --------------------------------------------------------------------------------------

std::optional<std::uint32_t> BlockPool::find_number(const void* block) const noexcept {
  const PoolTables& tables = region_.tables();
  const auto offset =
      reinterpret_cast<std::uintptr_t>(block) - reinterpret_cast<std::uintptr_t>(tables.blocks);
  if (offset >= tables.blocks_bytes) return {};
  const std::uint64_t number = tables.numbers.at(offset);
  if (number * tables.stride != offset) return {};
  return static_cast<std::uint32_t>(number);
}

Result<NodePages> BlockPool::nodes() const {
  return count_pages(memory_of(0, depot_.limit()), calls_);
}

std::uint32_t BlockPool::number_of(const void* block) const noexcept {
  const auto offset =
      static_cast<std::uint64_t>(static_cast<const std::byte*>(block) - region_.tables().blocks);
  return static_cast<std::uint32_t>(region_.tables().numbers.at(offset));
}

PoolStatistics BlockPool::statistics() const noexcept {
  const Census census = depot_.count();
  const rm_pool_control& control = *region_.tables().control;
  PoolStatistics now{.block_bytes = region_.geometry().block_bytes,
                     .capacity = region_.geometry().capacity,
                     .limit = census.limit,
                     .used = census.allocated,
                     .cached = census.cached,
                     .free = census.in_depot,
                     .split = census.split,
                     .refused = load_relaxed(control.refused),
                     .recovered = load_relaxed(control.recovered)};
  now.peak = std::max(peak_.load(std::memory_order_relaxed), census.allocated + census.cached);
  const std::lock_guard lock(mutex_);
  const MagazineCounts sum = sum_of_counts();
  now.magazines = static_cast<std::uint32_t>(magazines_.size());
  now.allocations = sum.allocated();
  now.frees = sum.freed + sum.foreign;
  now.refills = sum.refills;
  now.overflows = sum.overflows;
  now.magazine_blocks = magazine_blocks_.load(std::memory_order_relaxed);
  now.adaptations = adaptations_.load(std::memory_order_relaxed);
  now.given_up_bytes = given_up_bytes_.load(std::memory_order_relaxed);
  now.pages = pages_;
  return now;
}

MagazineCounts BlockPool::sum_of_counts() const noexcept {
  MagazineCounts sum = gone_;
  for (const Magazine& magazine : magazines_) add(sum, magazine.counts());
  return sum;
}

Adaptation BlockPool::adapt() noexcept {
  const std::uint32_t limit = depot_.limit();
  const std::uint32_t before = magazine_blocks_.load(std::memory_order_relaxed);
  Adaptation done{.magazine_blocks_before = before,
                  .magazine_blocks = before,
                  .limit_before = limit,
                  .limit = limit};
  if (!adaptive_ || closed()) return done;
  const std::uint32_t taken = depot_.count_taken();
  raise(peak_, taken);
  Load load{.capacity = region_.tables().capacity, .limit = limit, .magazine_blocks = before};
  load.peak = std::max(recent_peak_.exchange(taken, std::memory_order_relaxed), taken);
  Decision decision;
  {
    const std::lock_guard lock(mutex_);
    const MagazineCounts sum = sum_of_counts();
    load.magazines = static_cast<std::uint32_t>(magazines_.size());
    load.allocations = sum.allocated() - adapted_at_.allocated();
    load.refills = sum.refills - adapted_at_.refills;
    adapted_at_ = sum;
    decision = sizing_.decide(load);
    for (Magazine& magazine : magazines_) magazine.set_limit(decision.magazine_blocks);
    magazine_blocks_.store(decision.magazine_blocks, std::memory_order_relaxed);
  }
  done.magazine_blocks = decision.magazine_blocks;
  if (decision.limit < limit) {
    const std::uint32_t fewer = shrink(decision.limit);
    done.limit = limit - fewer;
    done.saved_bytes = fewer * region_.geometry().stride;
  }
  if (done.changed()) adaptations_.fetch_add(1, std::memory_order_relaxed);
  return done;
}

}  // namespace resmgr::pool
