// SPDX-License-Identifier: Apache-2.0
//
// AsioCore: what hal/asio.hpp is made of, but for its templates. Include that.
//
// What it is: a hal::Ring in an execution context of Asio: the context watches its descriptor,
// polls it, and knows it, so that its waits end where the context does. What it is not: an
// interface. Lifetime: shared by an AsioRing and what is queued in the context. Thread-safety: one
// thread at a time, or a strand.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <source_location>
#include <utility>
#include <vector>

#if defined(HAL_STANDALONE_ASIO)
#include <asio/any_io_executor.hpp>
#include <asio/error.hpp>
#include <asio/execution_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#if __has_include(<asio/associated_cancellation_slot.hpp>)
#include <asio/associated_cancellation_slot.hpp>
#define HAL_ASIO_HAS_SLOTS
#endif
#define HAL_ASIO_FLAVOUR of_standalone_asio
#else
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#if __has_include(<boost/asio/associated_cancellation_slot.hpp>)
#include <boost/asio/associated_cancellation_slot.hpp>
#define HAL_ASIO_HAS_SLOTS
#endif
#define HAL_ASIO_FLAVOUR of_boost_asio
#endif

#include <hal/async_acquire.hpp>
#include <hal/refs.hpp>
#include <hal/resource_manager.hpp>
#include <hal/ring.hpp>

namespace hal {

namespace detail {

/// A wait in the list of its ring's, until it is over.
class AsioListed {
 public:
  AsioListed(const AsioListed&) = delete;
  AsioListed& operator=(const AsioListed&) = delete;
  /// Gives it up, and calls back with what was faster, or Cancelled; or, if not null, with `why`
  /// instead of that. It is gone.
  virtual void end(const Error* why) noexcept = 0;
  /// Calls nobody back, and is gone.
  virtual void discard() noexcept = 0;
  [[nodiscard]] virtual Ring::Token token() const noexcept = 0;

  [[nodiscard]] AsioListed* next() const noexcept { return next_; }
  void unlink() noexcept {
    *self_ = next_;
    if (next_) next_->self_ = self_;
    self_ = nullptr;
  }

 protected:
  AsioListed() noexcept = default;
  ~AsioListed() {
    if (self_) unlink();
  }
  void link(AsioListed*& list) noexcept {
    next_ = list;
    if (next_) next_->self_ = &next_;
    list = this;
    self_ = &list;
  }

 private:
  AsioListed* next_ = nullptr;
  AsioListed** self_ = nullptr;  ///< what points at it; null: it is in no list
};

/// What such waits are made of.
struct AsioWaits {
  using One = Ring::Single;
  using All = Ring::Several;
};

/// A wait that somebody else's loop is told of.
template <typename Waits>
class AsioWait : public AsioListed, public Waits {
 public:
  using Outcome = decltype(std::declval<Waits&>().take());

  template <typename... Request>
  explicit AsioWait(Ring& ring, ResourceManager& manager, const Request&... request) noexcept
      : Waits(ring, manager, request...), ring_(ring) {}
  ~AsioWait() override {
    if (this->id != 0) ring_.forget(*this);
  }
  /// Calls back, and is gone.
  virtual void complete(Outcome outcome) = 0;

  /// Has the ring wait, and stands first in the list. False: there is an outcome.
  [[nodiscard]] bool begin(AsioListed*& list) noexcept {
    if (this->wait.done() || !ring_.add(*this)) return false;
    link(list);
    return true;
  }
  void end(const Error* why) noexcept final {
    if (this->id != 0) ring_.forget(*this);
    this->cancel();
    (void)this->wait.check();
    // What was had goes to who asked.
    Outcome outcome = this->take();
    if (why && !outcome && outcome.error() == ErrorCode::Cancelled) outcome.error() = *why;
    unlink();
    try {
      complete(std::move(outcome));
    } catch (const std::bad_alloc&) {
      // The handler is gone without being called.
    }
  }
  [[nodiscard]] Ring::Token token() const noexcept final { return {this->id}; }

 private:
  void tell() final { complete(this->take()); }

  Ring& ring_;
};

}  // namespace detail

// So that a program may have both.
inline namespace HAL_ASIO_FLAVOUR {
namespace asio_detail {

#if defined(HAL_STANDALONE_ASIO)
namespace net = ::asio;
using NetErrorCode = std::error_code;
using NetSystemError = std::system_error;
#else
namespace net = ::boost::asio;
using NetErrorCode = boost::system::error_code;
using NetSystemError = boost::system::system_error;
#endif

using hal::detail::AsioListed;
using hal::detail::AsioWait;
using hal::detail::AsioWaits;

class AsioCore;

/// Knows the rings of an execution context, and ends their waits with it.
class AsioRings final : public net::execution_context::service {
 public:
  // NOLINTNEXTLINE(readability-identifier-naming): Asio looks for this name
  inline static net::execution_context::id id;

  explicit AsioRings(net::execution_context& context) : service(context) {}
  void add(AsioCore& core) {
    const std::lock_guard lock(mutex_);
    cores_.push_back(&core);
  }
  void remove(const AsioCore& core) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase(cores_, &core);
  }

 private:
  void shutdown() noexcept override;

  std::mutex mutex_;
  std::vector<AsioCore*> cores_;  ///< under the mutex
};

/// What an AsioRing and its handlers share. Once it is closed it has neither ring nor waits.
class AsioCore : public std::enable_shared_from_this<AsioCore> {
 public:
  using Executor = net::any_io_executor;

  AsioCore(std::unique_ptr<Ring> ring, const Executor& executor)
      : executor_(executor),
        open_(std::make_unique<Open>(std::move(ring), executor)),
        // Made after those of what it uses, it is shut down before them.
        rings_(net::use_service<AsioRings>(net::query(executor, net::execution::context))) {
    rings_.add(*this);
  }
  AsioCore(const AsioCore&) = delete;
  AsioCore& operator=(const AsioCore&) = delete;

  [[nodiscard]] const Executor& executor() const noexcept { return executor_; }
  [[nodiscard]] std::size_t pending() const noexcept { return open_ ? open_->ring->pending() : 0; }
  /// Null: it is closed.
  [[nodiscard]] Ring* ring() const noexcept { return open_ ? open_->ring.get() : nullptr; }
  /// Has it wait. False: there is an outcome.
  template <typename Waits>
  [[nodiscard]] bool begin(AsioWait<Waits>& wait) {
    if (!wait.begin(waits_)) return false;
    poll_soon();
    return true;
  }
  void cancel(Ring::Token token) {
    if (open_ && open_->ring->cancel(token)) poll_soon();
  }
  void cancel_all() {
    if (!waits_) return;
    for (const AsioListed* wait = waits_; wait; wait = wait->next()) {
      (void)open_->ring->cancel(wait->token());
    }
    poll_soon();
  }
  /// Gives all waits up, and calls back.
  void close() noexcept {
    if (!open_) return;
    rings_.remove(*this);
    while (waits_) waits_->end(nullptr);
    open_.reset();
  }
  /// The execution context is being destroyed: nobody can be called any more.
  void shut_down() noexcept {
    while (waits_) {
      AsioListed& first = *waits_;
      first.unlink();
      first.discard();
    }
    open_.reset();
  }

 private:
  struct Open {
    Open(std::unique_ptr<Ring> polled, const Executor& executor)
        : ring(std::move(polled)), descriptor(executor, ring->fd()), timer(executor) {}
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    ~Open() { (void)descriptor.release(); }  // it is the ring's

    std::unique_ptr<Ring> ring;
    net::posix::stream_descriptor descriptor;
    net::steady_timer timer;
  };

  // Never from inside a handler or what begins a wait: poll() is not to be called by who is called
  // from it.
  void poll_soon() {
    if (poll_is_due_) return;
    net::post(executor_, [self = shared_from_this()] {
      self->poll_is_due_ = false;
      self->poll();
    });
    poll_is_due_ = true;
  }
  void poll() {
    if (!open_) return;
    try {
      if (const auto told = open_->ring->poll(); !told) {
        // Nobody will hear of anything from this ring.
        while (waits_) waits_->end(&told.error());
      }
    } catch (...) {
      watch();
      throw;
    }
    watch();
  }
  /// Has itself called when there is something to poll for. While nothing waits it has nothing in
  /// flight, which would keep run() going.
  void watch() {
    if (pending() == 0) {
      NetErrorCode ignored;
      if (open_ && is_reading_) (void)open_->descriptor.cancel(ignored);
      if (open_ && timer_ends_) open_->timer.cancel();
      return;
    }
    if (!is_reading_) {
      open_->descriptor.async_wait(net::posix::stream_descriptor::wait_read,
                                   [self = shared_from_this()](const NetErrorCode& error) {
                                     self->is_reading_ = false;
                                     self->go_on(error);
                                   });
      is_reading_ = true;
    }
    const auto until = std::chrono::steady_clock::now() + open_->ring->patience();
    if (timer_ends_ && *timer_ends_ <= until) return;
    open_->timer.expires_at(until);
    timer_ends_ = until;
    open_->timer.async_wait([self = shared_from_this(), until](const NetErrorCode& error) {
      // Else it was set to an earlier time since.
      if (self->timer_ends_ != until) return;
      self->timer_ends_.reset();
      self->go_on(error);
    });
  }
  /// Whoever was cancelled because nothing waited may find that something does by now.
  void go_on(const NetErrorCode& error) {
    if (!error) {
      poll();
    } else if (error == net::error::operation_aborted) {
      watch();
    }
  }

  Executor executor_;
  std::unique_ptr<Open> open_;  ///< null: it is closed
  AsioRings& rings_;
  AsioListed* waits_ = nullptr;
  bool poll_is_due_ = false;
  bool is_reading_ = false;
  std::optional<std::chrono::steady_clock::time_point> timer_ends_{};  ///< nothing: it is not set
};

inline void AsioRings::shutdown() noexcept {
  for (;;) {
    std::shared_ptr<AsioCore> core;
    {
      const std::lock_guard lock(mutex_);
      if (cores_.empty()) return;
      core = cores_.back()->shared_from_this();
      cores_.pop_back();
    }
    core->shut_down();
  }
}

}  // namespace asio_detail
}  // namespace HAL_ASIO_FLAVOUR
}  // namespace hal
