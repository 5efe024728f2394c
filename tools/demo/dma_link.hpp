// SPDX-License-Identifier: Apache-2.0
//
// DmaLink: the client's end of a DMA channel that another process serves.
//
// What it is: two queues, registered by the client and shared with the DMA driver, which opens them
// by name; the channel over them; and the names that the window and the frames have there. One link
// serves one connection: after the driver's death bury() it and make another. What it is not: the
// process; see role_process.hpp. Lifetime: manager and process outlive it; close() it, or its
// queues stay registered. Thread-safety: one thread at a time.
//
//   auto link = DmaLink::open(manager, {.client = me, .driver = dma}, 0, process, 4);
//   (*link)->channel().submit(work);
//   (*link)->close();
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <hal/resource_manager.hpp>

#include "drivers/dma/remote_channel.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/role_process.hpp"

namespace demo {

class DmaLink {
  struct Key {};  // only open() has one

 public:
  struct Parties {
    hal::DriverId client;
    hal::DriverId driver;
  };
  /// Makes the queues of link `number` and has `process` serve its channel over them, with the
  /// window and so many frames.
  [[nodiscard]] static Outcome<std::unique_ptr<DmaLink>> open(hal::ResourceManager& manager,
                                                              const Parties& parties,
                                                              std::uint32_t number,
                                                              RoleProcess& process,
                                                              std::uint32_t frames);
  DmaLink(Key, hal::ResourceManager& manager, const Parties& parties) noexcept
      : manager_(manager), parties_(parties) {}

  [[nodiscard]] drivers::dma::Channel& channel() noexcept { return *channel_; }
  [[nodiscard]] drivers::dma::BufferId window_id() const noexcept { return window_id_; }
  [[nodiscard]] const std::vector<drivers::dma::BufferId>& frame_ids() const noexcept {
    return frame_ids_;
  }
  /// Lets go of the channel; the driver may serve on.
  void hang_up() noexcept { channel_.reset(); }
  /// Unregisters the queues. The driver must have let go of them.
  Outcome<void> close();
  /// As close(), when the driver has died: takes the requests over from it as its death left them,
  /// waiting until the manager has noticed.
  Outcome<void> bury();

 private:
  template <typename Queue>
  Outcome<Queue> make_queue(const std::string& name);
  Outcome<void> connect(std::uint32_t number, RoleProcess& process, std::uint32_t frames);

  hal::ResourceManager& manager_;
  Parties parties_;
  std::vector<hal::Handle> queues_;  ///< the first: the requests
  std::unique_ptr<drivers::dma::Channel> channel_;
  drivers::dma::BufferId window_id_;
  std::vector<drivers::dma::BufferId> frame_ids_;
};

}  // namespace demo
