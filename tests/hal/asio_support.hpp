// SPDX-License-Identifier: Apache-2.0
//
// Asio for tests, with or without Boost: one name for both, and what the older ones lack.
//
// What it is: includes, the namespace net, and a fixture with a manager, a resource, an execution
// context and a ring in it. What it is not: Asio's tests. Lifetime: of a fixture. Thread-safety: of
// Asio's.
#pragma once

#if defined(HAL_STANDALONE_ASIO)
#include <asio.hpp>
#else
#include <utility>  // boost/asio.hpp of 1.74 needs it, and does not say so

#include <boost/asio.hpp>
#endif

#include <chrono>
#include <memory>
#include <optional>

#include <hal/asio.hpp>

#include "tests/hal/async_support.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {

namespace net = asio_detail::net;
using Outcome = Result<ScopedResource>;

class AsioTest : public ManagerTest, public ::testing::WithParamInterface<AsyncPath> {
 protected:
  void SetUp() override {
    restart({.async_path = GetParam()});
    resource_ = add("dma0/channel/0");
    other_.emplace(manager_->create_context().value());
    io_.emplace();
    ring_.emplace(make_ring());
  }
  [[nodiscard]] AsioRing make_ring() {
    return AsioRing::create(io_->get_executor(), {.async_path = GetParam()}).value();
  }
  /// A request of the other context, which waits.
  [[nodiscard]] AcquireOptions wanted() {
    return {.mode = AcquisitionMode::Blocking, .context = &*other_};
  }
  [[nodiscard]] AcquireOptions wanted(std::chrono::nanoseconds timeout) {
    return {.mode = AcquisitionMode::Timeout, .timeout = timeout, .context = &*other_};
  }
  [[nodiscard]] ScopedResource hold() { return manager_->try_acquire(resource_).value(); }
  [[nodiscard]] bool is_free() { return manager_->try_acquire(resource_).has_value(); }
  [[nodiscard]] std::uint32_t waiting() {
    return static_cast<std::uint32_t>(manager_->get_resource_stats(resource_).value().waiting);
  }
  /// Begins a wait with what becomes of it in `outcome`.
  void ask(std::optional<Outcome>& outcome) {
    async_acquire(*ring_, *manager_, resource_, wanted(),
                  [&outcome](Outcome had) { outcome.emplace(std::move(had)); });
  }
  /// Runs what is due, and what that makes due, without waiting for anything.
  void turn() {
    io_->restart();
    while (io_->poll() != 0) {
    }
  }
  void run() {
    io_->restart();
    io_->run();
  }

  Handle resource_;
  std::optional<Context> other_;
  std::optional<net::io_context> io_;
  std::optional<AsioRing> ring_;
};

}  // namespace hal::test
