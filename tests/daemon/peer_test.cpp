// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/peer.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/base/support.hpp"

namespace resmgr::daemon {
namespace {

using test::code_of;
using test::open_fds;

constexpr uid_t kOtherUser = 12345;
constexpr gid_t kOtherGroup = 23456;
// For a child that will never connect.
constexpr int kPatienceMs = 60'000;

/// A kernel before SO_PEERPIDFD.
class OldKernel final : public PeerCalls {
 public:
  Result<PeerCredentials> credentials(int socket) noexcept override {
    return kernel().credentials(socket);
  }
  Result<std::vector<gid_t>> groups(int socket) override { return kernel().groups(socket); }
  Result<UniqueFd> peer_pidfd(int /*socket*/) noexcept override {
    return fail(ErrorCode::Unsupported);
  }
  Result<UniqueFd> open_pidfd(pid_t pid) noexcept override { return kernel().open_pidfd(pid); }
  Result<std::uint64_t> start_time(pid_t pid) noexcept override { return kernel().start_time(pid); }
  Result<bool> is_stopped(pid_t pid) noexcept override { return kernel().is_stopped(pid); }
};

/// A child that runs `body` and ends; killed, and waited for, at the end.
class Child {
 public:
  explicit Child(const std::function<void()>& body) : pid_(::fork()) {
    EXPECT_GE(pid_, 0);
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();
    ::_exit(0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    signal(SIGKILL);
    reap();
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const {
    // Of no child, the pid is -1, which kill() takes for everybody.
    if (pid_ > 0 && !reaped_) ::kill(pid_, number);
  }
  /// Waits for what WEXITED, WSTOPPED or WCONTINUED stand for, and leaves the child as it is.
  void wait_for(int event) const {
    siginfo_t seen{};
    EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(pid_), &seen, event | WNOWAIT), 0);
  }
  void reap() {
    if (reaped_) return;
    EXPECT_EQ(::waitpid(pid_, nullptr, 0), pid_);
    reaped_ = true;
  }

 private:
  pid_t pid_;
  bool reaped_ = false;
};

void stay(PacketSocket& /*connection*/) {
  while (true) ::pause();
}

void end_at_once(PacketSocket& /*connection*/) {}

/// On this kernel, and as on one without SO_PEERPIDFD.
class Peers : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    // Other users may look for the socket.
    std::filesystem::permissions(folder_.path(), std::filesystem::perms(0711));
    auto listener = PacketListener::listen(path_, 0666, PacketMode::NonBlocking);
    ASSERT_TRUE(listener) << listener.error().message();
    listener_ = *std::move(listener);
  }

  PeerCalls& calls() { return GetParam() ? old_kernel_ : PeerCalls::kernel(); }
  /// Connects, and does the rest with the connection.
  [[nodiscard]] std::function<void()> connecting(
      const std::function<void(PacketSocket&)>& rest) const {
    return [this, rest] {
      auto connection = PacketSocket::connect(path_, PacketMode::Blocking);
      if (connection) rest(*connection);
    };
  }
  PacketSocket accepted() {
    pollfd entry{.fd = listener_.fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&entry, 1, kPatienceMs), 1) << "the child has not connected";
    auto connection = listener_.accept(PacketMode::Blocking);
    if (connection) return *std::move(connection);
    ADD_FAILURE() << connection.error().message();
    return {};
  }

  test::TemporaryFolder folder_;
  std::string path_ = folder_.path() / "main.sock";
  PacketListener listener_;
  OldKernel old_kernel_;
};

TEST_P(Peers, AreWhoConnected) {
  const Child child(connecting(stay));
  const PacketSocket connection = accepted();
  const std::ptrdiff_t before = open_fds();
  {
    const auto peer = Peer::of(connection, calls());
    ASSERT_TRUE(peer) << peer.error().message();
    EXPECT_EQ(peer->pid(), child.pid());
    EXPECT_EQ(peer->uid(), ::getuid());
    EXPECT_EQ(peer->gid(), ::getgid());
    EXPECT_EQ(peer->start_time(), PeerCalls::kernel().start_time(child.pid()));
    EXPECT_GE(peer->start_time(), PeerCalls::kernel().start_time(::getpid()).value());
    std::vector<gid_t> own(static_cast<std::size_t>(::getgroups(0, nullptr)));
    EXPECT_EQ(::getgroups(static_cast<int>(own.size()), own.data()), static_cast<int>(own.size()));
    EXPECT_EQ(peer->groups(), own);
    EXPECT_FALSE(peer->is_dead());
    EXPECT_NE(::fcntl(peer->pidfd(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_EQ(open_fds(), before + 1);
  }
  EXPECT_EQ(open_fds(), before);
}

TEST_P(Peers, HaveTheUserThatTheyConnectedAs) {
  if (::getuid() != 0) GTEST_SKIP() << "only root can become another user";
  const Child child([&] {
    const auto become = [](uid_t user, gid_t group) {
      return ::setresgid(group, group, 0) == 0 && ::setresuid(user, user, 0) == 0;
    };
    if (!become(kOtherUser, kOtherGroup)) return;
    auto connection = PacketSocket::connect(path_, PacketMode::Blocking);
    // As whom the child goes on is of no interest.
    if (!connection || ::setresuid(0, 0, 0) != 0) return;
    (void)connection->send(std::array<std::byte, 1>{});
    stay(*connection);
  });
  auto connection = accepted();
  std::array<std::byte, 1> buffer{};
  EXPECT_TRUE(connection.receive(buffer));
  const auto peer = Peer::of(connection, calls());
  ASSERT_TRUE(peer) << peer.error().message();
  EXPECT_EQ(peer->pid(), child.pid());
  EXPECT_EQ(peer->uid(), kOtherUser);
  EXPECT_EQ(peer->gid(), kOtherGroup);
}

TEST_P(Peers, AreDeadAsZombiesAndAfter) {
  Child child(connecting(stay));
  const PacketSocket connection = accepted();
  const auto peer = Peer::of(connection, calls());
  ASSERT_TRUE(peer) << peer.error().message();
  EXPECT_FALSE(peer->is_dead());
  child.signal(SIGKILL);
  child.wait_for(WEXITED);
  EXPECT_TRUE(peer->is_dead());
  child.reap();
  EXPECT_TRUE(peer->is_dead());
}

TEST_P(Peers, AreAliveWhileStopped) {
  const Child child(connecting(stay));
  const PacketSocket connection = accepted();
  child.signal(SIGSTOP);
  child.wait_for(WSTOPPED);
  const auto peer = Peer::of(connection, calls());
  ASSERT_TRUE(peer) << peer.error().message();
  EXPECT_FALSE(peer->is_dead());
  child.signal(SIGCONT);
  child.wait_for(WCONTINUED);
  EXPECT_FALSE(peer->is_dead());
}

TEST_P(Peers, AreTheSameAfterExecWhichClosesTheConnection) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  UniqueFd input(ends[0]);
  UniqueFd output(ends[1]);
  const Child child(connecting([&](PacketSocket& connection) {
    // Not before the parent has asked.
    std::array<std::byte, 1> go{};
    (void)connection.receive(go);
    ::dup2(input.get(), STDIN_FILENO);
    ::execl("/bin/cat", "cat", nullptr);
  }));
  auto connection = accepted();
  const auto peer = Peer::of(connection, calls());
  ASSERT_TRUE(peer) << peer.error().message();
  std::array<std::byte, 1> buffer{};
  ASSERT_TRUE(connection.send(buffer));
  EXPECT_EQ(code_of(connection.receive(buffer)), ErrorCode::Disconnected);
  EXPECT_FALSE(peer->is_dead());
  EXPECT_EQ(peer->start_time(), PeerCalls::kernel().start_time(child.pid()));
  output.reset();
  child.wait_for(WEXITED);
  EXPECT_TRUE(peer->is_dead());
}

TEST_P(Peers, AreAliveWhileAnyThreadIs) {
  const Child child(connecting([](PacketSocket& connection) {
    std::thread([&connection] {
      // The first thread of a process is a zombie for as long as others run.
      const auto first_runs = [] {
        std::string stat;
        std::getline(std::ifstream("/proc/self/stat"), stat);
        return stat.find(") Z ") == std::string::npos;
      };
      while (first_runs()) std::this_thread::yield();
      (void)connection.send(std::array<std::byte, 1>{});
      stay(connection);
    }).detach();
    ::syscall(SYS_exit, 0);
  }));
  auto connection = accepted();
  std::array<std::byte, 1> buffer{};
  ASSERT_TRUE(connection.receive(buffer));
  const auto peer = Peer::of(connection, calls());
  ASSERT_TRUE(peer) << peer.error().message();
  EXPECT_FALSE(peer->is_dead());
}

TEST_P(Peers, ThatAreGoneAlreadyAreDisconnected) {
  Child child(connecting(end_at_once));
  const PacketSocket connection = accepted();
  child.wait_for(WEXITED);
  const std::ptrdiff_t before = open_fds();
  EXPECT_EQ(code_of(Peer::of(connection, calls())), ErrorCode::Disconnected);
  child.reap();
  EXPECT_EQ(code_of(Peer::of(connection, calls())), ErrorCode::Disconnected);
  EXPECT_EQ(open_fds(), before);
}

INSTANTIATE_TEST_SUITE_P(Kernel, Peers, testing::Bool(),
                         [](const auto& old) { return old.param ? "Old" : "Present"; });

/// Says what the test wants; by default that the peer is this very process, on an old kernel.
class FakeCalls final : public PeerCalls {
 public:
  Result<PeerCredentials> credentials(int /*socket*/) noexcept override {
    return PeerCredentials{.pid = pid, .uid = 1, .gid = 2};
  }
  Result<std::vector<gid_t>> groups(int) override { return std::vector<gid_t>{}; }
  Result<UniqueFd> peer_pidfd(int /*socket*/) noexcept override { return pidfd(from_socket); }
  Result<UniqueFd> open_pidfd(pid_t asked) noexcept override {
    EXPECT_EQ(asked, pid);
    return pidfd(from_pid);
  }
  Result<bool> is_stopped(pid_t /*asked*/) noexcept override { return false; }
  /// The next of `times`, the last one ever after; 0 stands for no such file.
  Result<std::uint64_t> start_time(pid_t asked) noexcept override {
    EXPECT_EQ(asked, pid);
    const std::uint64_t time = times[times_read_];
    if (times_read_ + 1 < times.size()) ++times_read_;
    if (time == 0) return fail(ErrorCode::NotFound);
    return time;
  }

  enum class Answer { Alive, Dead, Unsupported, Disconnected, CapacityExceeded };
  pid_t pid = 4711;
  Answer from_socket = Answer::Unsupported;
  Answer from_pid = Answer::Alive;
  std::vector<std::uint64_t> times{100};

 private:
  // An eventfd is readable, as the pidfd of the dead is, while its count is above 0.
  static Result<UniqueFd> pidfd(Answer answer) noexcept {
    switch (answer) {
      case Answer::Alive:
        return UniqueFd(::eventfd(0, EFD_CLOEXEC));
      case Answer::Dead:
        return UniqueFd(::eventfd(1, EFD_CLOEXEC));
      case Answer::Unsupported:
        return fail(ErrorCode::Unsupported);
      case Answer::Disconnected:
        return fail(ErrorCode::Disconnected);
      case Answer::CapacityExceeded:
        break;
    }
    return fail(ErrorCode::CapacityExceeded);
  }

  std::size_t times_read_ = 0;
};

using Answer = FakeCalls::Answer;

class FakePeer : public testing::Test {
 protected:
  void SetUp() override {
    auto ends = PacketSocket::pair(PacketMode::NonBlocking).value();
    near_ = std::move(ends.first);
    far_ = std::move(ends.second);
    fds_before_ = open_fds();
  }

  ErrorCode code() {
    const ErrorCode found = code_of(Peer::of(near_, calls_));
    EXPECT_EQ(open_fds(), fds_before_);
    return found;
  }

  PacketSocket near_;
  PacketSocket far_;
  FakeCalls calls_;
  std::ptrdiff_t fds_before_ = 0;
};

TEST_F(FakePeer, IsWhatTheKernelSays) {
  // What it said already is no sign of its end.
  ASSERT_TRUE(far_.send(std::array<std::byte, 1>{}));
  for (const Answer from_socket : {Answer::Unsupported, Answer::Alive}) {
    calls_.from_socket = from_socket;
    const auto peer = Peer::of(near_, calls_);
    ASSERT_TRUE(peer) << peer.error().message();
    EXPECT_EQ(peer->pid(), 4711);
    EXPECT_EQ(peer->uid(), 1u);
    EXPECT_EQ(peer->gid(), 2u);
    EXPECT_EQ(peer->start_time(), 100u);
  }
}

TEST_F(FakePeer, IsNotWhoGotItsPidWhileItWasOpened) {
  calls_.times = {100, 200};
  EXPECT_EQ(code(), ErrorCode::Disconnected);
}

TEST_F(FakePeer, IsNotWhoHadItsPidFromTheStart) {
  far_ = {};
  --fds_before_;
  EXPECT_EQ(code(), ErrorCode::Disconnected);
  // By the socket the kernel knows better: a process may close its end and live.
  calls_.from_socket = Answer::Alive;
  EXPECT_EQ(code(), ErrorCode{});
}

TEST_F(FakePeer, IsNotWhoseTimeWasReadAfterItsDeath) {
  calls_.from_socket = Answer::Dead;
  calls_.times = {200};
  EXPECT_EQ(code(), ErrorCode::Disconnected);
}

TEST_F(FakePeer, MayDieAtAnyOfTheQuestions) {
  calls_.times = {0};
  calls_.from_pid = Answer::Disconnected;
  EXPECT_EQ(code(), ErrorCode::Disconnected);
  calls_.from_pid = Answer::Dead;
  EXPECT_EQ(code(), ErrorCode::Disconnected);
  calls_.from_socket = Answer::Disconnected;
  EXPECT_EQ(code(), ErrorCode::Disconnected);
  calls_.from_socket = Answer::Dead;
  EXPECT_EQ(code(), ErrorCode::Disconnected);
}

TEST_F(FakePeer, ThatIsHiddenIsNotTakenForDead) {
  calls_.times = {0};
  EXPECT_EQ(code(), ErrorCode::NotFound);
  calls_.from_socket = Answer::Alive;
  EXPECT_EQ(code(), ErrorCode::NotFound);
}

TEST_F(FakePeer, IsUnsupportedInAnotherPidNamespaceOrWithoutPidfds) {
  calls_.from_pid = Answer::Unsupported;
  EXPECT_EQ(code(), ErrorCode::Unsupported);
  calls_.from_socket = Answer::Alive;
  calls_.pid = 0;
  EXPECT_EQ(code(), ErrorCode::Unsupported);
}

// Falling back would hide that descriptors run out.
TEST_F(FakePeer, IsAskedByItsPidOnlyWhereTheSocketCannotTell) {
  calls_.from_socket = Answer::CapacityExceeded;
  EXPECT_EQ(code(), ErrorCode::CapacityExceeded);
}

}  // namespace
}  // namespace resmgr::daemon
