// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/stream.hpp"

namespace demo {

hal::Result<drivers::dma::Ticket> Stream::submit(std::span<const drivers::dma::Descriptor> work,
                                                 std::uint64_t) {
  return channel().submit(work);
}

Outcome<void> Stream::recover(const hal::Error& why) { return failed("the DMA engine", why); }

}  // namespace demo
