// SPDX-License-Identifier: Apache-2.0
//
// Hardware that is made quiet: whom the clerk asks, how often, and what it makes of the answers.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "resmgr/abi/events.hpp"
#include "resmgr/base/clock.hpp"
#include "tests/daemon/clerk_support.hpp"

namespace resmgr::daemon::test {
namespace {

using namespace std::chrono_literals;
using lock::test::blocking;

constexpr std::uint64_t kHour = 3'600'000'000'000;

/// What clients were told, and the operator.
class Told final : public Outbox {
 public:
  bool post(std::uint32_t client, std::span<const std::byte> event) override {
    if (!reachable) return false;
    clients.push_back(client);
    events.push_back(wire::QuiesceEvent::decode(wire::read_frame(event).value()).value());
    return true;
  }
  void for_each_listener(const std::function<void(const Client&)>&) override {}
  void warn(const std::string& line) noexcept override { warnings.push_back(line); }

  bool reachable = true;
  std::vector<std::uint32_t> clients;
  std::vector<wire::QuiesceEvent> events;
  std::vector<std::string> warnings;
};

class Quiesce : public ClerkTest {
 protected:
  Quiesce() {
    Config config;
    config.grace.quiesce = 1s;
    config.grace.quiesce_attempts = 3;
    config.grace.quiesce_backoff = 100ms;
    policy = std::make_shared<Policy>(config, ::geteuid());
    equip(clerk);
  }
  void equip(Clerk& which) {
    which.set_policy(policy);
    which.set_outbox(&told);
  }
  Handle channel(Peer& by, bool hook = true) {
    return by
        .add({.name = "dma/0", .description = {.owner_driver = by.driver}, .quiesce_hook = hook})
        .handle;
  }
  /// The channel, in the hands of one who died.
  Handle left_by_the_dead(Peer& owner) {
    const Handle handle = channel(owner);
    Peer holder(clerk, "gpu", 4712);
    EXPECT_TRUE(holder.engine->acquire(*holder.context, handle, trying()));
    clerk.bury(holder.client);
    return handle;
  }
  [[nodiscard]] bool quarantined(Handle handle) const {
    return state->engine().word(handle.slot()).has(RM_WORD_QUARANTINED);
  }
  /// Answers the last question.
  std::optional<ErrorCode> answer(Peer& owner, Handle handle, std::optional<ErrorCode> error = {}) {
    return owner.request(
        wire::SetStateRequest{.handle = handle,
                              .state = error ? Lifecycle::Quarantined : Lifecycle::Ready,
                              .attempt = told.events.back().attempt,
                              .error = error});
  }
  /// All attempts fail, without an answer.
  void poison() {
    std::uint64_t now = monotonic_ns();
    for (int i = 0; i < 6; ++i) (void)clerk.quiesce(now += kHour);
  }

  std::shared_ptr<const Policy> policy;
  Told told;
};

TEST_F(Quiesce, TheOwnerIsAskedAndHisAnswerOpensTheGate) {
  Peer owner(clerk, "dma");
  const std::uint64_t now = monotonic_ns();
  EXPECT_FALSE(clerk.is_quiescing());
  const Handle handle = left_by_the_dead(owner);
  EXPECT_TRUE(clerk.is_quiescing());
  ASSERT_TRUE(quarantined(handle));
  EXPECT_EQ(clerk.quiesce(now), now + 1'000'000'000);
  ASSERT_EQ(told.events.size(), 1u);
  EXPECT_EQ(told.clients.at(0), owner.client.index);
  EXPECT_EQ(told.events[0].handle, handle);
  EXPECT_EQ(told.events[0].reason, wire::QuiesceReason::HolderDied);
  EXPECT_EQ(told.events[0].deadline_ns, now + 1'000'000'000);
  EXPECT_EQ(clerk.quiesce(now + 1), now + 1'000'000'000) << "once";
  EXPECT_EQ(told.events.size(), 1u);

  EXPECT_EQ(answer(owner, handle), std::nullopt);
  EXPECT_FALSE(quarantined(handle));
  EXPECT_FALSE(clerk.is_quiescing());
  EXPECT_EQ(clerk.quiesce(now), std::nullopt);
  const auto grant = owner.engine->acquire(*owner.context, handle, trying());
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
}

TEST_F(Quiesce, WithoutAHookNobodyIsAsked) {
  Peer owner(clerk, "dma");
  Peer holder(clerk, "gpu", 4712);
  const Handle handle = channel(owner, false);
  ASSERT_TRUE(holder.engine->acquire(*holder.context, handle, trying()));
  clerk.bury(holder.client);
  EXPECT_FALSE(quarantined(handle));
  EXPECT_FALSE(clerk.is_quiescing());
  // Whoever wrote that flag, nobody will say that it is quiet.
  rm_slot& slot = *state->locks().tables().slot(handle.slot());
  store(slot.word, lock::StateWord{load(slot.word)}.with(RM_WORD_QUARANTINED).bits);
  clerk.inherit_quarantine();
  EXPECT_EQ(clerk.quiesce(monotonic_ns()), std::nullopt);
  EXPECT_FALSE(quarantined(handle));
  EXPECT_TRUE(told.events.empty());
}

TEST_F(Quiesce, FailuresAreRepeatedWithPausesThatDouble) {
  Peer owner(clerk, "dma");
  const Handle handle = left_by_the_dead(owner);
  const std::uint64_t now = monotonic_ns();
  (void)clerk.quiesce(now);
  // No answer.
  EXPECT_EQ(clerk.quiesce(now + 1'000'000'000), now + 1'100'000'000);
  EXPECT_EQ(told.events.size(), 1u);
  (void)clerk.quiesce(now + 1'100'000'000);
  ASSERT_EQ(told.events.size(), 2u);
  EXPECT_NE(told.events[0].attempt, told.events[1].attempt);
  EXPECT_EQ(clerk.quiesce(now + 2'100'000'000), now + 2'300'000'000);
  EXPECT_EQ(clerk.quiesce(now + 2'300'000'000), now + 3'300'000'000);
  ASSERT_EQ(told.events.size(), 3u);
  // An answer that comes late is one, as long as it is to one of these questions.
  const wire::SetStateRequest late{.handle = handle, .attempt = told.events[0].attempt};
  EXPECT_EQ(owner.request(late), std::nullopt);
  EXPECT_FALSE(quarantined(handle));
}

TEST_F(Quiesce, AnswersToOtherQuestionsAreNone) {
  Peer owner(clerk, "dma");
  Peer other(clerk, "other", 4713);
  const Handle handle = left_by_the_dead(owner);
  EXPECT_EQ(owner.request(wire::SetStateRequest{.handle = handle, .attempt = 1}),
            ErrorCode::InvalidArgument)
      << "nobody asked yet";
  (void)clerk.quiesce(monotonic_ns());
  const std::uint32_t number = told.events.at(0).attempt;
  for (const std::uint32_t wrong : {number - 1, number + 1}) {
    EXPECT_EQ(owner.request(wire::SetStateRequest{.handle = handle, .attempt = wrong}),
              ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(owner.request(wire::SetStateRequest{.handle = handle, .state = Lifecycle::Quarantined}),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(answer(other, handle), ErrorCode::NotPermitted);
  EXPECT_TRUE(quarantined(handle));
  EXPECT_EQ(answer(owner, handle), std::nullopt);
  EXPECT_EQ(answer(owner, handle), ErrorCode::InvalidArgument) << "it is over";
}

TEST_F(Quiesce, WhatCantBeMadeQuietIsPoisonedUntilAnOperatorSaysOtherwise) {
  Peer owner(clerk, "dma");
  const Handle handle = left_by_the_dead(owner);
  std::uint64_t now = monotonic_ns();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(state_of(handle), Lifecycle::Ready);
    (void)clerk.quiesce(now += kHour);
    ASSERT_EQ(answer(owner, handle, ErrorCode::TimedOut), std::nullopt);
  }
  EXPECT_EQ(state_of(handle), Lifecycle::Quarantined);
  EXPECT_EQ(clerk.quiesce(now += kHour), std::nullopt);
  EXPECT_EQ(told.events.size(), 3u);
  ASSERT_EQ(told.warnings.size(), 1u);
  EXPECT_EQ(told.warnings[0],
            "dma/0 is poisoned: process 4712 died with it, and 3 attempts to make it quiet failed, "
            "the last one with: " +
                Error(ErrorCode::TimedOut).message());
  const auto refused = owner.engine->acquire(*owner.context, handle, blocking());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), ErrorCode::Quarantined);
  EXPECT_EQ(answer(owner, handle), ErrorCode::Quarantined) << "its owner is not believed any more";

  EXPECT_TRUE(clerk.unpoison(owner.client, handle));
  EXPECT_EQ(state_of(handle), Lifecycle::Ready);
  EXPECT_TRUE(owner.engine->acquire(*owner.context, handle, blocking()));
  const auto twice = clerk.unpoison(owner.client, handle);
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(clerk.unpoison(owner.client, Handle(9, 9)).error(), ErrorCode::StaleHandle);
}

TEST_F(Quiesce, AnOwnerWhoIsNotThereHasTheTimeOfAnAttemptToComeBack) {
  Peer owner(clerk, "dma");
  const Handle handle = left_by_the_dead(owner);
  told.reachable = false;
  poison();
  EXPECT_EQ(state_of(handle), Lifecycle::Quarantined);
  EXPECT_NE(told.warnings.at(0).find("no answer in time"), std::string::npos);
}

// The hook would stop their hardware.
TEST_F(Quiesce, ReadersWhoLiveAreLeftAlone) {
  Peer owner(clerk, "dma");
  Peer reader(clerk, "gpu", 4712);
  Peer dead(clerk, "gpu", 4713);
  const Handle handle = channel(owner);
  for (Peer* each : {&reader, &dead}) {
    ASSERT_TRUE(each->engine->acquire(*each->context, handle, trying(HoldKind::Shared)));
  }
  clerk.bury(dead.client);
  ASSERT_TRUE(quarantined(handle));
  std::uint64_t now = monotonic_ns();
  EXPECT_TRUE(clerk.quiesce(now += kHour));
  EXPECT_TRUE(told.events.empty());
  ASSERT_TRUE(reader.engine->release(*reader.context, handle, HoldKind::Shared));
  EXPECT_TRUE(clerk.quiesce(now += kHour));
  EXPECT_EQ(told.events.size(), 1u);
}

// One who lives has the latch when the holder dies: he ends the hold later, and closes the gate.
TEST_F(Quiesce, WhatTheLivingCloseAfterwardsIsAskedForToo) {
  Peer owner(clerk, "dma");
  Peer living(clerk, "gpu", 4713);
  const Handle handle = channel(owner);
  rm_slot& slot = *state->locks().tables().slot(handle.slot());
  {
    Peer holder(clerk, "gpu", 4712);
    ASSERT_TRUE(holder.engine->acquire(*holder.context, handle, trying()));
    store(slot.word, lock::StateWord{load(slot.word)}.with_latch(living.context->id).bits);
    clerk.bury(holder.client);
  }
  EXPECT_FALSE(quarantined(handle)) << "left to him";
  EXPECT_FALSE(clerk.is_quiescing());
  EXPECT_TRUE(clerk.recover()) << "and there is more to do";
  store(slot.word, lock::StateWord{load(slot.word)}.with_latch(0).bits);
  EXPECT_FALSE(living.engine->acquire(*living.context, handle, lock::test::timed(0)));
  ASSERT_TRUE(quarantined(handle)) << "he came to it";
  EXPECT_FALSE(clerk.is_quiescing()) << "but told nobody";
  EXPECT_FALSE(clerk.recover());
  (void)clerk.quiesce(monotonic_ns());
  ASSERT_EQ(told.events.size(), 1u);
  EXPECT_EQ(told.events[0].handle, handle);
  EXPECT_EQ(answer(owner, handle), std::nullopt);
  EXPECT_FALSE(quarantined(handle));
}

TEST_F(Quiesce, ASuccessorFindsTheWordsAndBeginsAnew) {
  Notes notes;
  auto first = std::make_unique<Clerk>(*state, "1", notes);
  equip(*first);
  Peer owner(*first, "dma");
  const Handle handle = channel(owner);
  const Handle poisoned = owner.added("poisoned");
  state->engine().set_quiesce_hook(poisoned, true);
  Peer holder(*first, "gpu", 4712);
  ASSERT_TRUE(holder.engine->acquire(*holder.context, poisoned, trying()));
  ASSERT_TRUE(holder.engine->acquire(*holder.context, handle, trying()));
  first->bury(holder.client);
  (void)first->quiesce(monotonic_ns());
  ASSERT_EQ(told.events.size(), 2u);
  // Killed after it wrote down that this one is poisoned.
  ASSERT_TRUE(state->writer().set_lifecycle(poisoned, Lifecycle::Quarantined));
  const std::uint32_t last = told.events.back().attempt;
  first.reset();
  told = {};

  Clerk second(*state, "2", notes);
  equip(second);
  second.inherit(notes.clients.at(0));
  second.inherit_quarantine();
  told.reachable = false;
  (void)second.quiesce(monotonic_ns());
  told.reachable = true;
  EXPECT_EQ(owner.engine->acquire(*owner.context, poisoned, blocking()).error(),
            ErrorCode::Quarantined);
  ASSERT_TRUE(owner.come_back(second));
  EXPECT_EQ(owner.request(wire::SetStateRequest{.handle = handle, .attempt = last}),
            ErrorCode::InvalidArgument)
      << "an answer to the predecessor";
  (void)second.quiesce(monotonic_ns());
  ASSERT_EQ(told.events.size(), 1u) << "as soon as he is back";
  EXPECT_EQ(told.events[0].handle, handle);
  EXPECT_EQ(answer(owner, handle), std::nullopt);
  EXPECT_FALSE(quarantined(handle));
  EXPECT_TRUE(second.unpoison(owner.client, poisoned));
}

// A hold of nobody's was somebody's: the hardware may be at work.
TEST_F(Quiesce, WhatARepairEndsIsAskedForToo) {
  Peer owner(clerk, "dma");
  Peer root(clerk, {}, 2);
  const Handle handle = channel(owner);
  rm_slot& slot = *state->locks().tables().slot(handle.slot());
  store(slot.word, lock::StateWord{load(slot.word)}.with_owner(kCapacities.contexts).bits);
  ASSERT_EQ(root.request(wire::RemedyRequest{wire::Remedy::Repair, handle}), std::nullopt);
  ASSERT_TRUE(quarantined(handle));
  (void)clerk.quiesce(monotonic_ns());
  ASSERT_EQ(told.events.size(), 1u);
  EXPECT_EQ(answer(owner, handle), std::nullopt);
  EXPECT_TRUE(owner.engine->acquire(*owner.context, handle, trying()));
}

// Nobody looked meanwhile whether somebody died who had it.
TEST_F(Quiesce, WhatWasDrainedIsAskedForBeforeItIsOpenAgain) {
  Peer owner(clerk, "dma");
  Peer root(clerk, {}, 2);
  const Handle handle = channel(owner);
  {
    Peer holder(clerk, "gpu", 4712);
    ASSERT_TRUE(holder.engine->acquire(*holder.context, handle, trying()));
    ASSERT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Begin, "dma"}), std::nullopt);
    clerk.bury(holder.client);
  }
  EXPECT_FALSE(clerk.is_quiescing()) << "nobody gets it anyway";
  ASSERT_EQ(root.request(wire::DrainRequest{wire::DrainStep::Cancel, "dma"}), std::nullopt);
  EXPECT_TRUE(quarantined(handle));
  (void)clerk.quiesce(monotonic_ns());
  ASSERT_EQ(told.events.size(), 1u);
  EXPECT_EQ(answer(owner, handle), std::nullopt);
  const auto grant = owner.engine->acquire(*owner.context, handle, trying());
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
}

// The kernel stopped it when it closed what his process had open.
TEST_F(Quiesce, ADeadOwnersHardwareIsQuiet) {
  Peer owner(clerk, "dma");
  Peer living(clerk, "gpu", 4712);
  const Handle handle = channel(owner);
  ASSERT_TRUE(owner.engine->acquire(*owner.context, handle, trying()));
  clerk.bury(owner.client);
  EXPECT_EQ(clerk.quiesce(monotonic_ns()), std::nullopt);
  EXPECT_FALSE(quarantined(handle));
  EXPECT_TRUE(told.events.empty());
  EXPECT_TRUE(living.engine->acquire(*living.context, handle, trying()));
}

TEST_F(Quiesce, AnOwnerWhoHungUpHasItsHardwareUntilItsProcessEnds) {
  Peer owner(clerk, "dma");
  const Handle handle = channel(owner);
  ASSERT_TRUE(owner.engine->acquire(*owner.context, handle, trying()));
  const pid_t process = ::fork();
  if (process == 0) {
    for (;;) ::pause();
  }
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  ASSERT_TRUE(pidfd);
  owner.client.pidfd = pidfd.get();
  clerk.bury(owner.client);
  std::uint64_t now = monotonic_ns();
  EXPECT_TRUE(clerk.quiesce(now));
  EXPECT_TRUE(quarantined(handle));
  ASSERT_EQ(::kill(process, SIGKILL), 0);
  ASSERT_EQ(::waitpid(process, nullptr, 0), process);
  EXPECT_EQ(clerk.quiesce(now += kHour), std::nullopt);
  EXPECT_FALSE(quarantined(handle));
}

TEST_F(Quiesce, WhoAdoptsItIsAskedIfHeHasAHook) {
  for (const bool hook : {true, false}) {
    Peer owner(clerk, "dma");
    const Handle handle = channel(owner);
    ASSERT_TRUE(owner.engine->acquire(*owner.context, handle, trying()));
    owner.client.pidfd = 99'999;  // can't be duplicated: nothing is known of its process
    clerk.bury(owner.client);
    std::uint64_t now = monotonic_ns();
    EXPECT_EQ(clerk.quiesce(now), std::nullopt);
    ASSERT_TRUE(quarantined(handle));
    ASSERT_TRUE(told.events.empty());
    Peer next(clerk, "dma", 4712);
    ASSERT_EQ(channel(next, hook), handle);
    (void)clerk.quiesce(now += kHour);
    EXPECT_EQ(told.events.size(), hook ? 1u : 0u);
    if (hook) {
      EXPECT_EQ(answer(next, handle), std::nullopt);
    }
    EXPECT_FALSE(quarantined(handle));
    told = {};
    clerk.bury(next.client);
    (void)clerk.destroy_orphans(now + 1000 * kHour);
    ASSERT_TRUE(state->view().lookup("dma/0").is_null());
  }
}

TEST_F(Quiesce, NothingIsAskedOfWhatIsGone) {
  Peer owner(clerk, "dma");
  const Handle handle = left_by_the_dead(owner);
  (void)clerk.quiesce(monotonic_ns());
  owner.client.pidfd = 99'999;
  clerk.bury(owner.client);
  (void)clerk.destroy_orphans(monotonic_ns() + kHour);
  EXPECT_TRUE(state->view().lookup("dma/0").is_null());
  EXPECT_EQ(clerk.quiesce(monotonic_ns() + kHour), std::nullopt);
  EXPECT_FALSE(clerk.is_quiescing());
  EXPECT_EQ(told.events.size(), 1u);
  EXPECT_FALSE(state->view().is_live(handle));
}

TEST_F(Quiesce, HardwareThatIsStillToBeMadeIsRefused) {
  Peer owner(clerk, "dma");
  EXPECT_EQ(owner
                .add({.name = "dma/0",
                      .description = {.owner_driver = owner.driver},
                      .lazy = true,
                      .quiesce_hook = true})
                .error,
            ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace resmgr::daemon::test
