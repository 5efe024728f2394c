// SPDX-License-Identifier: Apache-2.0
//
// Stands in for pool_dpdk.cpp where DPDK is not installed.
#include "tests/bench/pool_peers.hpp"

namespace bench {

std::unique_ptr<BlockSource> make_dpdk_source(std::size_t, unsigned) {
  throw Skip("built without DPDK: install libdpdk-dev");
}

}  // namespace bench
