// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/dma_link.hpp"

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "tools/demo/served_messages.hpp"

namespace demo {
namespace {

using drivers::dma::Channel;
using drivers::dma::RemoteChannel;
using drivers::dma::RemoteReplies;
using drivers::dma::RemoteRequests;
using hal::Rights;

constexpr std::chrono::seconds kPatience{10};
constexpr std::uint32_t kMessages = 16;

}  // namespace

Outcome<std::unique_ptr<DmaLink>> DmaLink::open(hal::ResourceManager& manager,
                                                const Parties& parties, std::uint32_t number,
                                                RoleProcess& process, std::uint32_t frames) {
  auto link = std::make_unique<DmaLink>(Key(), manager, parties);
  if (auto connected = link->connect(number, process, frames); !connected) {
    return std::unexpected(std::move(connected.error()));
  }
  return link;
}

template <typename Queue>
Outcome<Queue> DmaLink::make_queue(const std::string& name) {
  auto queue = Queue::create(manager_, name, {.capacity = kMessages, .driver = parties_.client});
  if (!queue) return failed("making a queue", queue.error());
  queues_.push_back(queue->queue().handle());
  if (auto shared = manager_.share_resource(queues_.back(), parties_.client, parties_.driver,
                                            Rights::Acquire | Rights::Read | Rights::Write);
      !shared) {
    return failed("sharing a queue", shared.error());
  }
  return std::move(*queue);
}

Outcome<void> DmaLink::connect(std::uint32_t number, RoleProcess& process, std::uint32_t frames) {
  const std::string name = link_name(number);
  auto requests = make_queue<RemoteRequests>(name + "/requests");
  if (!requests) return std::unexpected(std::move(requests.error()));
  auto replies = make_queue<RemoteReplies>(name + "/replies");
  if (!replies) return std::unexpected(std::move(replies.error()));

  if (auto told = process.tell(Serve{.link = number}); !told) return told;
  const auto serving = process.hear<Serving>();
  if (!serving) return std::unexpected(serving.error());
  window_id_ = {(*serving)->window};
  for (std::uint32_t i = 0; i < frames; ++i) frame_ids_.push_back({(*serving)->frames[i]});

  hal::UniqueFd line(::fcntl(process.process().pidfd(), F_DUPFD_CLOEXEC, 0));
  if (!line) return failed_errno("fcntl", errno);
  auto channel = RemoteChannel::connect(std::move(*requests), std::move(*replies), std::move(line),
                                        Channel::Clock::now() + kPatience);
  if (!channel) return failed("connecting to the DMA channel", channel.error());
  channel_ = std::move(*channel);
  return {};
}

Outcome<void> DmaLink::close() {
  hang_up();
  for (const hal::Handle queue : queues_) {
    if (auto ended = manager_.unshare_resource(queue, parties_.client, parties_.driver); !ended) {
      return failed("unsharing a queue", ended.error());
    }
    if (auto gone = manager_.unregister_resource(queue, kPatience); !gone) {
      return failed("a queue", gone.error());
    }
  }
  queues_.clear();
  return {};
}

Outcome<void> DmaLink::bury() {
  hang_up();
  auto requests = manager_.acquire_scoped_resource(
      queues_.front(), {.mode = hal::AcquisitionMode::Timeout, .timeout = kPatience});
  if (!requests) return failed("taking the requests over", requests.error());
  if (!requests->inconsistent()) {
    return failed("taking the requests over", "the dead driver was not known to hold them");
  }
  // What is left in them is thrown away with them: that is the repair.
  if (auto repaired = requests->consistent(); !repaired) {
    return failed("taking the requests over", repaired.error());
  }
  if (auto released = requests->release(); !released) {
    return failed("taking the requests over", released.error());
  }
  return close();
}

}  // namespace demo
