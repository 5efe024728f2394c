// SPDX-License-Identifier: Apache-2.0
//
// DomainGate: whether a domain is still there, for what may outlive it.
//
// What it is: a word that stays when the domain goes, and is never another one's: who has a pointer
// to it needs no count of owners, which would cost what he does. What it is not: a reference;
// nobody may be inside a call while the domain is closed. Lifetime: that of the process, some bytes
// for each domain that there ever was. Thread-safety: all functions from any thread.
//
//   if (Domain* const domain = gate->domain()) domain->give_back(...);
#pragma once

#include <atomic>

namespace resmgr::client {

class Domain;

class DomainGate {
 public:
  /// May throw std::bad_alloc.
  [[nodiscard]] static DomainGate& open(Domain& domain);
  void close() noexcept { domain_.store(nullptr, std::memory_order_release); }
  /// Null if it is closed, or over.
  [[nodiscard]] Domain* domain() const noexcept { return domain_.load(std::memory_order_acquire); }

 private:
  explicit DomainGate(Domain& domain) noexcept : domain_(&domain) {}

  std::atomic<Domain*> domain_;
  DomainGate* next_ = nullptr;  ///< of all, so that a checker for leaks finds them
};

}  // namespace resmgr::client
