// SPDX-License-Identifier: Apache-2.0
//
// What operators ask of the clerk, what becomes of it, and what is written down of it.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/daemon/clerk_support.hpp"
#include "tests/daemon/fake_accounts.hpp"

namespace resmgr::daemon::test {
namespace {

constexpr uid_t kAlice = 1000;

class Operators : public ClerkTest {
 protected:
  Operators() {
    set_rules("");
    clerk.set_audit(&audit_);
  }
  void set_rules(std::string_view text) {
    FakeAccounts accounts;
    clerk.set_policy(
        std::make_shared<Policy>(read_config(text, "test.toml", accounts).config, uid_t{200}));
  }
  static Handle shareable(Peer& owner, std::string_view name) {
    return owner
        .add({.name = name,
              .description = {.flags = ResourceFlags::Shareable, .owner_driver = owner.driver}})
        .handle;
  }
  std::uint64_t value(Peer& peer) {
    const auto frame = wire::read_frame(peer.reply(peer.last)).value();
    return wire::ResultReply::decode(frame).value().value[0];
  }
  /// The last line of the audit log.
  nlohmann::json audited() {
    return audit_lines_.empty() ? nlohmann::json() : nlohmann::json::parse(audit_lines_.back());
  }

 private:
  std::vector<std::string> audit_lines_;
  AuditLog audit_ = AuditLog::open({}, [this](LogLevel, std::string_view line) {
                      audit_lines_.emplace_back(line);
                    }).value();
};

wire::ShareRequest giving(Handle handle, std::string_view driver, Rights rights) {
  return {.handle = handle, .driver = driver, .rights = rights, .as_operator = true};
}
wire::ShareRequest revoking(Handle handle, std::string_view driver = {}) {
  return {.change = wire::ShareChange::Unshare,
          .handle = handle,
          .driver = driver,
          .rights = Rights::All,
          .as_operator = true};
}

TEST_F(Operators, GiveAndTakeRightsInTheOwnersName) {
  Peer owner(clerk, "camera", 1);
  Peer root(clerk, {}, 2);
  const Handle handle = shareable(owner, "frame/0");
  EXPECT_EQ(root.request(giving(handle, "display", Rights::Read)), std::nullopt);
  EXPECT_EQ(root.request(giving(handle, "display", Rights::Acquire)), std::nullopt);
  EXPECT_EQ(value(root), static_cast<std::uint64_t>(Rights::Read | Rights::Acquire));
  EXPECT_EQ(audited()["event"], "operated");
  EXPECT_EQ(audited()["pid"], 2);
  EXPECT_EQ(audited()["uid"], 0);
  EXPECT_EQ(audited()["driver"], "display");
  EXPECT_EQ(audited()["resource"], "frame/0");
  EXPECT_EQ(audited()["detail"], "share with rights 1: done");
  EXPECT_EQ(root.request(giving(handle, "encoder", Rights::Read)), std::nullopt);

  const std::uint32_t display = state->view().drivers().find("display").value();
  EXPECT_EQ(root.request(revoking(handle, "display")), std::nullopt);
  EXPECT_EQ(state->view().rights(handle, display).value(), Rights::None);
  EXPECT_EQ(root.request(revoking(handle, "display")), ErrorCode::NotFound);
  EXPECT_EQ(audited()["event"], "operated");
  EXPECT_NE(audited()["detail"].get<std::string>().find("revoke: "), std::string::npos);
  EXPECT_EQ(root.request(giving(handle, "display", Rights::Read)), std::nullopt);
  EXPECT_EQ(root.request(revoking(handle)), std::nullopt);
  EXPECT_EQ(value(root), 2u);
  EXPECT_TRUE(state->view().shares(handle).value().empty());
  EXPECT_EQ(root.request(revoking(handle)), std::nullopt) << "nobody has any";
  EXPECT_EQ(value(root), 0u);
}

TEST_F(Operators, AreRefusedWhatTheOwnerWouldBe) {
  Peer owner(clerk, "camera", 1);
  Peer root(clerk, {}, 2);
  const Handle handle = owner.added("frame/0");
  EXPECT_EQ(root.request(giving(handle, "display", Rights::Read)), ErrorCode::NotShareable);
  EXPECT_FALSE(state->view().drivers().find("display")) << "no trace of it";
  EXPECT_EQ(root.request(revoking(handle, "display")), ErrorCode::NotFound);
  const Handle shared = shareable(owner, "frame/1");
  EXPECT_EQ(root.request(giving(shared, "camera", Rights::Read)), ErrorCode::InvalidArgument);
  EXPECT_EQ(root.request(giving(Handle(63, 9), "display", Rights::Read)), ErrorCode::StaleHandle);
  EXPECT_EQ(root.request(wire::RemedyRequest{wire::Remedy::Repair, Handle(63, 9)}),
            ErrorCode::StaleHandle);
}

TEST_F(Operators, AreWhomThePolicyNames) {
  Peer owner(clerk, "camera", 1);
  const Handle handle = shareable(owner, "frame/0");
  Peer alice(clerk, {}, 2);
  alice.client.uid = kAlice;
  const wire::RemedyRequest repair{wire::Remedy::Repair, handle};
  EXPECT_EQ(alice.request(giving(handle, "display", Rights::Read)), ErrorCode::NotPermitted);
  EXPECT_TRUE(state->view().shares(handle).value().empty());
  EXPECT_EQ(audited()["event"], "refused");
  EXPECT_EQ(audited()["uid"], kAlice);
  EXPECT_EQ(audited()["resource"], "frame/0");
  EXPECT_EQ(alice.request(revoking(handle)), ErrorCode::NotPermitted);
  EXPECT_EQ(alice.request(repair), ErrorCode::NotPermitted);
  EXPECT_NE(audited()["detail"].get<std::string>().find("repair: "), std::string::npos);
  set_rules("[operators]\nusers = [\"alice\"]\n");
  EXPECT_EQ(alice.request(repair), std::nullopt) << "from here on";
  EXPECT_EQ(audited()["event"], "operated");
  set_rules("[operators]\ngroups = [\"video\"]\n");
  EXPECT_EQ(alice.request(repair), ErrorCode::NotPermitted);
  alice.client.groups = {44};
  EXPECT_EQ(alice.request(repair), std::nullopt);
}

TEST_F(Operators, HaveWhatIsDamagedRepaired) {
  Peer owner(clerk, "camera", 1);
  Peer root(clerk, {}, 2);
  const Handle handle = owner.added("frame/0");
  const wire::RemedyRequest repair{wire::Remedy::Repair, handle};
  EXPECT_EQ(root.request(repair), std::nullopt);
  EXPECT_EQ(value(root), 0u) << "it is sound";
  rm_slot& slot = *state->locks().tables().slot(handle.slot());
  const lock::StateWord word{load(slot.word)};
  store(slot.word, word.with_latch(16).with_owner(16).bits);
  EXPECT_EQ(root.request(repair), std::nullopt);
  EXPECT_EQ(value(root), RM_WIRE_REPAIRED_LATCH | RM_WIRE_REPAIRED_HOLD);
  EXPECT_TRUE(owner.engine->acquire(*owner.context, handle, trying()));

  store(slot.word, lock::StateWord{load(slot.word)}.with_latch(owner.context->id).bits);
  EXPECT_EQ(root.request(repair), ErrorCode::InUse) << "never from the living";
  EXPECT_EQ(lock::StateWord{load(slot.word)}.latch(), owner.context->id);
}

TEST_F(Operators, CloseWhatADriverOwnsUntilTheyCancel) {
  Peer owner(clerk, "camera", 1);
  Peer user(clerk, "display", 2);
  Peer root(clerk, {}, 3);
  const Handle held = owner.added("frame/0");
  const Handle free = owner.added("frame/1");
  const Handle other = user.added("screen/0");
  ASSERT_TRUE(user.engine->acquire(*user.context, held, trying()));
  const wire::DrainRequest drain{wire::DrainStep::Begin, "camera"};
  const wire::DrainRequest cancel{wire::DrainStep::Cancel, "camera"};
  EXPECT_EQ(root.request(cancel), ErrorCode::InvalidArgument) << "not yet";
  EXPECT_EQ(root.request(drain), std::nullopt);
  EXPECT_EQ(value(root), 2u);
  EXPECT_EQ(audited()["detail"], "drain: done");
  EXPECT_EQ(audited()["driver"], "camera");
  EXPECT_TRUE(state->view().read(free).value().drained);
  const auto refused = user.engine->acquire(*user.context, free, lock::test::blocking());
  ASSERT_FALSE(refused) << "and nobody waits for it";
  EXPECT_EQ(refused.error(), ErrorCode::Quarantined);
  EXPECT_TRUE(user.engine->acquire(*user.context, other, trying())) << "another driver's";
  EXPECT_TRUE(user.engine->release(*user.context, held, HoldKind::Exclusive))
      << "who has it goes on";
  EXPECT_FALSE(user.engine->acquire(*user.context, held, trying()));

  const Handle late = owner.added("frame/2");
  EXPECT_TRUE(state->view().read(late).value().drained);
  EXPECT_FALSE(user.engine->acquire(*user.context, late, trying()));

  EXPECT_EQ(root.request(wire::RemedyRequest{wire::Remedy::Unpoison, free}),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(root.request(cancel), std::nullopt);
  EXPECT_EQ(value(root), 3u);
  for (const Handle handle : {held, free, late}) {
    EXPECT_FALSE(state->view().read(handle).value().drained);
    EXPECT_TRUE(user.engine->acquire(*user.context, handle, trying()));
  }
  EXPECT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Begin, "nobody"}),
            ErrorCode::NotFound);
}

TEST_F(Operators, DrainAlsoForASuccessor) {
  Peer owner(clerk, "camera", 1);
  Peer root(clerk, {}, 3);
  const Handle handle = owner.added("frame/0");
  ASSERT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Begin, "camera"}), std::nullopt);
  // The predecessor had noted one and come no further.
  rm_slot& slot = *state->locks().tables().slot(handle.slot());
  store(slot.word, lock::StateWord{load(slot.word)}.without(RM_WORD_QUARANTINED).bits);
  const Handle unnoted = owner.added("frame/1");
  ASSERT_TRUE(state->writer().set_drained(unnoted, false));

  Clerk next(*state, "test 1.1");
  next.inherit_drains();
  next.inherit_quarantine();
  (void)next.quiesce(monotonic_ns());
  EXPECT_FALSE(owner.engine->acquire(*owner.context, handle, trying()));
  EXPECT_TRUE(state->view().read(unnoted).value().drained);
  Peer again(next, {}, 4);
  EXPECT_EQ(again.request(wire::DrainRequest{wire::DrainStep::Cancel, "camera"}), std::nullopt);
  EXPECT_TRUE(owner.engine->acquire(*owner.context, handle, trying()));
  EXPECT_TRUE(owner.engine->acquire(*owner.context, unnoted, trying()));
}

// Whose driver owns nothing at the moment, and what was in the registry alone.
TEST_F(Operators, DrainADriverWithoutResourcesForASuccessorToo) {
  Notes notes;
  Clerk first(*state, "test 1.0", notes);
  Peer owner(first, "camera", 1);
  Peer root(first, {}, 3);
  ASSERT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Begin, "camera"}), std::nullopt);
  EXPECT_EQ(notes.drains, std::set{owner.driver});
  notes.drains.insert(owner.driver + 5);  // of another domain, or damaged

  Clerk next(*state, "test 1.1", notes);
  next.inherit_drain(owner.driver);
  next.inherit_drain(owner.driver + 5);
  next.inherit_drains();
  EXPECT_EQ(notes.drains, std::set{owner.driver});
  Peer again(next, "camera", 4);
  const Handle late = again.added("frame/0");
  EXPECT_FALSE(again.engine->acquire(*again.context, late, trying()));
  Peer other(next, {}, 5);
  EXPECT_EQ(other.request(wire::DrainRequest{wire::DrainStep::Cancel, "camera"}), std::nullopt);
  EXPECT_TRUE(notes.drains.empty());
  EXPECT_TRUE(again.engine->acquire(*again.context, late, trying()));
}

// As owners do, who know the numbers.
TEST_F(Operators, NameDriversByNumberToo) {
  Peer owner(clerk, "camera", 1);
  Peer user(clerk, "screen", 2);
  Peer root(clerk, {}, 3);
  const Handle handle = shareable(owner, "frame/0");
  ASSERT_EQ(root.request(giving(handle, "encoder", Rights::Read)), std::nullopt);
  wire::ShareRequest request = giving(handle, {}, Rights::Read);
  request.driver_id = user.driver;
  ASSERT_EQ(root.request(request), std::nullopt);
  EXPECT_EQ(value(root), static_cast<std::uint64_t>(Rights::Read));
  EXPECT_EQ(audited()["driver"], "screen");
  request.change = wire::ShareChange::Unshare;
  ASSERT_EQ(root.request(request), std::nullopt);
  EXPECT_EQ(value(root), 1u);
  EXPECT_EQ(state->view().rights(handle, user.driver).value(), Rights::None);
  EXPECT_EQ(state->view().shares(handle).value().size(), 1u) << "the other's stays";
}

TEST_F(Operators, LetADrainedDriverUnregister) {
  Peer owner(clerk, "camera", 1);
  Peer user(clerk, "screen", 2);
  Peer root(clerk, {}, 3);
  const Handle held = owner.added("frame/0");
  const Handle free = owner.added("frame/1");
  const Handle poisoned = owner.added("frame/2");
  ASSERT_TRUE(user.engine->acquire(*user.context, held, trying()));
  ASSERT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Begin, "camera"}), std::nullopt);
  const auto step = [&](wire::UnregisterStep which, Handle handle) {
    return owner.request(wire::UnregisterRequest{which, handle});
  };
  EXPECT_EQ(step(wire::UnregisterStep::Begin, free), std::nullopt);
  EXPECT_EQ(step(wire::UnregisterStep::Finish, free), std::nullopt);
  EXPECT_FALSE(state->view().is_live(free));
  EXPECT_EQ(owner.client.resources, 2u);

  EXPECT_EQ(step(wire::UnregisterStep::Begin, held), std::nullopt);
  EXPECT_EQ(step(wire::UnregisterStep::Finish, held), ErrorCode::InUse);
  ASSERT_TRUE(user.engine->release(*user.context, held, HoldKind::Exclusive));
  rm_slot& slot = *state->locks().tables().slot(held.slot());
  const lock::StateWord word{load(slot.word)};
  store(slot.word, word.with_latch(user.context->id).bits);
  EXPECT_EQ(step(wire::UnregisterStep::Finish, held), ErrorCode::WouldBlock) << "for a moment";
  store(slot.word, word.bits);
  EXPECT_EQ(step(wire::UnregisterStep::Finish, held), std::nullopt);
  EXPECT_FALSE(state->view().is_live(held));

  ASSERT_TRUE(state->writer().set_lifecycle(poisoned, Lifecycle::Quarantined));
  EXPECT_EQ(step(wire::UnregisterStep::Begin, poisoned), ErrorCode::Quarantined);
}

TEST_F(Operators, SayThatHardwareIsQuiet) {
  Peer owner(clerk, "camera", 1);
  Peer root(clerk, {}, 2);
  const Handle handle = owner.added("frame/0");
  const wire::RemedyRequest unpoison{wire::Remedy::Unpoison, handle};
  EXPECT_EQ(root.request(unpoison), ErrorCode::InvalidArgument) << "it is not quarantined";
  rm_slot& slot = *state->locks().tables().slot(handle.slot());
  store(slot.word, lock::StateWord{load(slot.word)}.with(RM_WORD_QUARANTINED).bits);
  ASSERT_TRUE(state->writer().set_lifecycle(handle, Lifecycle::Quarantined));
  root.client.uid = kAlice;
  EXPECT_EQ(root.request(unpoison), ErrorCode::NotPermitted);
  EXPECT_EQ(state_of(handle), Lifecycle::Quarantined);
  root.client.uid = 0;
  EXPECT_EQ(root.request(unpoison), std::nullopt);
  EXPECT_EQ(audited()["detail"], "unpoison: done");
  EXPECT_EQ(state_of(handle), Lifecycle::Ready);
  EXPECT_TRUE(owner.engine->acquire(*owner.context, handle, trying()));
}

// Nobody may get from a drain what is not known to be quiet.
TEST_F(Operators, LeaveClosedWhatIsPoisonedToo) {
  Peer owner(clerk, "camera", 1);
  Peer root(clerk, {}, 2);
  const Handle handle = owner.added("frame/0");
  ASSERT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Begin, "camera"}), std::nullopt);
  ASSERT_TRUE(state->writer().set_lifecycle(handle, Lifecycle::Quarantined));
  ASSERT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Cancel, "camera"}), std::nullopt);
  EXPECT_FALSE(owner.engine->acquire(*owner.context, handle, trying()));
  ASSERT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Begin, "camera"}), std::nullopt);
  EXPECT_EQ(root.request(wire::RemedyRequest{wire::Remedy::Unpoison, handle}), std::nullopt);
  EXPECT_FALSE(owner.engine->acquire(*owner.context, handle, trying())) << "it is drained still";
  ASSERT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Cancel, "camera"}), std::nullopt);
  EXPECT_TRUE(owner.engine->acquire(*owner.context, handle, trying()));
}

}  // namespace
}  // namespace resmgr::daemon::test
