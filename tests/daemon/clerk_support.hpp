// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the clerk share: clients without processes, and a ledger that remembers.
//
// What it is: Peer, who talks to a clerk, maps the regions from the descriptors it was given, and
// acquires with an engine of its own; Notes, what a clerk had written down for the next; and a
// domain with a clerk. What it is not: a socket, nor a process. Lifetime: a Peer borrows the clerk.
// Thread-safety: one thread.
//
//   Peer peer(clerk, "dma-edu");
//   const Handle handle = peer.added("dma/0");
//   ASSERT_TRUE(peer.engine->acquire(*peer.context, handle, trying()));
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "resmgr/daemon/clerk.hpp"
#include "resmgr/lock/context_table.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::daemon::test {

using lock::test::FakeNames;
using lock::test::trying;

inline constexpr Capacities kCapacities{.slots = 64,
                                        .contexts = 16,
                                        .clients = 5,
                                        .nodes = 64,
                                        .cells = 64,
                                        .classes = 16,
                                        .drivers = 16,
                                        .pairs = 64,
                                        .dependencies = 16,
                                        .shares = 16};

inline UniqueFd memory(std::size_t bytes) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  return fd;
}

inline bool can_map_writable(int fd) {
  void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return false;
  ::munmap(at, 4096);
  return true;
}

/// Who talks to the clerk.
class Peer {
 public:
  explicit Peer(Clerk& clerk, std::string_view name = {}, std::uint32_t pid = 4711)
      : client{.pid = pid, .start_time = 1}, clerk_(&clerk) {
    const auto bytes = wire::encode(wire::Hello{.driver = name}, 1, in_).value();
    auto answer = ask(bytes);
    const auto welcome = wire::Welcome::decode(wire::read_frame(reply(answer)).value()).value();
    place = welcome.regions.client;
    driver = welcome.driver;
    registry_fd = std::move(answer.fds[0]);
    auto region = lock::LockRegion::attach(std::move(answer.fds[1]));
    region_ = std::make_unique<lock::LockRegion>(std::move(*region));
    engine = std::make_unique<lock::LockEngine>(region_->tables(), names_);
    contexts = std::make_unique<lock::ContextTable>(region_->tables(), *engine);
    context = contexts->open(client.index, driver, 0, lock::this_thread()).value();
  }

  Clerk::Answer ask(std::size_t bytes, std::span<UniqueFd> fds = {}) {
    return clerk_->answer(client, std::span(in_).first(bytes), fds, out_);
  }
  void turn_to(Clerk& other) noexcept { clerk_ = &other; }
  /// Says hello to a successor of the clerk, as the same process. Returns whether it has its place
  /// again.
  bool come_back(Clerk& successor) {
    client = {.pid = client.pid, .start_time = client.start_time};
    turn_to(successor);
    last = ask(wire::encode(wire::Hello{.before = place}, 1, in_).value());
    return client.returned;
  }
  [[nodiscard]] std::span<const std::byte> reply(const Clerk::Answer& answer) const {
    return std::span(out_).first(answer.bytes);
  }
  /// The code of a plain reply; none if it was done.
  template <typename Request>
  std::optional<ErrorCode> request(const Request& what, std::span<UniqueFd> fds = {}) {
    const auto bytes = wire::encode(what, 7, in_).value();
    last = ask(bytes, fds);
    const auto frame = wire::read_frame(reply(last)).value();
    EXPECT_EQ(frame.request_id, 7u);
    return wire::ResultReply::decode(frame).value().error;
  }
  std::vector<wire::RegistrationOutcome> add(std::span<const wire::Record> records,
                                             std::span<UniqueFd> fds = {}) {
    wire::RegisterWriter writer(9, in_);
    for (const wire::Record& record : records) EXPECT_TRUE(writer.add(record));
    last = ask(writer.finish().value(), fds);
    const auto answered =
        wire::RegisteredReply::decode(wire::read_frame(reply(last)).value()).value();
    std::vector<wire::RegistrationOutcome> outcomes;
    for (std::uint32_t i = 0; i < answered.count(); ++i) outcomes.push_back(answered.at(i));
    return outcomes;
  }
  wire::RegistrationOutcome add(const wire::Record& record, std::span<UniqueFd> fds = {}) {
    return add(std::span(&record, 1), fds).at(0);
  }
  Handle added(std::string_view name) {
    return add({.name = name, .description = {.owner_driver = driver}}).handle;
  }

  Client client;
  wire::ClientPlace place;
  std::uint32_t driver = 0;
  UniqueFd registry_fd;
  Clerk::Answer last;
  std::unique_ptr<lock::LockEngine> engine;
  std::unique_ptr<lock::ContextTable> contexts;
  lock::Context* context = nullptr;

 private:
  Clerk* clerk_;
  FakeNames names_;
  std::unique_ptr<lock::LockRegion> region_;
  std::vector<std::byte> in_ = std::vector<std::byte>(RM_WIRE_MAX_FRAME);
  std::vector<std::byte> out_ = std::vector<std::byte>(RM_WIRE_MAX_FRAME);
};

/// Says hello for one who does nothing else, and returns what it was refused with.
inline std::optional<ErrorCode> greet(Clerk& clerk, Client& client,
                                      const wire::ClientPlace& before = {}) {
  std::vector<std::byte> in(RM_WIRE_MAX_FRAME);
  std::vector<std::byte> out(RM_WIRE_MAX_FRAME);
  const auto bytes = wire::encode(wire::Hello{.before = before}, 1, in).value();
  const auto answer = clerk.answer(client, std::span(in).first(bytes), {}, out);
  const auto frame = wire::read_frame(std::span(out).first(answer.bytes)).value();
  if (frame.type == wire::FrameType::Welcome) return {};
  return wire::ResultReply::decode(frame).value().error;
}

/// What a clerk had written down, for the next.
class Notes final : public Ledger {
 public:
  void file_kept(Handle handle, int file) override {
    files[handle] = UniqueFd(::fcntl(file, F_DUPFD_CLOEXEC, 0));
  }
  void file_dropped(Handle handle) override { files.erase(handle); }
  void client_came(const Client& client) override { clients.push_back(client); }
  void client_leaves(const Client&) override {}
  void client_went(const Client& client) override {
    std::erase_if(clients, [&](const Client& each) { return each.index == client.index; });
  }

  void drained(std::uint32_t driver, bool is_so) override {
    is_so ? (void)drains.insert(driver) : (void)drains.erase(driver);
  }

  std::set<std::uint32_t> drains;
  std::map<Handle, UniqueFd> files;
  std::vector<Client> clients;
};

class ClerkTest : public ::testing::Test {
 protected:
  [[nodiscard]] Lifecycle state_of(Handle handle) const {
    return state->view().read(handle).value().state;
  }

  std::unique_ptr<DomainState> state = DomainState::create(kCapacities, {.domain_id = 42}).value();
  Clerk clerk{*state, "test 1.0"};
};

}  // namespace resmgr::daemon::test
