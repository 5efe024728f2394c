// SPDX-License-Identifier: Apache-2.0
//
// AtFirstTouch: puts a step of somebody else between two instructions of a call.
//
// What it is: a page of the region that faults once; the handler lets the call go on after it did
// what the test asks. So an order that a race brings about once in a million runs comes each time.
// What it is not: for two pages at once, nor for calls that touch the page in the kernel.
// Lifetime: until its end the page may fault; one at a time. Thread-safety: the step runs on a
// thread of its own, for which the one that touched the page waits.
//
//   const AtFirstTouch touch(cell, [&] { writer.begin(handle, blocking()); });
//   reader.release(handle, HoldKind::Shared);
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

namespace resmgr::lock::test {

/// Does something in the middle of whatever touches a page for the first time.
class AtFirstTouch {
 public:
  AtFirstTouch(void* place, std::function<void()> act) : act_(std::move(act)) {
    EXPECT_EQ(::sem_init(&touched_, 0, 0), 0);
    page_ = std::bit_cast<std::uintptr_t>(place) & ~(kPage - 1);
    self_ = this;
    stepper_ = std::thread([this] { step(); });
    struct sigaction action{};
    action.sa_sigaction = touched;
    action.sa_flags = SA_SIGINFO;
    EXPECT_EQ(::sigaction(SIGSEGV, &action, &before_), 0);
    EXPECT_EQ(::mprotect(std::bit_cast<void*>(page_), kPage, PROT_NONE), 0);
  }
  AtFirstTouch(const AtFirstTouch&) = delete;
  AtFirstTouch& operator=(const AtFirstTouch&) = delete;
  ~AtFirstTouch() {
    restore();
    over_ = true;
    ::sem_post(&touched_);
    stepper_.join();
    ::sem_destroy(&touched_);
  }
  [[nodiscard]] static std::uintptr_t page_of(const void* place) {
    return std::bit_cast<std::uintptr_t>(place) / kPage;
  }

 private:
  static constexpr std::uintptr_t kPage = 4096;
  static void touched(int, siginfo_t* info, void*) {
    const bool ours = page_of(info->si_addr) == page_ / kPage;
    restore();
    if (!ours) return;  // and the access that is nobody's faults again
    ::sem_post(&self_->touched_);
    while (!self_->done_) ::sched_yield();
  }
  static void restore() {
    ::mprotect(std::bit_cast<void*>(page_), kPage, PROT_READ | PROT_WRITE);
    ::sigaction(SIGSEGV, &before_, nullptr);
  }
  // Not in the handler: that may neither allocate nor lock.
  void step() {
    while (::sem_wait(&touched_) != 0) {
    }
    if (!over_) act_();
    done_ = true;
  }

  static inline std::uintptr_t page_;
  static inline AtFirstTouch* self_;
  static inline struct sigaction before_;
  std::function<void()> act_;
  sem_t touched_{};
  std::atomic<bool> over_{false};
  std::atomic<bool> done_{false};
  std::thread stepper_;
};

}  // namespace resmgr::lock::test
