// SPDX-License-Identifier: Apache-2.0
//
// AtFirstTouch: puts a step of somebody else between two instructions of a call.
//
// What it is: a page of the region that faults once; the handler lets the call go on after it did
// what the test asks. So an order that a race brings about once in a million runs comes each time.
// What it is not: for two pages at once, nor for calls that touch the page in the kernel.
// Lifetime: until its end the page may fault; one at a time. Thread-safety: the step runs on the
// thread that touches the page, and may wait for others.
//
//   const AtFirstTouch touch(cell, [&] { writer.begin(handle, blocking()); });
//   reader.release(handle, HoldKind::Shared);
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <bit>
#include <cstdint>
#include <functional>
#include <utility>

namespace resmgr::lock::test {

/// Does something in the middle of whatever touches a page for the first time, on its thread.
class AtFirstTouch {
 public:
  AtFirstTouch(void* place, std::function<void()> act) {
    page_ = std::bit_cast<std::uintptr_t>(place) & ~(kPage - 1);
    act_ = std::move(act);
    struct sigaction action{};
    action.sa_sigaction = touched;
    action.sa_flags = SA_SIGINFO;
    EXPECT_EQ(::sigaction(SIGSEGV, &action, &before_), 0);
    EXPECT_EQ(::mprotect(std::bit_cast<void*>(page_), kPage, PROT_NONE), 0);
  }
  AtFirstTouch(const AtFirstTouch&) = delete;
  AtFirstTouch& operator=(const AtFirstTouch&) = delete;
  ~AtFirstTouch() { restore(); }
  [[nodiscard]] static std::uintptr_t page_of(const void* place) {
    return std::bit_cast<std::uintptr_t>(place) / kPage;
  }

 private:
  static constexpr std::uintptr_t kPage = 4096;
  static void touched(int, siginfo_t* info, void*) {
    const bool ours = page_of(info->si_addr) == page_ / kPage;
    restore();
    if (ours) act_();
  }
  static void restore() {
    ::mprotect(std::bit_cast<void*>(page_), kPage, PROT_READ | PROT_WRITE);
    ::sigaction(SIGSEGV, &before_, nullptr);
  }

  static inline std::uintptr_t page_;
  static inline std::function<void()> act_;
  static inline struct sigaction before_;
};

}  // namespace resmgr::lock::test
