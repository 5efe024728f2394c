// SPDX-License-Identifier: Apache-2.0
//
// An echo on an io_uring of its own: receiving, waiting for the buffer, and sending are completions
// of one ring.
#include <liburing.h>

#include <array>
#include <memory>

#include <hal/async_acquire.hpp>

#include "hal/examples/echo_line.hpp"

namespace {

enum Tag : std::uint64_t { kReceived = 1, kAcquired, kSent };
class Server {
 public:
  explicit Server(example::EchoLine& line) : line_(line) {
    if (::io_uring_queue_init(8, &ring_, 0) != 0) throw std::runtime_error("no io_uring here");
  }
  ~Server() { ::io_uring_queue_exit(&ring_); }

  void serve() {
    put(IORING_OP_RECV, kReceived);
    for (bool open = true; open;) {
      io_uring_cqe* cqe = nullptr;
      ::io_uring_submit_and_wait(&ring_, 1);
      if (::io_uring_peek_cqe(&ring_, &cqe) != 0) continue;
      open = go_on(*cqe);
      ::io_uring_cqe_seen(&ring_, cqe);
    }
  }

 private:
  bool go_on(const io_uring_cqe& completion) {
    if (completion.user_data == kReceived) {
      if (completion.res != sizeof(message_)) return false;
      wait_ = std::make_unique<hal::AsyncAcquire>(
          line_.manager(), line_.buffer(),
          hal::AcquireOptions{.mode = hal::AcquisitionMode::Blocking});
      wait_->done() ? send() : wait();
    } else if (completion.user_data == kAcquired) {
      const auto step = wait_->complete(&completion);
      if (step == hal::AsyncAcquire::Step::Done) send();
      if (step == hal::AsyncAcquire::Step::Rearm) wait();
    } else {
      hold_ = {};
      put(IORING_OP_RECV, kReceived);
    }
    return true;
  }
  void wait() {
    std::array<io_uring_sqe*, 1> entry{::io_uring_get_sqe(&ring_)};
    example::must(wait_->prepare(entry, kAcquired));
  }
  void send() {
    hold_ = example::must(wait_->take());
    put(IORING_OP_SEND, kSent);
  }
  void put(int operation, Tag tag) {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    ::io_uring_prep_rw(operation, sqe, line_.server(), &message_, sizeof(message_), 0);
    ::io_uring_sqe_set_data64(sqe, tag);
  }

  example::EchoLine& line_;
  io_uring ring_{};
  std::unique_ptr<hal::AsyncAcquire> wait_;
  hal::ScopedResource hold_;
  int message_ = 0;
};

}  // namespace

int main() {
  example::EchoLine line;
  const std::jthread server([&] { Server(line).serve(); });
  return line.wait_for_client("submissions");
}
