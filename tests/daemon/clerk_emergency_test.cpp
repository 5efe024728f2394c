// SPDX-License-Identifier: Apache-2.0
//
// Emergencies of clients: who may have something taken from others, whom the clerk asks and when,
// and what it writes down.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "resmgr/abi/events.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/daemon/clerk_support.hpp"

namespace resmgr::daemon::test {
namespace {

using namespace std::chrono_literals;
using lock::test::blocking;
using lock::test::emergency;

constexpr std::uint64_t kYield = 1'000'000'000;
constexpr std::uint64_t kGrace = 2'000'000'000;

/// What clients were told.
class Told final : public Outbox {
 public:
  bool post(std::uint32_t client, std::span<const std::byte> event) override {
    if (!reachable) return false;
    const auto frame = wire::read_frame(event).value();
    if (frame.type == wire::FrameType::Yield) {
      yields.emplace_back(client, wire::YieldEvent::decode(frame).value());
    } else {
      questions.emplace_back(client, wire::QuiesceEvent::decode(frame).value());
    }
    return true;
  }
  void for_each_listener(const std::function<void(const Client&)>&) override {}
  void warn(const std::string&) noexcept override {}

  bool reachable = true;
  std::vector<std::pair<std::uint32_t, wire::YieldEvent>> yields;
  std::vector<std::pair<std::uint32_t, wire::QuiesceEvent>> questions;
};

class ClerkEmergency : public ClerkTest {
 protected:
  ClerkEmergency() { use({}); }

  void use(std::vector<DriverRule> rules) {
    Config config;
    config.grace.quiesce = std::chrono::nanoseconds(kGrace);
    config.drivers = std::move(rules);
    clerk.set_policy(std::make_shared<Policy>(config, ::geteuid()));
    clerk.set_outbox(&told);
    clerk.set_audit(&audit_);
  }
  Handle channel(Peer& by, bool hook = true) {
    return by
        .add({.name = "dma/0", .description = {.owner_driver = by.driver}, .quiesce_hook = hook})
        .handle;
  }
  void hold(Peer& who, Handle handle, HoldKind kind = HoldKind::Exclusive) {
    ASSERT_TRUE(who.engine->acquire(*who.context, handle, trying(kind)));
  }
  /// Waits from here on, without a thread.
  void queue(Peer& who, Handle handle, lock::Wait& wait, const lock::Request& request) {
    lock::Grant grant;
    const auto at_once = who.engine->begin(*who.context, handle, request, wait, grant);
    ASSERT_TRUE(at_once && !*at_once);
  }
  [[nodiscard]] static wire::EmergencyRequest plea(const Peer& who, const lock::Wait& wait) {
    return {.handle = wait.handle,
            .sequence = wait.waiter.word.sequence(),
            .yield_ns = kYield,
            .node_link = who.engine->tables().link_of(wait.waiter.node),
            .context = who.context->id};
  }
  [[nodiscard]] bool closed(Handle handle) const {
    return state->engine().word(handle.slot()).has(RM_WORD_QUARANTINED);
  }
  std::optional<ErrorCode> answer(Peer& owner, Handle handle, std::optional<ErrorCode> error = {}) {
    return owner.request(
        wire::SetStateRequest{.handle = handle,
                              .state = error ? Lifecycle::Quarantined : Lifecycle::Ready,
                              .attempt = told.questions.back().second.attempt,
                              .error = error});
  }
  /// "event: detail" of each line.
  [[nodiscard]] std::vector<std::string> written() const {
    std::vector<std::string> all;
    for (const std::string& line : lines_) {
      const auto json = nlohmann::json::parse(line);
      if (json["event"] != "emergency" && json["event"] != "revoked" &&
          json["event"] != "refused") {
        continue;
      }
      EXPECT_EQ(json["resource"], "dma/0");
      all.push_back(std::string(json["event"]) + ": " + std::string(json["detail"]));
    }
    return all;
  }
  [[nodiscard]] nlohmann::json last_line() const { return nlohmann::json::parse(lines_.back()); }

  Told told;
  std::vector<std::string> lines_;
  AuditLog audit_ = AuditLog::open({}, [this](LogLevel, std::string_view line) {
                      lines_.emplace_back(line);
                    }).value();
};

TEST_F(ClerkEmergency, HoldersAreAskedThenTheOwnerThenItIsTaken) {
  Peer owner(clerk, "dma", 1);
  Peer holder(clerk, "gpu", 2);
  Peer asker(clerk, "timer", 3);
  const Handle handle = channel(owner);
  hold(holder, handle);
  lock::Wait wait;
  queue(asker, handle, wait, emergency());
  EXPECT_FALSE(clerk.has_emergencies());
  const std::uint64_t before = monotonic_ns();
  EXPECT_EQ(asker.request(plea(asker, wait)), std::nullopt);
  EXPECT_TRUE(clerk.has_emergencies());
  ASSERT_EQ(told.yields.size(), 1u);
  const auto& [client, asked] = told.yields[0];
  EXPECT_EQ(client, holder.client.index);
  EXPECT_EQ(asked.handle, handle);
  EXPECT_EQ(asked.holder, holder.context->id);
  EXPECT_EQ(asked.kind, HoldKind::Exclusive);
  EXPECT_EQ(asked.by, asker.context->id);
  EXPECT_EQ(asked.by_pid, 3u);
  EXPECT_EQ(asked.by_driver, asker.driver);
  EXPECT_GE(asked.deadline_ns, before + kYield);

  // The same again changes nothing.
  EXPECT_EQ(asker.request(plea(asker, wait)), std::nullopt);
  EXPECT_EQ(told.yields.size(), 1u);
  EXPECT_EQ(clerk.see_to_emergencies(asked.deadline_ns - 1), asked.deadline_ns);
  EXPECT_TRUE(told.questions.empty());
  EXPECT_FALSE(closed(handle));

  const std::uint64_t over = asked.deadline_ns;
  EXPECT_EQ(clerk.see_to_emergencies(over), over + kGrace);
  ASSERT_EQ(told.questions.size(), 1u);
  EXPECT_EQ(told.questions[0].first, owner.client.index);
  EXPECT_EQ(told.questions[0].second.reason, wire::QuiesceReason::Revoked);
  EXPECT_EQ(told.questions[0].second.deadline_ns, over + kGrace);
  EXPECT_TRUE(closed(handle));
  EXPECT_FALSE(asker.engine->is_decided(wait));

  EXPECT_EQ(answer(owner, handle), std::nullopt);
  EXPECT_FALSE(closed(handle));
  const auto grant = asker.engine->finish(*asker.context, wait);
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
  const auto stale = holder.engine->release(*holder.context, handle, HoldKind::Exclusive);
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error(), ErrorCode::Revoked);
  EXPECT_EQ(clerk.see_to_emergencies(over + 1), std::nullopt);
  EXPECT_FALSE(clerk.has_emergencies());
  EXPECT_EQ(written(), (std::vector<std::string>{
                           "emergency: asks process 2 (gpu) to let go",
                           "emergency: the time is over, and process 2 (gpu) has it still",
                           "emergency: its owner made it quiet",
                           "revoked: taken for an emergency of process 3 (timer)",
                       }));
  EXPECT_EQ(last_line()["pid"], 2) << "from whom";
}

TEST_F(ClerkEmergency, WhoLetsGoIsNotForced) {
  Peer owner(clerk, "dma");
  Peer holder(clerk, "gpu", 2);
  Peer asker(clerk, "timer", 3);
  const Handle handle = channel(owner);
  hold(holder, handle);
  lock::Wait wait;
  queue(asker, handle, wait, emergency());
  EXPECT_EQ(asker.request(plea(asker, wait)), std::nullopt);
  ASSERT_TRUE(holder.engine->release(*holder.context, handle, HoldKind::Exclusive));
  EXPECT_EQ(clerk.see_to_emergencies(monotonic_ns() + kYield), std::nullopt);
  EXPECT_TRUE(told.questions.empty());
  EXPECT_TRUE(asker.engine->finish(*asker.context, wait));
}

TEST_F(ClerkEmergency, AllReadersAreAsked) {
  Peer owner(clerk, "dma");
  Peer one(clerk, "gpu", 2);
  Peer two(clerk, "gpu", 3);
  Peer asker(clerk, "timer", 4);
  const Handle handle = channel(owner);
  hold(one, handle, HoldKind::Shared);
  hold(two, handle, HoldKind::Shared);
  lock::Wait wait;
  queue(asker, handle, wait, emergency());
  EXPECT_EQ(asker.request(plea(asker, wait)), std::nullopt);
  ASSERT_EQ(told.yields.size(), 2u);
  EXPECT_NE(told.yields[0].first, told.yields[1].first);
  (void)clerk.see_to_emergencies(monotonic_ns() + kYield);
  EXPECT_EQ(answer(owner, handle), std::nullopt);
  EXPECT_TRUE(asker.engine->finish(*asker.context, wait));
  for (Peer* reader : {&one, &two}) {
    const auto stale = reader->engine->release(*reader->context, handle, HoldKind::Shared);
    ASSERT_FALSE(stale);
    EXPECT_EQ(stale.error(), ErrorCode::Revoked);
  }
}

TEST_F(ClerkEmergency, WithoutAHookOrAnAnswerNobodyIsForced) {
  const auto all = [&](bool hook, const std::function<void(Peer&, Handle, std::uint64_t)>& then,
                       std::string_view why) {
    Peer owner(clerk, "dma");
    Peer holder(clerk, "gpu", 2);
    Peer asker(clerk, "timer", 3);
    lines_.clear();
    const Handle handle = channel(owner, hook);
    hold(holder, handle);
    lock::Wait wait;
    queue(asker, handle, wait, emergency());
    EXPECT_EQ(asker.request(plea(asker, wait)), std::nullopt);
    const std::uint64_t over = told.yields.back().second.deadline_ns;
    (void)clerk.see_to_emergencies(over);
    then(owner, handle, over);
    EXPECT_FALSE(closed(handle)) << why;
    EXPECT_FALSE(asker.engine->is_decided(wait)) << "the wait goes on";
    ASSERT_FALSE(written().empty());
    EXPECT_EQ(written().back(), "emergency: nobody is forced: " + std::string(why));
    EXPECT_TRUE(holder.engine->release(*holder.context, handle, HoldKind::Exclusive));
    EXPECT_TRUE(asker.engine->finish(*asker.context, wait));
    for (Peer* peer : {&owner, &holder, &asker}) clerk.bury(peer->client);
    told.reachable = true;
    (void)clerk.destroy_orphans(~std::uint64_t{0});
  };
  all(false, [](Peer&, Handle, std::uint64_t) {}, "its owner has no quiesce hook");
  all(
      true,
      [&](Peer& owner, Handle handle, std::uint64_t) {
        EXPECT_EQ(answer(owner, handle, ErrorCode::System), std::nullopt);
      },
      "it is not quiet");
  all(
      true,
      [&](Peer& owner, Handle handle, std::uint64_t over) {
        (void)clerk.see_to_emergencies(over + kGrace);
        EXPECT_EQ(answer(owner, handle), ErrorCode::InvalidArgument) << "too late";
      },
      "it is not quiet");
}

TEST_F(ClerkEmergency, AnOwnerWhoIsNotThereForcesNobody) {
  Peer owner(clerk, "dma");
  Peer holder(clerk, "gpu", 2);
  Peer asker(clerk, "timer", 3);
  const Handle handle = channel(owner);
  hold(holder, handle);
  lock::Wait wait;
  queue(asker, handle, wait, emergency());
  EXPECT_EQ(asker.request(plea(asker, wait)), std::nullopt);
  told.reachable = false;
  (void)clerk.see_to_emergencies(monotonic_ns() + kYield);
  EXPECT_FALSE(closed(handle));
  EXPECT_EQ(written().back(), "emergency: nobody is forced: its owner is not there");
  EXPECT_TRUE(holder.engine->release(*holder.context, handle, HoldKind::Exclusive));
}

TEST_F(ClerkEmergency, OnlyForDriversThatMay) {
  use({{.name = "dma"}, {.name = "gpu"}, {.name = "timer"}, {.name = "fan", .emergency = true}});
  Peer owner(clerk, "dma");
  Peer holder(clerk, "gpu", 2);
  Peer asker(clerk, "timer", 3);
  const Handle handle = channel(owner);
  hold(holder, handle);
  lock::Wait wait;
  queue(asker, handle, wait, emergency());
  EXPECT_EQ(asker.request(plea(asker, wait)), ErrorCode::NotPermitted);
  EXPECT_TRUE(told.yields.empty());
  EXPECT_FALSE(clerk.has_emergencies());
  ASSERT_EQ(written().size(), 1u);
  EXPECT_TRUE(written()[0].starts_with("refused: emergency: "));
  EXPECT_EQ(last_line()["driver"], "timer");
  EXPECT_EQ(last_line()["pid"], 3);
  // Whatever it says in the region that it is.
  const auto fan = state->writer().drivers().intern("fan").value();
  store_relaxed(asker.context->record->driver, fan);
  EXPECT_EQ(asker.request(plea(asker, wait)), ErrorCode::NotPermitted);
  store_relaxed(asker.context->record->driver, 0u);
  EXPECT_EQ(asker.request(plea(asker, wait)), ErrorCode::NotPermitted);
  EXPECT_FALSE(asker.engine->is_decided(wait)) << "the wait goes on";
  EXPECT_TRUE(holder.engine->release(*holder.context, handle, HoldKind::Exclusive));
  EXPECT_TRUE(asker.engine->finish(*asker.context, wait));

  Peer urgent(clerk, "fan", 4);
  lock::Wait second;
  queue(urgent, handle, second, emergency());
  EXPECT_EQ(urgent.request(plea(urgent, second)), std::nullopt);
}

TEST_F(ClerkEmergency, OnlyForAWaitOfOnesOwnThatThereIs) {
  Peer owner(clerk, "dma");
  Peer holder(clerk, "gpu", 2);
  Peer asker(clerk, "timer", 3);
  const Handle handle = channel(owner);
  hold(holder, handle);
  lock::Wait plain;
  queue(asker, handle, plain, blocking());
  EXPECT_EQ(asker.request(plea(asker, plain)), ErrorCode::InvalidArgument) << "no emergency";
  ASSERT_TRUE(asker.engine->give_up(plain, RM_NODE_CANCELLED));
  EXPECT_FALSE(asker.engine->finish(*asker.context, plain));
  lock::Wait wait;
  queue(asker, handle, wait, emergency());
  EXPECT_EQ(holder.request(plea(asker, wait)), ErrorCode::NotPermitted) << "another client's";
  wire::EmergencyRequest wrong = plea(asker, wait);
  ++wrong.sequence;
  EXPECT_EQ(asker.request(wrong), ErrorCode::InvalidArgument);
  wrong = plea(asker, wait);
  wrong.node_link = ~0u;
  EXPECT_EQ(asker.request(wrong), ErrorCode::InvalidArgument);
  wrong = plea(asker, wait);
  wrong.handle = Handle(handle.slot() + 1, handle.generation());
  EXPECT_EQ(asker.request(wrong), ErrorCode::InvalidArgument);
  wrong = plea(asker, wait);
  wrong.context = RM_MAX_CONTEXTS;
  EXPECT_EQ(asker.request(wrong), ErrorCode::NotPermitted);
  EXPECT_TRUE(told.yields.empty());
  const wire::EmergencyRequest late = plea(asker, wait);
  ASSERT_TRUE(asker.engine->give_up(wait, RM_NODE_TIMED_OUT));
  EXPECT_FALSE(asker.engine->finish(*asker.context, wait));
  EXPECT_EQ(asker.request(late), ErrorCode::InvalidArgument) << "it is over";
}

// The hardware that was stopped while a reader lived, who died after that, is stopped once more.
TEST_F(ClerkEmergency, ADeathMeanwhileIsTheQuiescersConcern) {
  Peer owner(clerk, "dma");
  Peer reader(clerk, "gpu", 2);
  Peer dying(clerk, "gpu", 3);
  Peer asker(clerk, "timer", 4);
  const Handle handle = channel(owner);
  hold(reader, handle, HoldKind::Shared);
  hold(dying, handle, HoldKind::Shared);
  lock::Wait wait;
  queue(asker, handle, wait, emergency());
  EXPECT_EQ(asker.request(plea(asker, wait)), std::nullopt);
  (void)clerk.see_to_emergencies(monotonic_ns() + kYield);
  ASSERT_EQ(told.questions.size(), 1u);
  clerk.bury(dying.client);
  EXPECT_TRUE(clerk.is_quiescing());
  EXPECT_EQ(answer(owner, handle), std::nullopt);
  const auto stale = reader.engine->release(*reader.context, handle, HoldKind::Shared);
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error(), ErrorCode::Revoked) << "he is fenced";
  EXPECT_TRUE(closed(handle)) << "and the gate stays closed";
  EXPECT_FALSE(asker.engine->is_decided(wait));
  (void)clerk.quiesce(monotonic_ns() + kYield);
  ASSERT_EQ(told.questions.size(), 2u);
  EXPECT_EQ(told.questions[1].second.reason, wire::QuiesceReason::HolderDied);
  EXPECT_EQ(answer(owner, handle), std::nullopt);
  EXPECT_FALSE(closed(handle));
  EXPECT_TRUE(asker.engine->finish(*asker.context, wait));
}

// Who waited died: nobody wants it any more.
TEST_F(ClerkEmergency, TheDeathOfWhoWaitsForcesNobody) {
  Peer owner(clerk, "dma");
  Peer holder(clerk, "gpu", 2);
  Peer asker(clerk, "timer", 3);
  const Handle handle = channel(owner);
  hold(holder, handle);
  lock::Wait wait;
  queue(asker, handle, wait, emergency());
  EXPECT_EQ(asker.request(plea(asker, wait)), std::nullopt);
  clerk.bury(asker.client);
  EXPECT_EQ(clerk.see_to_emergencies(monotonic_ns() + kYield), std::nullopt);
  EXPECT_TRUE(told.questions.empty());
  EXPECT_TRUE(holder.engine->release(*holder.context, handle, HoldKind::Exclusive));
}

// What is being drained stays closed, whoever made it quiet.
TEST_F(ClerkEmergency, ADrainMeanwhileKeepsTheGateClosed) {
  Peer owner(clerk, "dma");
  Peer holder(clerk, "gpu", 2);
  Peer asker(clerk, "timer", 3);
  const Handle handle = channel(owner);
  hold(holder, handle);
  lock::Wait wait;
  queue(asker, handle, wait, emergency());
  EXPECT_EQ(asker.request(plea(asker, wait)), std::nullopt);
  (void)clerk.see_to_emergencies(monotonic_ns() + kYield);
  ASSERT_EQ(told.questions.size(), 1u);
  Peer operator_(clerk, {}, 4);
  operator_.client.uid = 0;
  EXPECT_EQ(operator_.request(wire::DrainRequest{wire::DrainStep::Begin, "dma"}), std::nullopt);
  const auto sent_away = asker.engine->finish(*asker.context, wait);
  ASSERT_FALSE(sent_away);
  EXPECT_EQ(sent_away.error(), ErrorCode::Quarantined);
  EXPECT_EQ(answer(owner, handle), std::nullopt);
  EXPECT_TRUE(closed(handle));
  EXPECT_TRUE(holder.engine->release(*holder.context, handle, HoldKind::Exclusive)) << "untouched";
}

}  // namespace
}  // namespace resmgr::daemon::test
