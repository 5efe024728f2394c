// SPDX-License-Identifier: Apache-2.0
//
// AsioRing, async_acquire() and async_acquire_all(): acquiring as an asynchronous operation of
// Asio.
//
// What it is: these take any completion token (a callback, use_awaitable, use_future, deferred),
// call back through the executor of the handler, use its allocator, and keep run() going until
// then. The outcome is a Result: an error_code could not say who is in the way. What was had at
// once is posted, and the ring has nothing to do with it. AsioRing is a hal::Ring that an execution
// context of Asio polls, and keeps run() going only while something waits. What it is not: needed.
// Nothing else here includes Asio, and only who includes this needs it:
// Boost.Asio (1.74 or later), or Asio without Boost, where HAL_STANDALONE_ASIO is defined.
//
// Cancellation: whatever its type, it ends the wait: Cancelled is the outcome, or what was faster.
// So what a race of operator|| lets fall, or passes on, is never lost. (Of operations one by one
// only where Asio has cancellation slots, as Boost 1.77 does; else see AsioRing::cancel().)
//
// Contexts: tasks that run beside each other need a hal::Context each (AcquireOptions::context),
// and so does each request where more than one thread runs the execution context.
//
// Lifetime: destroying an AsioRing gives up what waits on it, and calls back with Cancelled; may be
// done by who is called back. Destroying the execution context gives up all waits and destroys
// their handlers, and what was granted goes on to the next; the ring is of no use then.
// Thread-safety: that of a socket: distinct rings, any threads; one ring, and what cancels a wait
// on it, one thread at a time, or a strand whose executor the ring has. (The kernel tells what the
// ring waits for when the thread that submitted it calls the kernel. In a strand of several threads
// that may be another one; it is waited for 100 ms at most.)
//
//   hal::AsioRing ring = hal::AsioRing::create(context.get_executor()).value();
//   auto hold = co_await hal::async_acquire(ring, manager, handle,
//                                           {.mode = hal::AcquisitionMode::Blocking},
//                                           boost::asio::use_awaitable);
#pragma once

#include <cerrno>
#include <memory>
#include <new>
#include <source_location>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(HAL_STANDALONE_ASIO)
#include <asio/associated_allocator.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/executor_work_guard.hpp>
#else
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#endif

#include <hal/asio_core.hpp>
#include <hal/async_acquire.hpp>
#include <hal/refs.hpp>
#include <hal/resource_manager.hpp>
#include <hal/ring.hpp>

namespace hal {
inline namespace HAL_ASIO_FLAVOUR {
namespace asio_detail {

/// A handler with its outcome, for an executor.
template <typename Handler, typename Outcome>
struct AsioCompletion {
  // NOLINTBEGIN(readability-identifier-naming): Asio looks for these names
  using allocator_type = net::associated_allocator_t<Handler>;
  // NOLINTEND(readability-identifier-naming)
  [[nodiscard]] allocator_type get_allocator() const noexcept {
    return net::get_associated_allocator(handler);
  }
  void operator()() { std::move(handler)(std::move(outcome)); }

  Handler handler;
  Outcome outcome;
};

/// A wait with its handler, in memory from the handler's allocator.
template <typename Handler, typename Waits>
class AsioOperation final : public AsioWait<Waits> {
  using Allocator = typename std::allocator_traits<
      net::associated_allocator_t<Handler>>::template rebind_alloc<AsioOperation>;
  using Traits = std::allocator_traits<Allocator>;
  using Executor = net::associated_executor_t<Handler, AsioCore::Executor>;
  using typename AsioWait<Waits>::Outcome;
  using Completion = AsioCompletion<Handler, Outcome>;

 public:
  /// Begins it; the handler is called, never from here.
  template <typename... Request>
  static void start(const std::shared_ptr<AsioCore>& core, Handler handler,
                    ResourceManager& manager, const Request&... request) {
    if (!core->ring()) {
      const Executor executor = net::get_associated_executor(handler, core->executor());
      return call(executor,
                  {std::move(handler), resmgr::fail(ErrorCode::Cancelled, "its ring is gone")});
    }
#if defined(HAL_ASIO_HAS_SLOTS)
    auto slot = net::get_associated_cancellation_slot(handler);
#endif
    Allocator allocator(net::get_associated_allocator(handler));
    // For the exceptions of what follows.
    const auto give_back = [&allocator](AsioOperation* memory) {
      Traits::deallocate(allocator, memory, 1);
    };
    std::unique_ptr<AsioOperation, decltype(give_back)> memory(Traits::allocate(allocator, 1),
                                                               give_back);
    auto& made = *::new (static_cast<void*>(memory.get()))
                     AsioOperation(*core, std::move(handler), manager, request...);
    (void)memory.release();
    bool waits = false;
    try {
      waits = core->begin(made);
#if defined(HAL_ASIO_HAS_SLOTS)
      // By number: whoever cancels late finds nobody, or no ring.
      if (waits && slot.is_connected()) {
        slot.assign(
            [ring = std::weak_ptr(core), token = made.token()](net::cancellation_type type) {
              if (type == net::cancellation_type::none) return;
              if (const auto there = ring.lock()) there->cancel(token);
            });
      }
#endif
    } catch (...) {
      made.discard();
      throw;
    }
    if (!waits) made.complete(made.take());
  }
  void complete(Outcome outcome) override {
    Completion completion{std::move(handler_), std::move(outcome)};
    // Its context goes on until it is in the queue there; the ring's has the ring to watch.
    const auto handlers_work = std::move(handlers_work_);
    destroy(Allocator(completion.get_allocator()));
    call(handlers_work.get_executor(), std::move(completion));
  }
  void discard() noexcept override {
    // Who waits has to be gone before the handler, which may own what it waited with.
    const Handler last(std::move(handler_));
    destroy(Allocator(net::get_associated_allocator(last)));
  }

 private:
  template <typename... Request>
  AsioOperation(const AsioCore& core, Handler&& handler, ResourceManager& manager,
                const Request&... request)
      : AsioWait<Waits>(*core.ring(), manager, request...),
        handlers_work_(net::get_associated_executor(handler, core.executor())),
        handler_(std::move(handler)) {}
  ~AsioOperation() override = default;

  static void call(const Executor& executor, Completion completion) {
    net::post(executor, std::move(completion));
  }
  void destroy(Allocator allocator) noexcept {
    this->~AsioOperation();
    Traits::deallocate(allocator, this, 1);
  }

  net::executor_work_guard<Executor> handlers_work_;
  Handler handler_;
};

/// What a completion token begins, now or later.
template <typename Waits>
struct AsioInitiation {
  // NOLINTBEGIN(readability-identifier-naming): Asio looks for these names
  using executor_type = AsioCore::Executor;
  // NOLINTEND(readability-identifier-naming)
  [[nodiscard]] executor_type get_executor() const noexcept { return core->executor(); }
  template <typename Handler, typename... Request>
  void operator()(Handler&& handler, ResourceManager* manager, const Request&... request) const {
    AsioOperation<std::decay_t<Handler>, Waits>::start(core, std::forward<Handler>(handler),
                                                       *manager, request...);
  }
  std::shared_ptr<AsioCore> core;
};

}  // namespace asio_detail

class AsioRing;

/// Acquires, and completes with the outcome, that of AsyncAcquire: void(Result<ScopedResource>).
/// With a token that begins later, manager and context must be there until it does. Throws what
/// copying the handler, its allocator or its executor throw.
template <typename Token>
auto async_acquire(AsioRing& ring, ResourceManager& manager, Handle handle,
                   const AcquireOptions& options, Token&& token,
                   std::source_location where = std::source_location::current());

/// The same for any of several, as ResourceManager::acquire_any(). With a token that begins later,
/// the selection must be there until it does, too.
template <typename Token>
auto async_acquire_any(AsioRing& ring, ResourceManager& manager, Selection& any,
                       const AcquireOptions& options, Token&& token,
                       std::source_location where = std::source_location::current());

/// The same for several, all or nothing, as ResourceManager::acquire_all(): one is waited for at a
/// time. Completes with void(Result<std::vector<ScopedResource>>). `wanted` is copied, so it also
/// throws std::bad_alloc.
template <typename Token>
auto async_acquire_all(AsioRing& ring, ResourceManager& manager, std::span<const Wanted> wanted,
                       const AcquireOptions& options, Token&& token,
                       std::source_location where = std::source_location::current());

/// Where acquisitions of Asio's programs wait. After it was moved from it can only be destroyed or
/// assigned to.
class AsioRing {
 public:
  // NOLINTBEGIN(readability-identifier-naming): Asio looks for these names
  using executor_type = asio_detail::net::any_io_executor;
  // NOLINTEND(readability-identifier-naming)

  /// `executor`: what polls it, and calls handlers that have none of their own. Errors: those of
  /// Ring::create(); System (the execution context can't watch it, or has no memory).
  [[nodiscard]] static Result<AsioRing> create(const executor_type& executor,
                                               RingOptions options = {}) {
    auto ring = Ring::create(options);
    if (!ring) return std::unexpected(std::move(ring.error()));
    try {
      return AsioRing(std::make_shared<asio_detail::AsioCore>(std::move(*ring), executor));
    } catch (const asio_detail::NetSystemError& error) {
      return resmgr::fail_errno(error.code().value(), "a descriptor of Asio's");
    } catch (const std::bad_alloc&) {
      return resmgr::fail_errno(ENOMEM, "a ring of Asio's");
    }
  }
  AsioRing(AsioRing&&) noexcept = default;
  AsioRing& operator=(AsioRing&& other) noexcept {
    if (this != &other) {
      if (core_) core_->close();
      core_ = std::move(other.core_);
    }
    return *this;
  }
  AsioRing(const AsioRing&) = delete;
  AsioRing& operator=(const AsioRing&) = delete;
  ~AsioRing() {
    if (core_) core_->close();
  }

  [[nodiscard]] executor_type get_executor() const noexcept { return core_->executor(); }
  /// Waits without an outcome.
  [[nodiscard]] std::size_t pending() const noexcept { return core_->pending(); }
  /// Gives all waits up: each is called back with Cancelled, or with what was faster.
  void cancel() { core_->cancel_all(); }

 private:
  explicit AsioRing(std::shared_ptr<asio_detail::AsioCore> core) noexcept
      : core_(std::move(core)) {}
  template <typename Token>
  friend auto async_acquire(AsioRing& ring, ResourceManager& manager, Handle handle,
                            const AcquireOptions& options, Token&& token,
                            std::source_location where);
  template <typename Token>
  friend auto async_acquire_any(AsioRing& ring, ResourceManager& manager, Selection& any,
                                const AcquireOptions& options, Token&& token,
                                std::source_location where);
  template <typename Token>
  friend auto async_acquire_all(AsioRing& ring, ResourceManager& manager,
                                std::span<const Wanted> wanted, const AcquireOptions& options,
                                Token&& token, std::source_location where);

  std::shared_ptr<asio_detail::AsioCore> core_;
};

template <typename Token>
auto async_acquire(AsioRing& ring, ResourceManager& manager, Handle handle,
                   const AcquireOptions& options, Token&& token, std::source_location where) {
  return asio_detail::net::async_initiate<Token, void(Result<ScopedResource>)>(
      asio_detail::AsioInitiation<asio_detail::AsioWaits::One>{ring.core_}, token, &manager, handle,
      options, where);
}

template <typename Token>
auto async_acquire_any(AsioRing& ring, ResourceManager& manager, Selection& any,
                       const AcquireOptions& options, Token&& token, std::source_location where) {
  return asio_detail::net::async_initiate<Token, void(Result<ScopedResource>)>(
      asio_detail::AsioInitiation<asio_detail::AsioWaits::One>{ring.core_}, token, &manager, &any,
      options, where);
}

template <typename Token>
auto async_acquire_all(AsioRing& ring, ResourceManager& manager, std::span<const Wanted> wanted,
                       const AcquireOptions& options, Token&& token, std::source_location where) {
  return asio_detail::net::async_initiate<Token, void(Result<std::vector<ScopedResource>>)>(
      asio_detail::AsioInitiation<asio_detail::AsioWaits::All>{ring.core_}, token, &manager,
      std::vector<Wanted>(wanted.begin(), wanted.end()), options, where);
}

}  // namespace HAL_ASIO_FLAVOUR
}  // namespace hal
