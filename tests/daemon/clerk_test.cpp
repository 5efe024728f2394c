// SPDX-License-Identifier: Apache-2.0
//
// What the clerk answers, to clients that have no process.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "resmgr/base/presence.hpp"
#include "tests/daemon/clerk_support.hpp"

namespace resmgr::daemon::test {
namespace {

TEST_F(ClerkTest, HelloTellsAClientItsPlaceAndGivesTheRegions) {
  Peer a(clerk, "dma-edu");
  Peer b(clerk);
  EXPECT_EQ(a.place.domain_id, 42u);
  EXPECT_NE(a.place.client, b.place.client);
  EXPECT_NE(a.driver, 0u);
  EXPECT_EQ(b.driver, 0u);
  EXPECT_EQ(a.request(wire::SignalRequest{}), std::nullopt);
}

// Nobody but the authority writes the registry: not by the descriptor it gets, nor by opening that
// one anew.
TEST_F(ClerkTest, TheRegistryCantBeMappedForWriting) {
  Peer a(clerk);
  EXPECT_FALSE(can_map_writable(a.registry_fd.get()));
  const std::string path = "/proc/self/fd/" + std::to_string(a.registry_fd.get());
  const UniqueFd again(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(can_map_writable(again.get()));
  EXPECT_EQ(::pwrite(again.get(), "x", 1, 0), -1);
  EXPECT_TRUE(registry::RegistryRegion::attach(std::move(a.registry_fd), Mapping::Access::Read));
}

TEST_F(ClerkTest, NothingIsServedBeforeHelloAndHelloOnce) {
  Client stranger{.pid = 1, .start_time = 1};
  std::vector<std::byte> in(RM_WIRE_MAX_FRAME);
  std::vector<std::byte> out(RM_WIRE_MAX_FRAME);
  const auto error = [&](std::size_t bytes) {
    const auto answer = clerk.answer(stranger, std::span(in).first(bytes), {}, out);
    return wire::ResultReply::decode(wire::read_frame(std::span(out).first(answer.bytes)).value())
        .value()
        .error;
  };
  EXPECT_EQ(error(wire::encode(wire::SignalRequest{}, 3, in).value()), ErrorCode::InvalidArgument);
  EXPECT_EQ(error(wire::encode(wire::Hello{.layout_major = RM_LAYOUT_MAJOR + 1}, 3, in).value()),
            ErrorCode::VersionMismatch);
  EXPECT_FALSE(stranger.greeted);
  Peer known(clerk);
  EXPECT_EQ(known.request(wire::Hello{}), ErrorCode::InvalidArgument);
}

TEST_F(ClerkTest, WhatIsNoRequestIsAnsweredIfItCanBe) {
  Peer a(clerk);
  std::vector<std::byte> out(RM_WIRE_MAX_FRAME);
  const std::array<std::byte, 5> garbage{};
  EXPECT_EQ(clerk.answer(a.client, garbage, {}, out).bytes, 0u);
  EXPECT_TRUE(a.client.left) << "nothing of his can be answered";

  Peer b(clerk);
  std::array<UniqueFd, 1> uncalled{memory(1)};
  EXPECT_EQ(b.request(wire::SignalRequest{}, uncalled), ErrorCode::InvalidArgument);
  EXPECT_FALSE(b.client.left);
  EXPECT_EQ(b.request(wire::SignalRequest{.signal = wire::Signal::Goodbye}), std::nullopt);
  EXPECT_TRUE(b.client.left);
}

TEST_F(ClerkTest, AResourceIsRegisteredHeldAndUnregistered) {
  Peer owner(clerk, "dma");
  Peer user(clerk, "gpu");
  const Handle handle = owner.added("dma0/channel/0");
  ASSERT_FALSE(handle.is_null());
  EXPECT_EQ(state->view().find("dma0/channel/0").value(), handle);
  EXPECT_EQ(state_of(handle), Lifecycle::Ready);
  ASSERT_TRUE(user.engine->acquire(*user.context, handle, trying()));
  ASSERT_TRUE(user.engine->release(*user.context, handle, HoldKind::Exclusive));

  using Step = wire::UnregisterStep;
  EXPECT_EQ(user.request(wire::UnregisterRequest{Step::Begin, handle}), ErrorCode::NotPermitted);
  EXPECT_EQ(owner.request(wire::UnregisterRequest{Step::Finish, handle}),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(owner.request(wire::UnregisterRequest{Step::Begin, handle}), std::nullopt);
  EXPECT_EQ(owner.request(wire::UnregisterRequest{Step::Cancel, handle}), std::nullopt);
  EXPECT_EQ(state_of(handle), Lifecycle::Ready);
  EXPECT_EQ(owner.request(wire::UnregisterRequest{Step::Begin, handle}), std::nullopt);
  EXPECT_EQ(owner.request(wire::UnregisterRequest{Step::Finish, handle}), ErrorCode::NotPermitted)
      << "nobody holds it";
  ASSERT_TRUE(user.engine->acquire(*user.context, handle, trying()));
  EXPECT_EQ(owner.request(wire::UnregisterRequest{Step::Finish, handle}), ErrorCode::NotPermitted)
      << "another client does";
  ASSERT_TRUE(user.engine->release(*user.context, handle, HoldKind::Exclusive));
  ASSERT_TRUE(owner.engine->acquire(*owner.context, handle, trying()));
  EXPECT_EQ(owner.request(wire::UnregisterRequest{Step::Finish, handle}), std::nullopt);
  EXPECT_FALSE(state->view().find("dma0/channel/0"));
  EXPECT_FALSE(user.engine->is_valid(handle));
  EXPECT_TRUE(lock::HoldList(*owner.context).empty()) << "the hold went with it";
  const Handle next = owner.added("dma0/channel/0");
  EXPECT_TRUE(user.engine->acquire(*user.context, next, trying()));
}

TEST_F(ClerkTest, OneBadRecordCostsItsOwnerOneRegistration) {
  Peer owner(clerk, "dma");
  Peer other(clerk, "gpu");
  const std::array<wire::Record, 3> batch{{
      {.name = "a", .description = {.owner_driver = owner.driver}},
      {.name = "b", .description = {.owner_driver = other.driver}},
      {.name = "a", .description = {.owner_driver = owner.driver}},
  }};
  const auto outcomes = owner.add(batch);
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0].error, std::nullopt);
  EXPECT_EQ(outcomes[1].error, ErrorCode::NotPermitted) << "another client's driver";
  EXPECT_EQ(outcomes[2].error, ErrorCode::AlreadyExists);
  EXPECT_EQ(state->view().size(), 1u);
}

// For who can't open it anew: only what a process has alone says that it lives.
TEST_F(ClerkTest, TheLockRegionIsOpenedForOneAlone) {
  Peer one(clerk);
  Peer other(clerk);
  ASSERT_EQ(one.request(wire::OpenFdRequest{}), std::nullopt);
  ASSERT_EQ(other.request(wire::OpenFdRequest{}), std::nullopt);
  EXPECT_FALSE(can_map_writable(one.last.fds[0].get())) << "it is for nothing else";
  auto first = Presence::mark_own(std::move(one.last.fds[0]), one.client.index);
  auto second = Presence::mark_own(std::move(other.last.fds[0]), other.client.index);
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(clerk.has_region(one.client.index));
  *first = {};
  EXPECT_FALSE(clerk.has_region(one.client.index));
  EXPECT_TRUE(clerk.has_region(other.client.index));
}

TEST_F(ClerkTest, DescriptorsGoToWhomRightsAllow) {
  Peer owner(clerk, "gpu");
  Peer friendly(clerk, "dma");
  Peer stranger(clerk, "timer");
  std::array<UniqueFd, 1> file{memory(4096)};
  const Handle handle = owner
                            .add({.name = "gpu0/frame/0",
                                  .description = {.size_bytes = 4096,
                                                  .flags = ResourceFlags::Shareable,
                                                  .owner_driver = owner.driver},
                                  .fd = 0},
                                 file)
                            .handle;
  ASSERT_FALSE(handle.is_null());
  EXPECT_EQ(friendly.request(wire::OpenFdRequest{.handle = handle}), ErrorCode::NotPermitted);
  EXPECT_EQ(stranger.request(
                wire::ShareRequest{.handle = handle, .driver = "timer", .rights = Rights::Read}),
            ErrorCode::NotPermitted);
  ASSERT_EQ(
      owner.request(wire::ShareRequest{.handle = handle, .driver = "dma", .rights = Rights::Read}),
      std::nullopt);
  ASSERT_EQ(friendly.request(wire::OpenFdRequest{.handle = handle}), std::nullopt);
  ASSERT_EQ(friendly.last.fd_count, 1u);
  EXPECT_FALSE(can_map_writable(friendly.last.fds[0].get())) << "it was for reading";
  EXPECT_EQ(friendly.request(wire::OpenFdRequest{.handle = handle, .rights = Rights::Write}),
            ErrorCode::NotPermitted);
  EXPECT_EQ(friendly.last.fd_count, 0u);
  ASSERT_EQ(owner.request(wire::OpenFdRequest{.handle = handle, .rights = Rights::Write}),
            std::nullopt);
  EXPECT_TRUE(can_map_writable(owner.last.fds[0].get()));
  ASSERT_EQ(owner.request(wire::ShareRequest{.change = wire::ShareChange::Unshare,
                                             .handle = handle,
                                             .driver = "dma",
                                             .rights = Rights::Read}),
            std::nullopt);
  EXPECT_EQ(friendly.request(wire::OpenFdRequest{.handle = handle}), ErrorCode::NotPermitted);
}

TEST_F(ClerkTest, ADriversNameIsNoProofThatOneIsTheOwner) {
  Peer owner(clerk, "gpu");
  Peer namesake(clerk, "gpu");
  Peer friendly(clerk, "dma");
  ASSERT_EQ(namesake.driver, owner.driver);
  std::array<UniqueFd, 1> file{memory(4096)};
  const Handle handle =
      owner
          .add({.name = "a",
                .description = {.flags = ResourceFlags::Shareable, .owner_driver = owner.driver},
                .fd = 0},
               file)
          .handle;
  EXPECT_EQ(namesake.request(wire::OpenFdRequest{.handle = handle}), ErrorCode::NotPermitted);
  EXPECT_EQ(namesake.request(
                wire::ShareRequest{.handle = handle, .driver = "dma", .rights = Rights::Read}),
            ErrorCode::NotPermitted);
  EXPECT_EQ(friendly.request(wire::OpenFdRequest{.handle = handle}), ErrorCode::NotPermitted);
}

TEST_F(ClerkTest, FilesThatWouldHarmOthersAreRefused) {
  Peer owner(clerk, "gpu");
  std::array<UniqueFd, 1> device{UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))};
  EXPECT_EQ(owner.add({.name = "a", .fd = 0}, device).error, ErrorCode::InvalidArgument);
  std::array<UniqueFd, 1> short_one{memory(100)};
  EXPECT_EQ(owner.add({.name = "a", .description = {.size_bytes = 4096}, .fd = 0}, short_one).error,
            ErrorCode::InvalidArgument);
  EXPECT_EQ(state->view().size(), 0u);
}

TEST_F(ClerkTest, LazyMemoryComesLater) {
  Peer owner(clerk, "gpu");
  const Handle handle =
      owner.add({.name = "a", .description = {.size_bytes = 4096}, .lazy = true}).handle;
  EXPECT_EQ(state_of(handle), Lifecycle::Allocated);
  EXPECT_EQ(owner.request(wire::OpenFdRequest{.handle = handle}), ErrorCode::Unsupported);
  std::array<UniqueFd, 1> file{memory(4096)};
  EXPECT_EQ(owner.request(wire::SetStateRequest{.handle = handle, .has_fd = true}, file),
            std::nullopt);
  EXPECT_EQ(state_of(handle), Lifecycle::Ready);
  EXPECT_EQ(owner.request(wire::OpenFdRequest{.handle = handle}), std::nullopt);
  std::array<UniqueFd, 1> another{memory(4096)};
  EXPECT_EQ(owner.request(wire::SetStateRequest{.handle = handle, .has_fd = true}, another),
            ErrorCode::InvalidArgument);
}

TEST_F(ClerkTest, DependenciesAreTheirOwnersToMake) {
  Peer owner(clerk, "gpu");
  Peer other(clerk, "dma");
  const Handle a = owner.added("a");
  const Handle b = other.added("b");
  using Change = wire::DependencyChange;
  EXPECT_EQ(other.request(wire::DependencyRequest{Change::Add, a, b}), ErrorCode::NotPermitted);
  EXPECT_EQ(owner.request(wire::DependencyRequest{Change::Add, a, b}), std::nullopt);
  EXPECT_EQ(other.request(wire::DependencyRequest{Change::Add, b, a}), ErrorCode::DependencyCycle);
  EXPECT_EQ(owner.request(wire::DependencyRequest{Change::Remove, a, b}), std::nullopt);
}

TEST_F(ClerkTest, TheDeadLeaveTheirHoldsToOthersAndTheirResourcesAsOrphans) {
  Peer living(clerk, "gpu");
  auto dead = std::make_unique<Peer>(clerk, "dma");
  const Handle orphan = dead->added("orphan");
  const Handle begun = dead->added("begun");
  const Handle held = living.added("held");
  ASSERT_TRUE(dead->engine->acquire(*dead->context, held, trying()));
  ASSERT_EQ(dead->request(wire::UnregisterRequest{wire::UnregisterStep::Begin, begun}),
            std::nullopt);
  ASSERT_FALSE(living.engine->acquire(*living.context, held, trying()));

  clerk.bury(dead->client);
  EXPECT_FALSE(clerk.recover()) << "nothing living has any of it";
  const auto grant = living.engine->acquire(*living.context, held, trying());
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
  EXPECT_EQ(state_of(orphan), Lifecycle::Orphaned);
  EXPECT_EQ(state_of(begun), Lifecycle::Orphaned);
  EXPECT_EQ(state_of(held), Lifecycle::Ready);
  EXPECT_EQ(living.request(wire::UnregisterRequest{wire::UnregisterStep::Begin, orphan}),
            ErrorCode::NotPermitted);
}

TEST_F(ClerkTest, AnOrphanIsNotHisWhoGetsThePlaceOfItsOwner) {
  auto dead = std::make_unique<Peer>(clerk, "dma");
  std::array<UniqueFd, 1> file{memory(4096)};
  const Handle handle =
      dead->add({.name = "a", .description = {.flags = ResourceFlags::Shareable}, .fd = 0}, file)
          .handle;
  clerk.bury(dead->client);
  Peer next(clerk, "gpu");
  ASSERT_EQ(next.client.index, dead->client.index);
  EXPECT_EQ(next.request(wire::OpenFdRequest{.handle = handle}), ErrorCode::NotPermitted);
  EXPECT_EQ(next.request(wire::UnregisterRequest{wire::UnregisterStep::Begin, handle}),
            ErrorCode::NotPermitted);
  EXPECT_EQ(
      next.request(wire::ShareRequest{.handle = handle, .driver = "gpu", .rights = Rights::All}),
      ErrorCode::NotPermitted);
  EXPECT_EQ(next.request(wire::SetStateRequest{.handle = handle}), ErrorCode::NotPermitted);
}

TEST_F(ClerkTest, APlaceIsGivenAgainOnceItsLastOwnerIsForgotten) {
  std::vector<Client> all(kCapacities.clients - 1);
  for (Client& client : all) EXPECT_FALSE(greet(clerk, client));
  Client next{.pid = 99, .start_time = 1};
  EXPECT_EQ(greet(clerk, next), ErrorCode::CapacityExceeded);
  EXPECT_EQ(next.index, 0u);
  clerk.bury(all.at(1));
  EXPECT_FALSE(greet(clerk, next));
  EXPECT_EQ(next.index, all.at(1).index);
  EXPECT_NE(next.sequence, all.at(1).sequence);
}

// Any client can write its record, and others'.
TEST_F(ClerkTest, AClientThatFreesAnothersRecordDoesNotGetItsPlaceGivenAway) {
  Client victim{.pid = 5, .start_time = 1};
  EXPECT_FALSE(greet(clerk, victim));
  store(state->locks().tables().client(victim.index)->state, std::uint64_t{0});
  Client next{.pid = 6, .start_time = 1};
  EXPECT_FALSE(greet(clerk, next));
  EXPECT_NE(next.index, victim.index);
}

TEST_F(ClerkTest, OneThatNeedsTheNextComesWithItOrNotAtAll) {
  Peer peer(clerk, "dma");
  const wire::Record good{.name = "dma/1", .description = {.owner_driver = peer.driver}};
  wire::Record needing = good;
  needing.name = "dma/0";
  needing.needs_next = true;
  wire::Record bad = good;
  bad.description.owner_driver = 15;  // not its own

  const auto refused = peer.add(std::array{needing, bad});
  ASSERT_EQ(refused.size(), 2u);
  EXPECT_TRUE(refused.at(0).error);
  EXPECT_TRUE(refused.at(1).error);
  EXPECT_TRUE(state->view().lookup("dma/0").is_null());
  EXPECT_TRUE(state->view().lookup("dma/1").is_null());
  // Nothing follows the last.
  EXPECT_EQ(peer.add(std::array{good, needing}).at(1).error, ErrorCode::InvalidArgument);

  wire::Record third = good;
  third.name = "dma/2";
  const auto both = peer.add(std::array{needing, third});
  ASSERT_EQ(both.size(), 2u);
  EXPECT_FALSE(both.at(0).error);
  EXPECT_EQ(peer.request(wire::UnregisterRequest{wire::UnregisterStep::Begin, both.at(1).handle}),
            ErrorCode::InUse);
}

}  // namespace
}  // namespace resmgr::daemon::test
