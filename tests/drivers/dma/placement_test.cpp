// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/placement.hpp"

#include <gtest/gtest.h>
#include <numa.h>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <thread>
#include <vector>

#include "drivers/dma/channel.hpp"
#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

/// A machine with as many nodes as a test wants.
class FakePlacement final : public Placement {
 public:
  int node_of(std::span<const std::byte> memory) const override {
    const auto found = nodes_.find(memory.data());
    return found == nodes_.end() ? kNoNode : found->second;
  }
  bool run_on(pthread_t thread, int node) const override {
    if (closed_.contains(node)) return false;
    threads_.push_back(thread);
    bound_.push_back(node);
    return true;
  }

  std::map<const std::byte*, int> nodes_;
  std::set<int> closed_;  ///< nodes without a CPU for us
  mutable std::vector<int> bound_;
  mutable std::vector<pthread_t> threads_;
};

class WorkerPlacementTest : public testing::Test {
 protected:
  std::span<std::byte> on_node(int node, std::size_t bytes) {
    Bytes& memory = memories_.emplace_back(bytes);
    fake_->nodes_[memory.data()] = node;
    return memory;
  }
  std::unique_ptr<Channel> open(int node = kNoNode) {
    return open_channel({.numa_node = node}, {.placement = fake_});
  }

  std::shared_ptr<FakePlacement> fake_ = std::make_shared<FakePlacement>();
  std::vector<Bytes> memories_;
};

TEST_F(WorkerPlacementTest, FollowsMostOfTheMemory) {
  const auto channel = open();
  EXPECT_TRUE(fake_->bound_.empty()) << "nothing is known yet";
  static_cast<void>(channel->attach_buffer(on_node(1, 100)).value());
  EXPECT_EQ(fake_->bound_, std::vector({1}));
  static_cast<void>(channel->attach_source(on_node(0, 60)).value());
  EXPECT_EQ(fake_->bound_, std::vector({1})) << "node 1 still has more";
  const BufferId large = channel->attach_source(on_node(0, 60)).value();
  EXPECT_EQ(fake_->bound_, std::vector({1, 0}));
  ASSERT_TRUE(channel->detach_buffer(large).has_value());
  static_cast<void>(channel->attach_buffer(on_node(2, 10)).value());
  EXPECT_EQ(fake_->bound_, std::vector({1, 0, 1})) << "what is detached does not count";
}

TEST_F(WorkerPlacementTest, BindsItsWorker) {
  const auto channel = open();
  const BufferId id = channel->attach_buffer(on_node(1, 100)).value();
  pthread_t worker{};
  const Descriptor fill = Descriptor::fill({id, 0, 1}, 0);
  static_cast<void>(
      channel->submit({&fill, 1}, [&](const Ticket&) noexcept { worker = ::pthread_self(); })
          .value());
  channel->close();
  ASSERT_EQ(fake_->threads_.size(), 1u);
  EXPECT_NE(::pthread_equal(fake_->threads_[0], worker), 0);
}

TEST_F(WorkerPlacementTest, StaysWhereItWasToldToBe) {
  const auto channel = open(3);
  EXPECT_EQ(fake_->bound_, std::vector({3}));
  static_cast<void>(channel->attach_buffer(on_node(1, 100)).value());
  EXPECT_EQ(fake_->bound_, std::vector({3}));
}

TEST_F(WorkerPlacementTest, DoesWithoutANode) {
  fake_->closed_ = {0, 5};
  const auto told = open(5);
  const auto channel = open();
  const BufferId unknown = channel->attach_buffer(on_node(kNoNode, 100)).value();
  static_cast<void>(channel->attach_buffer(on_node(0, 100)).value());
  EXPECT_TRUE(fake_->bound_.empty());
  const Descriptor fill = Descriptor::fill({unknown, 0, 100}, 0);
  EXPECT_TRUE(channel->wait(channel->submit({&fill, 1}).value(), soon()).has_value());
  // Refused is not forgotten: CPUs can come back.
  fake_->closed_.clear();
  static_cast<void>(channel->attach_buffer(on_node(0, 1)).value());
  EXPECT_EQ(fake_->bound_, std::vector({0}));
}

TEST(NodeVoteTest, TheMostBytesWin) {
  NodeVote vote;
  EXPECT_EQ(vote.winner(), kNoNode);
  vote.add(kNoNode, 1000);
  EXPECT_EQ(vote.winner(), kNoNode);
  vote.add(2, 10);
  EXPECT_EQ(vote.winner(), 2);
  vote.add(1, 10);
  EXPECT_EQ(vote.winner(), 1) << "of equals, the lowest";
  vote.add(2, 1);
  EXPECT_EQ(vote.winner(), 2);
}

TEST(SystemPlacementTest, AnswersForThisMachine) {
  const auto system = Placement::system();
  const Bytes touched(100'000, std::byte{1});
  const int node = system->node_of(touched);
  EXPECT_EQ(system->node_of({}), kNoNode);
  if (::numa_available() < 0 || ::numa_max_node() == 0) {
    EXPECT_EQ(node, kNoNode) << "there is nothing to choose";
    EXPECT_FALSE(system->run_on(::pthread_self(), 0));
  } else {
    EXPECT_LE(node, ::numa_max_node());
  }
  EXPECT_FALSE(system->run_on(::pthread_self(), kNoNode));
  EXPECT_FALSE(system->run_on(::pthread_self(), 1 << 20));
}

}  // namespace
}  // namespace drivers::dma
