// SPDX-License-Identifier: Apache-2.0
//
// ObjectPool: objects that are made once and used again and again.
//
// What it is: T's in the blocks of a Pool. Who is done with one gives it back as it is, and the
// next user finds it so; a check on return says whether it may be used again: if not, it is
// destroyed, and a new one made when it is needed. What it is not: a place for objects of different
// types. Lifetime: all objects are given back before it goes. Thread-safety: all functions from any
// thread; the check runs on the thread that gives back, under no lock.
//
//   auto requests = hal::ObjectPool<Request>::create(std::move(pool), &Request::is_idle).value();
//   auto request = requests->acquire();   // gives itself back at the end of its scope
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include <hal/pool.hpp>

namespace hal {

/// Since the pool was made.
struct ObjectPoolStats {
  std::uint64_t made = 0;       ///< objects that were constructed
  std::uint64_t reused = 0;     ///< acquisitions that found one
  std::uint64_t unhealthy = 0;  ///< that the check refused
  std::uint64_t idle = 0;       ///< now
};

template <typename T>
class ObjectPool {
  static_assert(std::is_nothrow_default_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                "objects are made and destroyed where nothing can be thrown");

 public:
  /// Whether an object that was given back may be used again. Must not throw.
  using Check = std::function<bool(T&)>;
  /// Gives its object back.
  struct Returner {
    ObjectPool* pool = nullptr;
    void operator()(T* object) const noexcept { pool->give_back(object); }
  };
  using Ref = std::unique_ptr<T, Returner>;

  /// Takes the pool. Errors: InvalidArgument (an empty Pool, or its blocks don't fit a T), System.
  [[nodiscard]] static Result<std::unique_ptr<ObjectPool>> create(Pool pool, Check healthy = {}) {
    if (!pool || pool.block_bytes() < sizeof(T) || pool.alignment() < alignof(T)) {
      return resmgr::fail(ErrorCode::InvalidArgument, "blocks that don't fit the objects");
    }
    std::unique_ptr<ObjectPool> made(new (std::nothrow)
                                         ObjectPool(std::move(pool), std::move(healthy)));
    if (!made) return resmgr::fail_errno(ENOMEM, "object pool");
    return made;
  }
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;
  ~ObjectPool() {
    for (T* const object : idle_) destroy(object);
  }

  /// One that was given back last, or a new one. Errors: as Pool::allocate().
  [[nodiscard]] Result<Ref> acquire() noexcept {
    if (T* const found = take_idle()) return Ref(found, Returner{this});
    auto block = pool_.allocate();
    if (!block) return std::unexpected(std::move(block.error()));
    const std::lock_guard lock(mutex_);
    ++stats_.made;
    return Ref(::new (*block) T(), Returner{this});
  }
  [[nodiscard]] ObjectPoolStats stats() const noexcept {
    const std::lock_guard lock(mutex_);
    ObjectPoolStats now = stats_;
    now.idle = idle_.size();
    return now;
  }
  [[nodiscard]] Pool& pool() noexcept { return pool_; }

 private:
  ObjectPool(Pool pool, Check healthy) noexcept
      : pool_(std::move(pool)), healthy_(std::move(healthy)) {}

  [[nodiscard]] T* take_idle() noexcept {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return nullptr;
    T* const found = idle_.back();
    idle_.pop_back();
    ++stats_.reused;
    return found;
  }
  void give_back(T* object) noexcept {
    const bool good = !healthy_ || healthy_(*object);
    {
      const std::lock_guard lock(mutex_);
      if (good && keep(object)) return;
      if (!good) ++stats_.unhealthy;
    }
    destroy(object);
  }
  [[nodiscard]] bool keep(T* object) noexcept try {
    idle_.push_back(object);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
  void destroy(T* object) noexcept {
    object->~T();
    (void)pool_.free(object);
  }

  Pool pool_;
  Check healthy_;
  mutable std::mutex mutex_;  ///< of what follows
  std::vector<T*> idle_;
  ObjectPoolStats stats_;
};

}  // namespace hal
