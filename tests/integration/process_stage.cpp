// SPDX-License-Identifier: Apache-2.0
//
// A stage of processes: each performer is a client of one resmgrd, and does in a process of its own
// what he is told by a call in memory that he shares with the test.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "resmgr/client/domain.hpp"
#include "resmgr/client/served_authority.hpp"
#include "resmgr/lock/pools.hpp"
#include "tests/base/shared_block.hpp"
#include "tests/integration/served_support.hpp"
#include "tests/lock/stage.hpp"

namespace resmgr::lock::test {
namespace {

/// Nothing takes a performer longer, unless it hangs: then his alarm ends him.
constexpr unsigned kPatienceSeconds = 300;
constexpr std::size_t kLongestCycle = 128;

/// An outcome as one process tells it to another.
struct Told {
  bool is_granted = false;
  Grant grant;
  ErrorCode code{};
  Participant blame;
  std::uint32_t blamed = 0;
  std::size_t cycle_size = 0;
  std::array<Participant, kLongestCycle> cycle;

  void tell(const Outcome& outcome) {
    is_granted = outcome.has_value();
    if (outcome) {
      grant = *outcome;
      return;
    }
    const Error& error = outcome.error();
    code = error.code();
    blame = error.blame();
    blamed = error.blamed();
    cycle_size = std::min(error.cycle().size(), kLongestCycle);
    std::copy_n(error.cycle().begin(), cycle_size, cycle.begin());
  }
  [[nodiscard]] Outcome hear() const {
    if (is_granted) return grant;
    Error error(code);
    error.with_blame(blame, blamed);
    if (cycle_size != 0) {
      error.with_detail(
          {.cycle = {cycle.begin(), cycle.begin() + static_cast<int>(cycle_size)}, .text = {}});
    }
    return std::unexpected(std::move(error));
  }
};

struct Mailbox {
  Call call;
  Told told;
  std::atomic<std::uint32_t> context = 0;
  std::atomic<bool> busy = false;
};

/// In the child: does one call after another, until nobody is there to ask.
int perform_for(const std::string& socket, std::uint32_t driver, Mailbox& mailbox,
                const hal::test::Child::Talk& talk) {
  ::alarm(kPatienceSeconds);
  const auto domain = client::Domain::connect({socket});
  if (!domain) return 2;
  const auto context = (*domain)->thread_context();
  if (!context) return 3;
  if (driver != 0) {
    const auto number = (*domain)->register_driver("driver-" + std::to_string(driver));
    if (!number || !(*domain)->set_driver(**context, *number)) return 4;
  }
  mailbox.context = (*context)->id;
  for (talk.say('r'); talk.hear() == 'c';) {
    mailbox.told.tell(mailbox.call((*domain)->engine(), **context));
    mailbox.busy = false;
  }
  return 0;
}

class Process final : public Performer {
 public:
  Process(const std::string& socket, std::uint32_t driver, LockEngine& engine)
      : engine_(engine), child_([&](hal::test::Child::Talk& talk) {
          return perform_for(socket, driver, *mailbox_, talk);
        }) {
    EXPECT_EQ(child_.hear(), 'r') << "no client";
  }

  [[nodiscard]] std::uint16_t id() const override {
    return static_cast<std::uint16_t>(mailbox_->context.load());
  }
  [[nodiscard]] std::uint32_t pid() const override {
    return static_cast<std::uint32_t>(child_.pid());
  }
  void post(const Call& call) override {
    mailbox_->call = call;
    mailbox_->busy = true;
    child_.say('c');
  }
  [[nodiscard]] bool finished() const override { return !mailbox_->busy.load(); }
  Outcome finish() override {
    wait_until([&] { return finished(); });
    return mailbox_->told.hear();
  }

 private:
  [[nodiscard]] LockEngine& engine() const override { return engine_; }

  LockEngine& engine_;
  const resmgr::test::SharedBlock<Mailbox> mailbox_;
  hal::test::Child child_;
};

std::string configuration(const StageSize& size) {
  const auto key = [](const char* name, std::uint32_t value) {
    return std::string(name) + " = " + std::to_string(value) + '\n';
  };
  // Besides the performers there are two clients in the test itself, and who connects first.
  const std::uint32_t clients = std::max(size.performers + 8, 16u);
  return "[domain]\n" + key("slots", std::max(size.resources, 16u)) + key("clients", clients) +
         "[limits]\n" + key("clients_per_uid", clients);
}

class ProcessStage final : public Stage {
 public:
  explicit ProcessStage(const StageSize& size) : configuration_(configuration(size).c_str()) {
    auto attached = client::ServedAuthority::attach({daemon_.socket()});
    auto owner = client::Domain::connect({daemon_.socket()});
    if (!attached || !owner) std::abort();
    attached_.emplace(std::move(*attached));
    owner_ = std::move(*owner);
    engine_.emplace(attached_->locks.tables(), names_);
    for (std::uint32_t number = 0; number < size.resources; ++number) {
      client::Registration plain;
      add(owner_->register_resource("resource-" + std::to_string(number), plain).value());
    }
  }

  [[nodiscard]] std::unique_ptr<Performer> enter(std::uint32_t driver) override {
    return std::make_unique<Process>(daemon_.socket(), driver, *engine_);
  }
  [[nodiscard]] LockEngine& engine() override { return *engine_; }
  [[nodiscard]] const LockTables& tables() const override { return attached_->locks.tables(); }
  // A performer's spare node can't be told from a lost one in another process: one is his.
  [[nodiscard]] Census census() override {
    Census census;
    std::map<std::uint32_t, std::uint32_t> nodes;
    const TakenBits bits = NodePool(tables()).bits();
    for (std::uint32_t i = 0; i < bits.high_water(); ++i) {
      const std::uint32_t refs = load(tables().nodes[i].refs);
      if (bits.is_taken(i) || refs != 0) ++nodes[taker_of(refs)];
    }
    for (const auto& [taker, count] : nodes) {
      const bool lives = taker != 0 && !tables().is_dead(static_cast<std::uint16_t>(taker));
      census.nodes_lost += count - (lives ? 1 : 0);
    }
    count_cells(tables(), census);
    return census;
  }

 private:
  const hal::test::TemporaryFile configuration_;
  const hal::test::Daemon daemon_{{"--config", configuration_.path()}};
  std::optional<client::ServedAuthority::Attached> attached_;
  std::shared_ptr<client::Domain> owner_;
  FakeNames names_;
  std::optional<LockEngine> engine_;
};

}  // namespace

std::unique_ptr<Stage> set_stage(const StageSize& size) {
  return std::make_unique<ProcessStage>(size);
}

}  // namespace resmgr::lock::test
