// SPDX-License-Identifier: Apache-2.0
//
// BareWorker: the floor of handing work to another thread.
//
// What it is: a thread, bound to a processor, that polls one word, does the one thing it was made
// for, and writes another word. It polls for a while and then sleeps, as an engine's worker does
// while it has nothing. What it is not: an engine; it has no queue, and knows one kind of work.
//
// Lifetime: the thread ends with the object. Thread-safety: one thread calls it.
//
//   BareWorker worker([&] { copy(); });
//   worker.run();
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include "drivers/dma/futex.hpp"

namespace bench {

class BareWorker {
 public:
  explicit BareWorker(std::function<void()> work)
      : work_(std::move(work)), thread_([this] { serve(); }) {}
  BareWorker(const BareWorker&) = delete;
  BareWorker& operator=(const BareWorker&) = delete;
  ~BareWorker() {
    ending_ = true;
    ask();
    thread_.join();
  }

  /// Has the work done once, and polls until it is.
  void run() noexcept {
    const std::uint32_t asked = ask();
    while (done_.load(std::memory_order_acquire) != asked) {
    }
  }
  [[nodiscard]] std::thread::native_handle_type thread() noexcept {
    return thread_.native_handle();
  }

 private:
  std::uint32_t ask() noexcept {
    const std::uint32_t asked = asked_.fetch_add(1) + 1;
    if (sleeping_.load()) asked_.notify_one();
    return asked;
  }
  void serve() {
    for (std::uint32_t done = 0;; done_.store(++done, std::memory_order_release)) {
      const auto asked = [&] { return asked_.load(std::memory_order_acquire) != done; };
      if (!drivers::dma::spin_for(std::chrono::microseconds(30), asked)) {
        sleeping_ = true;
        asked_.wait(done);
        sleeping_ = false;
      }
      if (ending_) return;
      work_();
    }
  }

  const std::function<void()> work_;
  bool ending_ = false;
  alignas(drivers::dma::kCacheLine) std::atomic<std::uint32_t> asked_{0};
  std::atomic<bool> sleeping_{false};
  alignas(drivers::dma::kCacheLine) std::atomic<std::uint32_t> done_{0};
  std::thread thread_;
};

}  // namespace bench
