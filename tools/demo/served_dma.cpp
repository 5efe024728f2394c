// SPDX-License-Identifier: Apache-2.0
//
// The DMA driver in a process of its own, which serves its channel to one client at a time.
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <utility>

#include "drivers/dma/dma_driver.hpp"
#include "drivers/dma/remote_server.hpp"
#include "tools/demo/served_messages.hpp"
#include "tools/demo/served_role.hpp"

namespace demo {
namespace {

using namespace std::chrono_literals;
using drivers::dma::Access;
using drivers::dma::Channel;
using drivers::dma::ChannelServer;
using drivers::dma::DmaDriver;
using drivers::dma::RemoteReplies;
using drivers::dma::RemoteRequests;

constexpr std::chrono::seconds kPatience{10};
// How soon a word of the coordinator's is heard while his requests are served.
constexpr std::chrono::milliseconds kLook{5};

/// One client: what is held for it, and the server. The members end from the last to the first.
class Service {
 public:
  Service(hal::ResourceManager& manager, DmaDriver& dma) noexcept : manager_(manager), dma_(dma) {}

  Outcome<void> open(std::uint32_t link) {
    const std::string name = link_name(link);
    // The channel is the client's as long as it is served, and of the requests we are the one
    // consumer. Should we die with these, whoever is next learns that we did not finish.
    if (auto held = hold(dma_.handles()[0], channel_hold_); !held) return held;
    const auto requests_handle = manager_.find(name + "/requests");
    if (!requests_handle) return failed("finding the requests", requests_handle.error());
    if (auto held = hold(*requests_handle, requests_hold_); !held) return held;

    auto channel = dma_.open(channel_hold_);
    if (!channel) return failed("opening the channel", channel.error());
    auto requests = RemoteRequests::open(manager_, name + "/requests", dma_.id());
    if (!requests) return failed("opening the requests", requests.error());
    auto replies = RemoteReplies::open(manager_, name + "/replies", dma_.id());
    if (!replies) return failed("opening the replies", replies.error());
    // The client is who started us, and ends with its process.
    hal::UniqueFd client(static_cast<int>(::syscall(SYS_pidfd_open, ::getppid(), 0)));
    if (!client) return failed_errno("pidfd_open", errno);
    auto server =
        ChannelServer::create(**channel, std::move(*requests), std::move(*replies),
                              std::move(client), {.max_in_flight = 8, .max_buffers = kMaxPool + 1});
    if (!server) return failed("serving the channel", server.error());
    server_ = std::move(*server);
    return {};
  }
  /// Lets the client's descriptors use a resource's memory, by the rights that we were given.
  Outcome<std::uint64_t> attach(const std::string& name, Access access) {
    const auto handle = manager_.find(name);
    if (!handle) return failed(name, handle.error());
    auto file = manager_.fd(*handle, dma_.id());
    if (!file) return failed(name, file.error());
    const auto id = server_->attach(std::move(*file), access);
    if (!id) return failed(name, id.error());
    return id->bits;
  }
  /// Until something comes over the line.
  void serve(const ControlLine& line) {
    while (!line.readable()) {
      // A client that is gone is not served any more; that the line has ended follows.
      if (!server_->serve(Channel::Clock::now() + kLook)) return;
    }
  }

 private:
  Outcome<void> hold(hal::Handle handle, hal::ScopedResource& into) {
    auto hold = manager_.acquire_scoped_resource(
        handle, {.mode = hal::AcquisitionMode::Timeout, .timeout = kPatience});
    if (!hold) return failed("acquiring for the client", hold.error());
    into = std::move(*hold);
    // Our predecessor died with it. Its engine ended with its process: nothing is half done.
    if (into.inconsistent()) {
      if (auto repaired = into.consistent(); !repaired) {
        return failed("taking over for the client", repaired.error());
      }
    }
    return {};
  }

  hal::ResourceManager& manager_;
  DmaDriver& dma_;
  hal::ScopedResource channel_hold_;
  hal::ScopedResource requests_hold_;
  std::unique_ptr<ChannelServer> server_;
};

Outcome<void> serve_client(const Options& options, Service& service, ControlLine& line) {
  auto serve = line.receive<Serve>(kPatience);
  if (!serve) return std::unexpected(std::move(serve.error()));
  if (auto opened = service.open((*serve)->link); !opened) return opened;
  Serving serving;
  auto window = service.attach(std::string(kWindowName), Access::Read);
  if (!window) return std::unexpected(std::move(window.error()));
  serving.window = *window;
  for (std::uint32_t i = 0; i < options.pool; ++i) {
    auto frame = service.attach(frame_name(i), Access::ReadWrite);
    if (!frame) return std::unexpected(std::move(frame.error()));
    serving.frames[i] = *frame;
  }
  if (auto told = line.send(serving); !told) return told;
  service.serve(line);
  return {};
}

}  // namespace

Outcome<void> run_dma_driver(const Options& options, hal::ResourceManager& manager,
                             ControlLine& line) {
  auto dma = DmaDriver::create(manager, {.channels = 1});
  if (!dma) return failed("opening the DMA driver", dma.error());
  if (auto named = manager.set_thread_driver((*dma)->id()); !named) {
    return failed("naming the DMA driver", named.error());
  }
  if (auto told = line.send(Ready()); !told) return told;
  {
    Service service(manager, **dma);
    if (auto served = serve_client(options, service, line); !served) return served;
  }
  await_stop(line);
  if (auto closed = (*dma)->close(kPatience); !closed) {
    return failed("the DMA channel", closed.error());
  }
  return {};
}

}  // namespace demo
