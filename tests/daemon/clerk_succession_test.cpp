// SPDX-License-Identifier: Apache-2.0
//
// A clerk that takes over from another, and a state that a predecessor left half done.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tests/daemon/clerk_support.hpp"

namespace resmgr::daemon::test {
namespace {

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
  // Where there is no room for one more, who comes to begin may find some later; but whose place is
  // lost is told that.
  std::optional<ErrorCode> full;
  for (std::uint32_t pid = 5000; !full; ++pid) {
    Client one_more{.pid = pid, .start_time = 1};
    full = greet(second, one_more);
  }
  EXPECT_EQ(full, ErrorCode::CapacityExceeded);
  Client late{.pid = 4711, .start_time = 1};
  EXPECT_EQ(greet(second, late, peer.place), ErrorCode::Disconnected);

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

}  // namespace
}  // namespace resmgr::daemon::test
