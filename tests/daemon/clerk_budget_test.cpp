// SPDX-License-Identifier: Apache-2.0
//
// Budgets as clients of a daemon meet them.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

#include "resmgr/abi/budget_requests.hpp"
#include "tests/daemon/clerk_support.hpp"
#include "tests/daemon/fake_accounts.hpp"

namespace resmgr::daemon::test {
namespace {

constexpr auto kMemory = ResourceType::Memory;

class Budgets : public ClerkTest {
 protected:
  Budgets() { clerk.set_audit(&audit_); }

  void set_policy(const std::string& text) {
    FakeAccounts accounts;
    const auto read = read_config(text, "test.toml", accounts);
    ASSERT_TRUE(read.mistakes.empty());
    clerk.set_policy(std::make_shared<Policy>(read.config, uid_t{0}));
  }
  [[nodiscard]] BudgetUsage of(std::uint32_t driver) const {
    return state->book().usage(driver, kMemory).value();
  }
  static wire::RegistrationOutcome add(Peer& peer, std::string_view name, std::uint64_t bytes,
                                       Urgency urgency = Urgency::Normal) {
    return peer.add({.name = name,
                     .description = {.type = kMemory,
                                     .size_bytes = bytes,
                                     .owner_driver = peer.driver,
                                     .urgency = urgency}});
  }
  static wire::DrawRequest drawing(const Peer& peer, std::uint64_t least, std::uint64_t most,
                                   Urgency urgency = Urgency::Normal) {
    return {.driver_id = peer.driver,
            .type = kMemory,
            .least = least,
            .most = most,
            .urgency = urgency};
  }
  static std::pair<std::uint64_t, std::uint64_t> values(Peer& peer) {
    const auto frame = wire::read_frame(peer.reply(peer.last)).value();
    const auto reply = wire::ResultReply::decode(frame).value();
    return {reply.value[0], reply.value[1]};
  }

  std::vector<nlohmann::json> audited_;

 private:
  AuditLog audit_ = AuditLog::open({}, [this](LogLevel, std::string_view line) {
                      audited_.push_back(nlohmann::json::parse(line));
                    }).value();
};

TEST_F(Budgets, AreThoseOfTheConfiguration) {
  set_policy(
      "[[budget]]\ndriver = \"dma-*\"\ntype = \"memory\"\nmax = 100\nreserved = 10\n"
      "[[budget]]\ntype = \"memory\"\nmax = 150\n");
  Peer dma(clerk, "dma-a", 1);
  Peer other(clerk, "gpu", 2);
  EXPECT_EQ(add(dma, "a", 91).error, ErrorCode::BudgetExceeded);
  EXPECT_EQ(add(dma, "a", 90).error, std::nullopt);
  EXPECT_EQ(add(other, "b", 61).error, ErrorCode::BudgetExceeded);
  EXPECT_EQ(add(other, "b", 60).error, std::nullopt);
  EXPECT_EQ(of(0).used, 150u);
  EXPECT_EQ(of(dma.driver).used, 90u);
  EXPECT_EQ(of(other.driver).budget, ResourceBudget{});
}

TEST_F(Budgets, ADriverThatCameBeforeTheRuleHasItToo) {
  Peer dma(clerk, "dma-a", 1);
  EXPECT_EQ(add(dma, "a", 90).error, std::nullopt);
  set_policy("[[budget]]\ndriver = \"dma-*\"\ntype = \"memory\"\nmax = 100\n");
  EXPECT_EQ(add(dma, "b", 11).error, ErrorCode::BudgetExceeded);
  set_policy("");
  EXPECT_EQ(add(dma, "b", 11).error, std::nullopt);
}

TEST_F(Budgets, AnOperatorsStaysUntilTheRuleChanges) {
  const char* const rule = "[[budget]]\ntype = \"memory\"\nmax = 100\n";
  set_policy(rule);
  Peer root(clerk, {}, 1);
  EXPECT_EQ(root.request(wire::SetBudgetRequest{.type = kMemory, .budget = {.max = 500}}),
            std::nullopt);
  EXPECT_EQ(audited_.back()["event"], "operated");
  EXPECT_EQ(audited_.back()["detail"], "set the budget of memory to 500: done");
  set_policy(rule);
  EXPECT_EQ(of(0).budget.max, 500u);
  set_policy("[[budget]]\ntype = \"memory\"\nmax = 101\n");
  EXPECT_EQ(of(0).budget.max, 101u);
}

TEST_F(Budgets, AreSetByOperatorsAlone) {
  Peer client(clerk, "dma", 1);
  client.client.uid = 1000;
  EXPECT_EQ(client.request(wire::SetBudgetRequest{.type = kMemory, .budget = {.max = 5}}),
            ErrorCode::NotPermitted);
  EXPECT_EQ(of(0).budget, ResourceBudget{});
  Peer root(clerk, {}, 2);
  EXPECT_EQ(
      root.request(wire::SetBudgetRequest{.type = kMemory, .budget = {.max = 5, .reserved = 6}}),
      ErrorCode::InvalidArgument);
  EXPECT_EQ(root.request(wire::SetBudgetRequest{
                .driver = "yet-to-come", .type = kMemory, .budget = {.max = 5}}),
            std::nullopt);
  Peer late(clerk, "yet-to-come", 3);
  EXPECT_EQ(add(late, "a", 6).error, ErrorCode::BudgetExceeded);
}

TEST_F(Budgets, CreditsAreOfTheClientsOwnDrivers) {
  Peer dma(clerk, "dma", 1);
  Peer gpu(clerk, "gpu", 2);
  EXPECT_EQ(dma.request(drawing(dma, 10, 10)), std::nullopt);
  const auto [account, amount] = values(dma);
  EXPECT_EQ(amount, 10u);
  EXPECT_EQ(of(dma.driver).drawn, 10u);
  EXPECT_EQ(gpu.request(drawing(dma, 1, 1)), ErrorCode::NotPermitted);
  const auto number = static_cast<std::uint32_t>(account);
  EXPECT_EQ(gpu.request(wire::ReturnCreditsRequest{.account = number, .type = kMemory}),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(dma.request(wire::ReturnCreditsRequest{.account = number, .type = kMemory, .kept = 4}),
            std::nullopt);
  EXPECT_EQ(of(0).used, 4u);
}

TEST_F(Budgets, WhoDiesGivesHisCreditsBackAndKeepsWhatIsRegistered) {
  Peer dma(clerk, "dma", 1);
  EXPECT_EQ(add(dma, "a", 100).error, std::nullopt);
  EXPECT_EQ(dma.request(drawing(dma, 10, 10)), std::nullopt);
  EXPECT_EQ(of(0).used, 110u);
  clerk.bury(dma.client);
  EXPECT_EQ(of(0).used, 100u) << "an orphan counts until it is destroyed";
  (void)clerk.destroy_orphans(~std::uint64_t{0} >> 1);
  EXPECT_EQ(of(0).used, 0u);
}

TEST_F(Budgets, ASuccessorCountsAnew) {
  Peer dma(clerk, "dma", 1);
  EXPECT_EQ(add(dma, "a", 100).error, std::nullopt);
  EXPECT_EQ(dma.request(drawing(dma, 10, 10)), std::nullopt);
  ASSERT_TRUE(state->book().set(0, kMemory, {.max = 200}));
  // As if the worker before had died between charging and registering.
  ASSERT_TRUE(state->book().charge(dma.driver, kMemory, 55, Urgency::Normal));
  const auto copy = [](int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); };
  auto regions = DomainRegions::adopt(copy(state->registry().fd()), copy(state->locks().fd()),
                                      state->registry().header().epoch + 1);
  ASSERT_TRUE(regions);
  auto next = DomainState::take_over(std::move(*regions)).value();
  const auto usage = next->book().usage(0, kMemory).value();
  EXPECT_EQ(usage.used, 110u);
  EXPECT_EQ(usage.drawn, 10u);
  EXPECT_EQ(usage.budget.max, 200u);
}

TEST_F(Budgets, WhatSomebodyNeedsAllAreAskedFor) {
  struct Posted final : Outbox {
    bool post(std::uint32_t client, std::span<const std::byte> event) override {
      const auto frame = wire::read_frame(event).value();
      to.push_back(client);
      amounts.push_back(wire::ReclaimEvent::decode(frame).value().amount);
      return true;
    }
    void for_each_listener(const std::function<void(const Client&)>&) override {}
    void warn(const std::string&) noexcept override {}
    std::vector<std::uint32_t> to;
    std::vector<std::uint64_t> amounts;
  } posted;
  clerk.set_outbox(&posted);
  Peer dma(clerk, "dma", 1);
  EXPECT_EQ(dma.request(wire::NeedRequest{.driver_id = 99, .type = kMemory, .amount = 5}),
            ErrorCode::NotPermitted);
  EXPECT_TRUE(posted.to.empty());
  EXPECT_EQ(dma.request(wire::NeedRequest{.driver_id = dma.driver, .type = kMemory, .amount = 5}),
            std::nullopt);
  // Whether there is somebody, the outbox knows.
  EXPECT_EQ(posted.to, (std::vector<std::uint32_t>{1, 2, 3, 4}));
  EXPECT_EQ(posted.amounts, (std::vector<std::uint64_t>{5, 5, 5, 5}));
  EXPECT_TRUE(state->book().tables().is_wanted(kMemory));
  ASSERT_TRUE(state->book().set(0, kMemory, {.max = 100}));
  EXPECT_FALSE(state->book().tables().is_wanted(kMemory));
  // More than was asked for just now is asked for at once.
  EXPECT_EQ(dma.request(wire::NeedRequest{.driver_id = dma.driver, .type = kMemory, .amount = 6}),
            std::nullopt);
  EXPECT_EQ(posted.amounts.back(), 6u);
  clerk.set_outbox(nullptr);
}

TEST_F(Budgets, AnEmergencyIsForDriversThatMayUseIt) {
  set_policy(
      "[[driver]]\nname = \"plain\"\n[[driver]]\nname = \"*\"\nemergency = true\n"
      "[[budget]]\ntype = \"memory\"\nmax = 100\nreserved = 20\n");
  Peer plain(clerk, "plain", 1);
  Peer urgent(clerk, "urgent", 2);
  EXPECT_EQ(add(plain, "a", 90, Urgency::Emergency).error, ErrorCode::NotPermitted);
  EXPECT_EQ(plain.request(drawing(plain, 1, 1, Urgency::Emergency)), ErrorCode::NotPermitted);
  EXPECT_EQ(audited_.back()["event"], "refused");
  EXPECT_EQ(add(urgent, "a", 90, Urgency::Emergency).error, std::nullopt);
  EXPECT_EQ(audited_.back()["event"], "overdrawn");
  EXPECT_EQ(audited_.back()["driver"], "urgent");
  EXPECT_EQ(audited_.back()["detail"],
            "memory: 90 charged, 10 of it from the reserve, 0 above the maximum");
  EXPECT_EQ(urgent.request(drawing(urgent, 30, 30, Urgency::Emergency)), std::nullopt);
  EXPECT_EQ(audited_.back()["detail"],
            "memory: 30 charged, 10 of it from the reserve, 20 above the maximum");
}

}  // namespace
}  // namespace resmgr::daemon::test
