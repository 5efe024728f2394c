// SPDX-License-Identifier: Apache-2.0
//
// Task: the smallest coroutine that can wait on a Ring.
//
// What it is: a coroutine that begins when it is awaited or run, and whose value, or exception, its
// awaiter gets. What it is not: needed; any coroutine type can await Ring::acquire(). Lifetime:
// destroying it destroys the coroutine, and gives up what that waits for. Thread-safety: none; it
// goes on where its ring is run.
//
//   hal::Task<int> count(hal::Ring& ring, ...) {
//     auto hold = co_await ring.acquire(manager, handle, {.mode = hal::AcquisitionMode::Blocking});
//     co_return hold ? 1 : 0;
//   }
//   int counted = hal::run(*ring, count(*ring, ...)).value();
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <hal/resource.hpp>
#include <hal/ring.hpp>

namespace hal {

template <typename T = void>
class [[nodiscard]] Task;

namespace detail {

/// Goes on with whoever awaits the task, or returns to who began it.
struct FinalAwaiter {
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <typename Promise>
  [[nodiscard]] std::coroutine_handle<> await_suspend(
      std::coroutine_handle<Promise> ended) const noexcept {
    const std::coroutine_handle<> next = ended.promise().awaiting;
    return next ? next : std::noop_coroutine();
  }
  void await_resume() const noexcept {}
};

struct TaskPromiseBase {
  std::coroutine_handle<> awaiting;
  std::exception_ptr thrown;

  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] FinalAwaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { thrown = std::current_exception(); }
};

template <typename T>
struct TaskPromise : TaskPromiseBase {
  std::optional<T> value;

  [[nodiscard]] Task<T> get_return_object() noexcept;
  template <typename U>
  void return_value(U&& made) {
    value.emplace(std::forward<U>(made));
  }
  [[nodiscard]] T result() {
    if (thrown) std::rethrow_exception(thrown);
    return *std::move(value);
  }
};

template <>
struct TaskPromise<void> : TaskPromiseBase {
  [[nodiscard]] Task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void result() const {
    if (thrown) std::rethrow_exception(thrown);
  }
};

}  // namespace detail

template <typename T>
class [[nodiscard]] Task {
 public:
  // NOLINTNEXTLINE(readability-identifier-naming): the language asks for this name
  using promise_type = detail::TaskPromise<T>;

  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (coroutine_) coroutine_.destroy();
      coroutine_ = std::exchange(other.coroutine_, nullptr);
    }
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }

  /// Begins it, for who does not await it. REQUIRES: it was not begun, nor moved from.
  void start() { coroutine_.resume(); }
  [[nodiscard]] bool done() const noexcept { return coroutine_.done(); }
  /// REQUIRES: done(). Throws what the coroutine threw.
  [[nodiscard]] T result() { return coroutine_.promise().result(); }

  /// As an awaitable of another coroutine, which it goes on with. Throws what it threw.
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
    coroutine_.promise().awaiting = awaiting;
    return coroutine_;
  }
  T await_resume() { return coroutine_.promise().result(); }

 private:
  friend promise_type;
  explicit Task(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}

  std::coroutine_handle<promise_type> coroutine_;
};

template <typename T>
Task<T> detail::TaskPromise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<TaskPromise<T>>::from_promise(*this));
}

inline Task<void> detail::TaskPromise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<TaskPromise<void>>::from_promise(*this));
}

/// Runs a task on a ring until it is done. Returns its value. Errors: those of Ring::poll();
/// Cancelled (nothing that the ring waits for can make it go on). Throws what the task threw.
template <typename T>
[[nodiscard]] Result<T> run(Ring& ring, Task<T> task) {
  task.start();
  while (!task.done()) {
    if (ring.pending() == 0)
      return resmgr::fail(ErrorCode::Cancelled, "the task waits for nothing");
    if (auto told = ring.poll(std::chrono::seconds(1)); !told) {
      return std::unexpected(std::move(told.error()));
    }
  }
  if constexpr (std::is_void_v<T>) {
    task.result();
    return {};
  } else {
    return task.result();
  }
}

}  // namespace hal
