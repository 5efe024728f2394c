// SPDX-License-Identifier: Apache-2.0
//
// Ring: a loop that waits for resources, and calls back or resumes who asked for them.
//
// What it is: an io_uring of its own, on which acquisitions wait, or an eventfd, where the kernel
// has none that can; for those who have no ring that
// they would rather use with AsyncAcquire. A wait costs one entry, no thread. What it is not: an
// executor for other work, but for what is post()ed to it.
//
// Callbacks, and coroutines that wait here, go on inside poll() or run(), one at a time, under no
// lock; they may call any function of the ring and of the manager, but not destroy the ring, nor
// call poll() or run(). What was had at once is called back too: never inside acquire() itself.
//
// In a loop of the author's own: wait until fd() is readable, at most for patience(), and call
// poll(); also after acquire(), for it is poll() that submits.
//
// Contexts: a thread's own context waits for a resource once; tasks that run beside each other on
// one ring need a context each (ResourceManager::create_context()).
//
// Lifetime: destroying it gives up all its waits; their callbacks are destroyed, not called, and
// coroutines that wait on it are to be destroyed before. Thread-safety: belongs to one thread at a
// time, except post() and stop(), which any thread may call.
//
//   auto ring = hal::Ring::create().value();
//   ring->acquire(manager, handle, {.mode = hal::AcquisitionMode::Blocking},
//                 [](hal::Result<hal::ScopedResource> hold) { use(hold); });
//   ring->run();
//
//   hal::Task<> copy(hal::Ring& ring, ...) {
//     auto hold = co_await ring.acquire(manager, handle, {.mode = hal::AcquisitionMode::Blocking});
//   }
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <span>
#include <utility>
#include <vector>

#include <hal/async_acquire.hpp>
#include <hal/async_acquire_all.hpp>
#include <hal/export.hpp>
#include <hal/refs.hpp>
#include <hal/resource_manager.hpp>

namespace hal {

namespace detail {
template <typename Waits>
class AsioWait;
struct AsioWaits;
}  // namespace detail

struct RingOptions {
  /// Of the submission queue, 1 to 4096; more only mean fewer calls. Waits are not bounded by it.
  unsigned entries = 256;
  /// What wakes it. Doorbell: it has no io_uring, and needs none.
  AsyncPath async_path = AsyncPath::Auto;
};

class HAL_EXPORT Ring {
  struct Single;
  struct Several;
  template <typename Waits>
  class Awaited;

 public:
  using Callback = std::move_only_function<void(Result<ScopedResource>)>;
  using AllCallback = std::move_only_function<void(Result<std::vector<ScopedResource>>)>;
  /// What acquire() of a coroutine is: await it, once.
  using Acquisition = Awaited<Single>;
  /// What acquire_all() of a coroutine is: await it, once.
  using AllAcquisition = Awaited<Several>;
  /// Names a callback's acquisition until it was called back.
  struct Token {
    std::uint64_t value = 0;
  };

  /// Errors: InvalidArgument (entries, path), Unsupported (it was to be Futex, and the kernel's
  /// io_uring has no such operations, or is forbidden), CapacityExceeded (descriptors), System.
  [[nodiscard]] static Result<std::unique_ptr<Ring>> create(RingOptions options = {});
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  /// Acquires, and calls back with the outcome, that of AsyncAcquire. Errors: InvalidArgument
  /// (nothing to call), System (ENOMEM); nothing is called back then.
  Result<Token> acquire(ResourceManager& manager, Handle handle, const AcquireOptions& options,
                        Callback callback,
                        std::source_location where = std::source_location::current());
  /// The same for coroutines of any type: co_await it where it was made. Destroying it, with its
  /// coroutine, say, gives the wait up.
  [[nodiscard]] Acquisition acquire(
      ResourceManager& manager, Handle handle, const AcquireOptions& options = {},
      std::source_location where = std::source_location::current()) noexcept;
  /// Any of several, as ResourceManager::acquire_any(). The list is read before this returns.
  /// Errors: as acquire().
  Result<Token> acquire_any(ResourceManager& manager, Selection& any, const AcquireOptions& options,
                            Callback callback,
                            std::source_location where = std::source_location::current());
  /// The same for coroutines.
  [[nodiscard]] Acquisition acquire_any(
      ResourceManager& manager, Selection& any, const AcquireOptions& options = {},
      std::source_location where = std::source_location::current()) noexcept;
  /// Acquires all of them or none, as ResourceManager::acquire_all(): one is waited for at a time.
  /// `wanted` is read before this returns. Errors: as acquire().
  Result<Token> acquire_all(ResourceManager& manager, std::span<const Wanted> wanted,
                            const AcquireOptions& options, AllCallback callback,
                            std::source_location where = std::source_location::current());
  /// The same for coroutines. (No list in braces: g++ 12 compiles none beside co_await.)
  [[nodiscard]] AllAcquisition acquire_all(
      ResourceManager& manager, std::span<const Wanted> wanted, const AcquireOptions& options = {},
      std::source_location where = std::source_location::current()) noexcept;
  /// Gives an acquisition up; its callback is called with Cancelled, or with what was faster. False
  /// if it has been called.
  bool cancel(Token token) noexcept;

  /// Submits what is new, waits for at most so long until there is something to tell, and tells
  /// it. Returns how much. Errors: System (the kernel refuses the ring). Throws what a callback
  /// throws; whoever was not told then is told by the next call.
  Result<unsigned> poll(std::chrono::nanoseconds at_most = {});
  /// poll()s until nothing is waited for any more, or stop(). Errors: as poll().
  Result<void> run();
  /// Has run() return after what it is just telling, or at once when it is called next.
  void stop() noexcept;
  /// Calls `work` inside poll() or run(). Errors: InvalidArgument (nothing to call), System
  /// (ENOMEM).
  Result<void> post(std::move_only_function<void()> work);
  /// As ResourceManager::on_revoke(), but `callback` is called inside poll() or run(). It goes with
  /// the ring; while nobody polls, nobody is asked. Errors: as there.
  Result<void> on_revoke(ResourceManager& manager, OnRevoke callback, Context* context = nullptr);
  /// Readable when poll() would find something, but for what patience() knows of.
  [[nodiscard]] int fd() const noexcept;
  /// How long fd() may be waited for: not at all if poll() has something to do; until a deadline
  /// that fd() does not tell; 100 ms at most while there is anything to wait for, as AsyncAcquire
  /// says why; for ever (nanoseconds::max()) otherwise.
  [[nodiscard]] std::chrono::nanoseconds patience() const noexcept;
  /// Acquisitions that have no outcome yet, or were not told theirs.
  [[nodiscard]] std::size_t pending() const noexcept;

 private:
  template <typename Waits>
  friend class detail::AsioWait;
  friend struct detail::AsioWaits;
  /// What waits on a ring; at one address while it does.
  struct Pending {
    /// `what`: a Handle, or a Selection.
    template <typename What>
    Pending(ResourceManager& manager, What& what, const AcquireOptions& options,
            std::source_location where, AsyncPath path) noexcept
        : wait(manager, what, options, where, path) {}
    Pending() noexcept = default;
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;
    virtual ~Pending() = default;
    /// Tells the outcome. The ring knows it no more.
    virtual void tell() = 0;
    /// Of what is done: whether that is all. If not, it waits for something else by now.
    [[nodiscard]] virtual bool is_all() noexcept { return true; }
    virtual void cancel() noexcept { (void)wait.cancel(); }

    AsyncAcquire wait;
    std::uint64_t id = 0;  ///< what the ring knows it by; 0: it does not
  };
  /// One.
  struct Single : Pending {
    template <typename What>
    Single(Ring& ring, ResourceManager& manager, What& what, const AcquireOptions& options,
           std::source_location where) noexcept
        : Pending(manager, what, options, where, ring.path()) {}
    /// For who keeps its request as values.
    Single(Ring& ring, ResourceManager& manager, Selection* any, const AcquireOptions& options,
           std::source_location where) noexcept
        : Single(ring, manager, *any, options, where) {}
    [[nodiscard]] Result<ScopedResource> take() noexcept { return wait.take(); }
  };
  struct Called;
  /// Several, which are waited for in turn.
  struct Several : Pending {
    Several(Ring& ring, ResourceManager& manager, std::span<const Wanted> wanted,
            const AcquireOptions& options, std::source_location where) noexcept;
    ~Several() override;
    [[nodiscard]] bool is_all() noexcept final;
    void cancel() noexcept final;
    [[nodiscard]] Result<std::vector<ScopedResource>> take() noexcept;

   private:
    std::unique_ptr<AsyncAcquireAll::Steps> steps_;  ///< null: no memory for them
  };
  struct CalledAll;
  struct [[gnu::visibility("hidden")]] Impl;
  struct [[gnu::visibility("hidden")]] Address;

  explicit Ring(std::unique_ptr<Impl> impl) noexcept;
  [[nodiscard]] AsyncPath path() const noexcept;
  [[nodiscard]] bool add(Pending& pending) noexcept;
  /// Adds a callback's. May throw std::bad_alloc.
  [[nodiscard]] Token own(std::unique_ptr<Pending> made);
  template <typename What>
  Result<Token> call_back(ResourceManager& manager, What& what, const AcquireOptions& options,
                          Callback&& callback, std::source_location where);
  void forget(Pending& pending) noexcept;
  /// No manager finds it any more.
  void leave() noexcept;

  std::unique_ptr<Impl> impl_;
  std::shared_ptr<Address> address_;  ///< null: no manager knows it
};

/// A wait of the ring's, and the coroutine to resume when it is over.
template <typename Waits>
class [[nodiscard]] Ring::Awaited final : private Waits {
 public:
  template <typename... Request>
  explicit Awaited(Ring& ring, ResourceManager& manager, Request&... request) noexcept
      : Waits(ring, manager, request...), ring_(ring) {}
  ~Awaited() override {
    if (this->id != 0) ring_.forget(*this);
  }

  [[nodiscard]] bool await_ready() const noexcept { return this->wait.done(); }
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> waiting) noexcept {
    waiting_ = waiting;
    return ring_.add(*this);
  }
  [[nodiscard]] auto await_resume() noexcept { return this->take(); }

 private:
  void tell() override { waiting_.resume(); }

  Ring& ring_;
  std::coroutine_handle<> waiting_;
};

inline Ring::Acquisition Ring::acquire(ResourceManager& manager, Handle handle,
                                       const AcquireOptions& options,
                                       std::source_location where) noexcept {
  return Acquisition(*this, manager, handle, options, where);
}

inline Ring::Acquisition Ring::acquire_any(ResourceManager& manager, Selection& any,
                                           const AcquireOptions& options,
                                           std::source_location where) noexcept {
  return Acquisition(*this, manager, any, options, where);
}

inline Ring::AllAcquisition Ring::acquire_all(ResourceManager& manager,
                                              std::span<const Wanted> wanted,
                                              const AcquireOptions& options,
                                              std::source_location where) noexcept {
  return AllAcquisition(*this, manager, wanted, options, where);
}

}  // namespace hal
