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

wire::OperatorShareRequest giving(Handle handle, std::string_view driver, Rights rights) {
  return {.handle = handle, .driver = driver, .rights = rights};
}
wire::OperatorShareRequest revoking(Handle handle, std::string_view driver = {}) {
  return {.change = wire::OperatorChange::Revoke, .handle = handle, .driver = driver};
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

}  // namespace
}  // namespace resmgr::daemon::test
