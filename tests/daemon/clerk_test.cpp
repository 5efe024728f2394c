// SPDX-License-Identifier: Apache-2.0
//
// What the clerk answers, to clients that have no process: each maps the regions from the
// descriptors it was given, and acquires with an engine of its own.
#include "resmgr/daemon/clerk.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "resmgr/lock/context_table.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::daemon::test {
namespace {

using lock::test::FakeNames;
using lock::test::trying;

constexpr Capacities kCapacities{.slots = 64,
                                 .contexts = 16,
                                 .clients = 5,
                                 .nodes = 64,
                                 .cells = 64,
                                 .classes = 16,
                                 .drivers = 16,
                                 .pairs = 64,
                                 .dependencies = 16,
                                 .shares = 16};

UniqueFd memory(std::size_t bytes) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  return fd;
}

bool can_map_writable(int fd) {
  void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return false;
  ::munmap(at, 4096);
  return true;
}

/// Who talks to the clerk.
class Peer {
 public:
  Peer(Clerk& clerk, std::string_view name = {}) : clerk_(clerk) {
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
    return clerk_.answer(client, std::span(in_).first(bytes), fds, out_);
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

  Client client{.pid = 4711, .start_time = 1};
  wire::ClientPlace place;
  std::uint32_t driver = 0;
  UniqueFd registry_fd;
  Clerk::Answer last;
  std::unique_ptr<lock::LockEngine> engine;
  std::unique_ptr<lock::ContextTable> contexts;
  lock::Context* context = nullptr;

 private:
  Clerk& clerk_;
  FakeNames names_;
  std::unique_ptr<lock::LockRegion> region_;
  std::vector<std::byte> in_ = std::vector<std::byte>(RM_WIRE_MAX_FRAME);
  std::vector<std::byte> out_ = std::vector<std::byte>(RM_WIRE_MAX_FRAME);
};

class ClerkTest : public ::testing::Test {
 protected:
  [[nodiscard]] Lifecycle state_of(Handle handle) const {
    return state->view().read(handle).value().state;
  }

  std::unique_ptr<DomainState> state = DomainState::create(kCapacities, {.domain_id = 42}).value();
  Clerk clerk{*state, "test 1.0"};
};

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

/// Says hello for one who does nothing else, and returns what it was refused with.
std::optional<ErrorCode> greet(Clerk& clerk, Client& client, const wire::ClientPlace& before = {}) {
  std::vector<std::byte> in(RM_WIRE_MAX_FRAME);
  std::vector<std::byte> out(RM_WIRE_MAX_FRAME);
  const auto bytes = wire::encode(wire::Hello{.before = before}, 1, in).value();
  const auto answer = clerk.answer(client, std::span(in).first(bytes), {}, out);
  const auto frame = wire::read_frame(std::span(out).first(answer.bytes)).value();
  if (frame.type == wire::FrameType::Welcome) return {};
  return wire::ResultReply::decode(frame).value().error;
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

/// What a clerk had written down, for the next.
class Notes final : public Ledger {
 public:
  void file_kept(Handle handle, int file) override {
    files[handle] = UniqueFd(::fcntl(file, F_DUPFD_CLOEXEC, 0));
  }
  void file_dropped(Handle handle) override { files.erase(handle); }
  void client_came(const Client& client) override { clients.push_back(client); }
  void client_went(const Client& client) override {
    std::erase_if(clients, [&](const Client& each) { return each.index == client.index; });
  }

  std::map<Handle, UniqueFd> files;
  std::vector<Client> clients;
};

TEST_F(ClerkTest, ASuccessorServesTheClientsThatComeBack) {
  Notes notes;
  auto first = std::make_unique<Clerk>(*state, "1", notes);
  Peer peer(*first, "dma");
  std::array fds{memory(4096)};
  const Handle handle = peer.add({.name = "dma/0",
                                  .description = {.size_bytes = 4096, .owner_driver = peer.driver},
                                  .fd = 0},
                                 fds)
                            .handle;
  ASSERT_EQ(notes.clients.size(), 1u);
  ASSERT_EQ(notes.files.size(), 1u);
  first.reset();

  Clerk second(*state, "2", notes);
  for (const Client& client : notes.clients) second.inherit(client);
  for (auto& [key, file] : notes.files) second.inherit(key, std::move(file));
  // Neither another process nor one that was there before has that place.
  Client other{.pid = 1, .start_time = 1};
  EXPECT_FALSE(greet(second, other, peer.place));
  EXPECT_FALSE(other.returned);
  EXPECT_NE(other.index, peer.client.index);
  wire::ClientPlace older = peer.place;
  ++older.sequence;
  Client again{.pid = 4711, .start_time = 1};
  EXPECT_FALSE(greet(second, again, older));
  EXPECT_FALSE(again.returned);

  Client same{.pid = 4711, .start_time = 1};
  EXPECT_FALSE(greet(second, same, peer.place));
  EXPECT_TRUE(same.returned);
  EXPECT_EQ(same.index, peer.client.index);
  EXPECT_EQ(same.sequence, peer.client.sequence);
  // Once.
  Client twice{.pid = 4711, .start_time = 1};
  EXPECT_FALSE(greet(second, twice, peer.place));
  EXPECT_FALSE(twice.returned);

  // What it owned is still its own, with the file behind it.
  std::vector<std::byte> in(RM_WIRE_MAX_FRAME);
  std::vector<std::byte> out(RM_WIRE_MAX_FRAME);
  const auto bytes =
      wire::encode(wire::OpenFdRequest{.handle = handle, .rights = Rights::Read}, 4, in).value();
  const auto answer = second.answer(same, std::span(in).first(bytes), {}, out);
  EXPECT_EQ(answer.fd_count, 1u);
}

// Killed after the slot was closed, with somebody waiting, and before the entry went.
TEST(DomainStateTest, ASuccessorCompletesARemoval) {
  auto regions = DomainRegions::create(kCapacities, {.domain_id = 42}).value();
  const UniqueFd registry(::fcntl(regions.registry.fd(), F_DUPFD_CLOEXEC, 0));
  auto locks = lock::LockRegion::attach(UniqueFd(::fcntl(regions.locks.fd(), F_DUPFD_CLOEXEC, 0)));
  ASSERT_TRUE(locks);
  FakeNames names;
  lock::LockEngine engine(locks->tables(), names);
  lock::ContextTable contexts(locks->tables(), engine);

  auto writer = registry::RegistryWriter::open(regions.registry).value();
  const auto prepared = writer.prepare("gone", {}).value();
  engine.arm(prepared.slot, prepared.generation, prepared.class_id, 0);
  const Handle gone = writer.publish(prepared).value();
  const auto stays = writer.prepare("stays", {}).value();
  engine.arm(stays.slot, stays.generation, stays.class_id, 0);
  ASSERT_TRUE(writer.publish(stays));
  ASSERT_TRUE(writer.begin_unregister(gone));
  ASSERT_TRUE(writer.begin_unregister(stays.handle()));
  lock::Context& holder = *contexts.open(1, 0, 0, lock::this_thread()).value();
  ASSERT_TRUE(engine.acquire(holder, gone, trying()));
  const std::uint32_t next = gone.generation() + 1;
  store(locks->tables().slot(gone.slot())->word,
        lock::StateWord::free(next).with(RM_WORD_ABSENT).with_latch(RM_AUTHORITY_CONTEXT).bits);

  const auto state = DomainState::take_over(std::move(regions)).value();
  EXPECT_TRUE(state->view().lookup("gone").is_null());
  EXPECT_EQ(state->engine().word(gone.slot()).latch(), 0);
  EXPECT_FALSE(state->view().lookup("stays").is_null());
  // The slot can be used again.
  EXPECT_EQ(state->writer().prepare("next", {}).value().slot, gone.slot());
}

TEST_F(ClerkTest, WhoDoesNotComeBackIsBuried) {
  Notes notes;
  auto first = std::make_unique<Clerk>(*state, "1", notes);
  Peer peer(*first, "dma");
  const Handle handle = peer.added("dma/0");
  ASSERT_TRUE(peer.engine->acquire(*peer.context, handle, trying()));
  first.reset();
  Clerk second(*state, "2", notes);
  second.inherit(notes.clients.at(0));
  second.bury_absent(peer.client.index);
  EXPECT_EQ(state->engine().word(handle.slot()).owner(), 0);
  EXPECT_EQ(state_of(handle), Lifecycle::Orphaned);
  EXPECT_TRUE(notes.clients.empty());
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
