// SPDX-License-Identifier: Apache-2.0
//
// A session takes so many frames a turn, and none while an answer waits; what it tells unasked.
#include "resmgr/daemon/session.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "resmgr/base/clock.hpp"

namespace resmgr::daemon {
namespace {

constexpr std::size_t kAnswerBytes = 4096;

/// Answers each frame with zeros.
class Host final : public SessionOwner {
 public:
  Clerk::Answer answer(Session& of, std::span<const std::byte>, std::span<UniqueFd>) override {
    ++answered;
    of.client().broke_protocol = breaks_protocol;
    Clerk::Answer answer;
    answer.bytes = kAnswerBytes;
    return answer;
  }
  [[nodiscard]] std::span<std::byte> out() noexcept override { return out_; }
  [[nodiscard]] std::span<std::byte> in() noexcept override { return in_; }
  void ended(Session&, std::string_view) override { session.reset(); }
  [[nodiscard]] std::uint32_t frames_in_a_row() const noexcept override { return in_a_row; }

  std::unique_ptr<Session> session;
  std::uint32_t in_a_row = 2;
  int answered = 0;
  bool breaks_protocol = false;

 private:
  std::vector<std::byte> out_ = std::vector<std::byte>(kAnswerBytes);
  std::vector<std::byte> in_ = std::vector<std::byte>(kAnswerBytes);
};

class Sessions : public testing::Test {
 protected:
  void begin(std::uint64_t send_room) {
    auto pair = PacketSocket::pair(PacketMode::NonBlocking).value();
    ASSERT_TRUE(pair.first.set_send_room(send_room));
    auto peer = Peer::of(pair.first);
    if (!peer) GTEST_SKIP() << peer.error().message();
    client_ = std::move(pair.second);
    host_.session = Session::start(*loop_, host_, std::move(pair.first), std::move(*peer),
                                   monotonic_ns() + 3'600'000'000'000)
                        .value();
  }
  void ask(int times) {
    const std::array<std::byte, 1> frame{};
    for (int i = 0; i < times; ++i) ASSERT_TRUE(client_.send(frame));
  }
  void turn() { ASSERT_TRUE(loop_->run_once(0)); }
  int take() {
    std::vector<std::byte> buffer(kAnswerBytes);
    int taken = 0;
    while (client_.receive(buffer)) ++taken;
    return taken;
  }

  /// The next packet, which is to be a MissedEvent.
  std::uint64_t missed_in_next() {
    std::vector<std::byte> buffer(kAnswerBytes);
    const auto packet = client_.receive(buffer);
    if (!packet) return 0;
    const auto frame = wire::read_frame(std::span(buffer).first(packet->bytes));
    return frame ? wire::MissedEvent::decode(*frame).value().events : 0;
  }

  std::unique_ptr<EventLoop> loop_ = EventLoop::create(EventLoop::Backend::Poll).value();
  Host host_;
  PacketSocket client_;
};

TEST_F(Sessions, TakeSoManyFramesATurn) {
  begin(16 * kAnswerBytes);
  ask(5);
  turn();
  EXPECT_EQ(host_.answered, 2);
  host_.in_a_row = 1;
  turn();
  EXPECT_EQ(host_.answered, 3);
  host_.in_a_row = 16;
  turn();
  EXPECT_EQ(host_.answered, 5) << "no more than there are";
  EXPECT_EQ(take(), 5);
}

TEST_F(Sessions, TakeNothingWhileAnAnswerWaits) {
  begin(2 * kAnswerBytes);
  host_.in_a_row = 64;
  ask(64);
  turn();
  const int answered = host_.answered;
  EXPECT_LT(answered, 8) << "the kernel doubles the room, and a message costs more than its bytes";
  turn();
  EXPECT_EQ(host_.answered, answered);
  const int taken = take();
  EXPECT_EQ(taken, answered - 1) << "one answer waits";
  turn();
  turn();
  EXPECT_GT(host_.answered, answered);
}

TEST_F(Sessions, EndInTheMiddleOfARow) {
  begin(16 * kAnswerBytes);
  host_.in_a_row = 16;
  ask(3);
  client_ = {};
  turn();
  turn();
  EXPECT_EQ(host_.session, nullptr);
}

TEST_F(Sessions, TellHowManyEventsFoundNoRoom) {
  begin(2 * kAnswerBytes);
  const std::vector<std::byte> event(kAnswerBytes);
  int posted = 0;
  while (host_.session->post(event)) ++posted;
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(host_.session->post(event));
  EXPECT_EQ(host_.session->missed_events(), 5u);
  turn();
  EXPECT_EQ(take(), posted) << "nothing is kept for later";
  // Without anybody asking for anything.
  turn();
  EXPECT_EQ(missed_in_next(), 5u);
  turn();
  EXPECT_EQ(take(), 0) << "once";
  EXPECT_TRUE(host_.session->post(event));
  EXPECT_EQ(take(), 1);
}

TEST_F(Sessions, TellWhatWasMissedBeforeTheNextEvent) {
  begin(2 * kAnswerBytes);
  const std::vector<std::byte> event(kAnswerBytes);
  while (host_.session->post(event)) {
  }
  (void)take();
  EXPECT_TRUE(host_.session->post(event));
  EXPECT_EQ(missed_in_next(), 1u);
  EXPECT_EQ(take(), 1);
}

TEST_F(Sessions, SayGoodbyeToWhoBreaksTheProtocol) {
  begin(16 * kAnswerBytes);
  host_.breaks_protocol = true;
  host_.session->client().reads_events = true;
  ask(1);
  turn();
  EXPECT_EQ(host_.session, nullptr);
  std::vector<std::byte> buffer(kAnswerBytes);
  ASSERT_TRUE(client_.receive(buffer)) << "the answer";
  const auto last = client_.receive(buffer);
  ASSERT_TRUE(last);
  const auto closing =
      wire::ClosingEvent::decode(wire::read_frame(std::span(buffer).first(last->bytes)).value());
  ASSERT_TRUE(closing);
  EXPECT_EQ(closing->reason, wire::ClosingReason::Protocol);
}

TEST_F(Sessions, SayNothingToWhoReadsNoEvents) {
  begin(16 * kAnswerBytes);
  host_.session->say_closing(wire::ClosingReason::Shutdown);
  EXPECT_EQ(take(), 0);
}

}  // namespace
}  // namespace resmgr::daemon
