// SPDX-License-Identifier: Apache-2.0
//
// Performer: somebody with a context who does one call at a time, whoever runs him.
//
// What it is: the verbs of a test's actor, each a Call that is posted to him, and his outcomes. A
// Call is bytes and a function, so that it can be handed to a thread as well as to a child of
// fork(): it captures plain values, and pointers to what both see. What it is not: a thread or a
// process; those derive from it.
//
// Thread-safety: a performer is driven by one thread.
//
//   performer.begin(handle, blocking());   // returns when he sleeps in the queue
//   ...
//   EXPECT_TRUE(performer.finish());
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include "resmgr/base/clock.hpp"
#include "resmgr/lock/context.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/wait_graph.hpp"
#include "tests/base/wait_until.hpp"

namespace resmgr::lock::test {

inline Request blocking(HoldKind kind = HoldKind::Exclusive,
                        ResourcePriority priority = ResourcePriority::Normal,
                        const std::source_location& place = std::source_location::current()) {
  return {.kind = kind, .mode = AcquisitionMode::Blocking, .priority = priority, .place = place};
}
inline Request trying(HoldKind kind = HoldKind::Exclusive) {
  return {.kind = kind, .mode = AcquisitionMode::NonBlocking};
}
/// A deadline so far away that a test that reaches it has failed.
inline constexpr std::uint64_t kLongNs = 100'000'000'000;
inline Request timed(std::uint64_t ns, HoldKind kind = HoldKind::Exclusive,
                     ResourcePriority priority = ResourcePriority::Normal) {
  return {.kind = kind,
          .mode = AcquisitionMode::Timeout,
          .deadline_ns = monotonic_ns() + ns,
          .priority = priority};
}
inline Request emergency(std::uint64_t ns = kLongNs, HoldKind kind = HoldKind::Exclusive) {
  return {.kind = kind, .mode = AcquisitionMode::Emergency, .deadline_ns = monotonic_ns() + ns};
}

using resmgr::test::wait_until;

/// The outcome of a call, and the grant where it has one.
using Outcome = Result<Grant>;

inline Outcome without_grant(Result<void> result) {
  if (!result) return std::unexpected(std::move(result.error()));
  return Grant{};
}

/// What a performer is to do with an engine and his context.
class Call {
 public:
  Call() noexcept = default;
  template <typename F>
    requires std::is_invocable_r_v<Outcome, const F&, LockEngine&, Context&>
  Call(const F& what) noexcept  // NOLINT(google-explicit-constructor): a lambda is a call
      : run_([](const std::byte* bytes, LockEngine& engine, Context& me) -> Outcome {
          return (*std::launder(reinterpret_cast<const F*>(bytes)))(engine, me);
        }) {
    static_assert(std::is_trivially_copyable_v<F> && sizeof(F) <= kBytes);
    std::memcpy(bytes_.data(), &what, sizeof(F));
  }
  Outcome operator()(LockEngine& engine, Context& me) const {
    return run_(bytes_.data(), engine, me);
  }

 private:
  static constexpr std::size_t kBytes = 128;

  alignas(std::max_align_t) std::array<std::byte, kBytes> bytes_{};
  Outcome (*run_)(const std::byte*, LockEngine&, Context&) = nullptr;
};

class Performer {
 public:
  Performer() = default;
  Performer(const Performer&) = delete;
  Performer& operator=(const Performer&) = delete;
  virtual ~Performer() = default;

  /// Of his context.
  [[nodiscard]] virtual std::uint16_t id() const = 0;
  /// Of his process, as the domain knows it.
  [[nodiscard]] virtual std::uint32_t pid() const = 0;
  /// Starts a call. The one before it must have finished.
  virtual void post(const Call& call) = 0;
  [[nodiscard]] virtual bool finished() const = 0;
  /// Waits for the end of the call.
  virtual Outcome finish() = 0;

  /// Whether the call has finished, or sleeps in a queue with its walk behind it.
  [[nodiscard]] bool settled() const {
    if (finished()) return true;
    bool asleep = false;
    engine().graph().for_each_wait(id(), [&](const Waiter& waiter) {
      asleep = (waiter.group != 0 ? waiter.group_word : waiter.word).asleep();
      return !asleep;
    });
    return asleep;
  }
  /// post(), and finish().
  Outcome perform(const Call& call) {
    post(call);
    return finish();
  }
  /// post(), and returns when it has ended or sleeps.
  void begin_call(const Call& call) {
    post(call);
    wait_until([&] { return settled(); });
  }

  void begin(Handle handle, const Request& request) { begin_call(acquisition(handle, request)); }
  void begin_upgrade(Handle handle, const Request& request = blocking()) {
    begin_call(promotion(handle, request));
  }
  Outcome acquire(Handle handle, const Request& request = trying()) {
    return perform(acquisition(handle, request));
  }
  Outcome share(Handle handle) { return acquire(handle, trying(HoldKind::Shared)); }
  Outcome release(Handle handle, HoldKind kind = HoldKind::Exclusive) {
    return perform([handle, kind](LockEngine& engine, Context& me) {
      return without_grant(engine.release(me, handle, kind));
    });
  }
  Outcome upgrade(Handle handle, const Request& request = trying()) {
    return perform(promotion(handle, request));
  }
  Outcome downgrade(Handle handle) {
    return perform([handle](LockEngine& engine, Context& me) {
      return without_grant(engine.downgrade(me, handle));
    });
  }
  Outcome consistent(Handle handle) {
    return perform([handle](LockEngine& engine, Context& me) {
      return without_grant(engine.consistent(me, handle));
    });
  }
  Outcome retire(Handle handle) {
    return perform([handle](LockEngine& engine, Context& me) {
      return without_grant(engine.retire(me, handle, monotonic_ns() + kLongNs));
    });
  }

 protected:
  /// That can see him wait.
  [[nodiscard]] virtual LockEngine& engine() const = 0;

 private:
  [[nodiscard]] static Call acquisition(Handle handle, const Request& request) {
    return [handle, request](LockEngine& engine, Context& me) {
      return engine.acquire(me, handle, request);
    };
  }
  [[nodiscard]] static Call promotion(Handle handle, const Request& request) {
    return [handle, request](LockEngine& engine, Context& me) {
      return without_grant(engine.upgrade(me, handle, request));
    };
  }
};

}  // namespace resmgr::lock::test
