// SPDX-License-Identifier: Apache-2.0
//
// resolve: from descriptors that anyone may have made to work that an engine can trust.
//
// What it is: every check that Channel::submit() promises, and the translation of segments into
// addresses; one place for all backends. What it is not: a side effect; on an error nothing has
// changed.
//
// Thread-safety: reads the table, so under the channel's lock.
//
//   auto batch = resolve(this, descriptors, limits, table, std::move(on_done));
#pragma once

#include <memory>
#include <span>

#include <hal/resource.hpp>

#include "drivers/dma/batch.hpp"
#include "drivers/dma/buffer_table.hpp"
#include "drivers/dma/channel.hpp"
#include "drivers/dma/descriptor.hpp"
#include "drivers/dma/ticket.hpp"

namespace drivers::dma {

/// Errors: as Channel::submit(), but for WouldBlock and Disconnected.
[[nodiscard]] hal::Result<std::shared_ptr<Batch>> resolve(const Channel* owner,
                                                          std::span<const Descriptor> descriptors,
                                                          const Limits& limits,
                                                          const BufferTable& buffers,
                                                          Callback on_done);

}  // namespace drivers::dma
