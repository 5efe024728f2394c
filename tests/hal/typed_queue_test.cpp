// SPDX-License-Identifier: Apache-2.0
#include <hal/typed_queue.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>

#include "tests/hal/queue_support.hpp"

namespace hal::test {
namespace {

struct Request {
  std::uint64_t from = 0;
  std::uint32_t bytes = 0;
  std::uint8_t tag = 0;
  friend bool operator==(const Request&, const Request&) = default;
};
using Requests = TypedQueue<Request, 0x100>;

TEST(TypedQueue, PassesValues) {
  auto manager = make_manager();
  Requests queue = Requests::create(*manager, "q", {.capacity = 4}).value();
  EXPECT_EQ(queue.queue().message_bytes(), sizeof(Request));
  EXPECT_EQ(queue.queue().protocol(), 0x100u);
  EXPECT_EQ(queue.try_pop().error(), ErrorCode::WouldBlock);
  EXPECT_EQ(queue.pop(in(0s)).error(), ErrorCode::TimedOut);
  const Request request{.from = 7, .bytes = 4096, .tag = 3};
  EXPECT_TRUE(queue.try_push(request));
  EXPECT_TRUE(queue.push({.from = 8}, in(0s)));
  EXPECT_EQ(queue.try_pop().value(), request);
  EXPECT_EQ(queue.pop(patience()).value().from, 8u);
}

TEST(TypedQueue, OpensAndAttachesWhatItIsFor) {
  auto manager = make_manager();
  Requests queue = Requests::create(*manager, "q").value();
  EXPECT_TRUE(Requests::open(*manager, "q"));
  EXPECT_TRUE(Requests::attach(queue.queue().memory_fd().value()));
  using OtherVersion = TypedQueue<Request, 0x101>;
  EXPECT_EQ(OtherVersion::open(*manager, "q").error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(OtherVersion::attach(queue.queue().memory_fd().value()).error(),
            ErrorCode::InvalidArgument);
  using OtherSize = TypedQueue<std::uint32_t, 0x100>;
  EXPECT_EQ(OtherSize::open(*manager, "q").error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(OtherSize::attach(queue.queue().memory_fd().value()).error(),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(Requests::open(*manager, "none").error(), ErrorCode::NotFound);
}

TEST(TypedQueue, SizesComeFromTheType) {
  auto manager = make_manager();
  const QueueOptions options{.message_bytes = 1, .capacity = 8, .protocol = 9};
  auto queue = TypedQueue<std::uint64_t>::create(*manager, "q", options).value();
  EXPECT_EQ(queue.queue().message_bytes(), 8u);
  EXPECT_EQ(queue.queue().protocol(), 0u);
  EXPECT_EQ(queue.queue().capacity(), 8u);
}

TEST(TypedQueue, ConnectsThreads) {
  auto manager = make_manager();
  auto requests = TypedQueue<std::uint64_t>::create(*manager, "to", {.capacity = 4}).value();
  auto replies = TypedQueue<std::uint64_t>::create(*manager, "from", {.capacity = 4}).value();
  std::thread server([&] {
    for (int i = 0; i < 1000; ++i) {
      const auto request = requests.pop(patience());
      ASSERT_TRUE(request);
      ASSERT_TRUE(replies.push(*request * 2, patience()));
    }
  });
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(requests.push(i, patience()));
    ASSERT_EQ(replies.pop(patience()).value(), i * 2);
  }
  server.join();
}

}  // namespace
}  // namespace hal::test
