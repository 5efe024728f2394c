// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/domain_gate.hpp"

#include <memory>

namespace resmgr::client {
namespace {

std::atomic<DomainGate*> newest_gate{nullptr};

}  // namespace

DomainGate& DomainGate::open(Domain& domain) {
  DomainGate* const gate = std::unique_ptr<DomainGate>(new DomainGate(domain)).release();
  gate->next_ = newest_gate.load(std::memory_order_relaxed);
  while (!newest_gate.compare_exchange_weak(gate->next_, gate, std::memory_order_release,
                                            std::memory_order_relaxed)) {
  }
  return *gate;
}

}  // namespace resmgr::client
