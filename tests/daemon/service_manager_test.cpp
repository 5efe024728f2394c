// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/service_manager.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "tests/base/support.hpp"
#include "tests/daemon/fake_surroundings.hpp"

namespace resmgr::daemon {
namespace {

using resmgr::test::code_of;
using resmgr::test::open_fds;
using std::chrono::microseconds;
using test::FakeSurroundings;

UniqueFd memory_file() { return UniqueFd(::memfd_create("service-test", MFD_CLOEXEC)); }

ino_t inode_of(int fd) {
  struct stat file{};
  EXPECT_EQ(::fstat(fd, &file), 0);
  return file.st_ino;
}

/// The reading end of NOTIFY_SOCKET, as a service manager has it.
class FakeManager {
 public:
  explicit FakeManager(const std::string& name)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    std::size_t bytes = name.size() + 1;
    if (name.starts_with('@')) {
      address.sun_path[0] = '\0';
      bytes = name.size();
    }
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + bytes);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0)
        << std::strerror(errno);
  }

  /// The next message; the descriptor that came with it is in `fd`.
  std::string received() {
    std::array<char, 8192> bytes{};
    iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t count = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
    if (count < 0) return "nothing";
    fd.reset();
    if (cmsghdr* const rights = CMSG_FIRSTHDR(&header)) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(rights), sizeof number);
      fd.reset(number);
    }
    return {bytes.data(), static_cast<std::size_t>(count)};
  }

  UniqueFd fd;

 private:
  UniqueFd socket_;
};

class Services : public testing::Test {
 protected:
  ServiceManager started() {
    auto manager = ServiceManager::from_environment(surroundings_);
    EXPECT_TRUE(manager) << manager.error().message();
    return manager ? *std::move(manager) : ServiceManager();
  }
  /// What comes of one more variable.
  ErrorCode code_with(const std::string& name, const std::string& value) {
    FakeSurroundings surroundings = surroundings_;
    surroundings.variables[name] = value;
    return code_of(ServiceManager::from_environment(surroundings));
  }

  resmgr::test::TemporaryFolder folder_;
  std::string path_ = folder_.path() / "notify";
  FakeSurroundings surroundings_;
};

TEST_F(Services, WithoutAManagerEverythingSucceeds) {
  const UniqueFd file = memory_file();
  const std::ptrdiff_t before = open_fds();
  {
    ServiceManager manager = started();
    EXPECT_FALSE(manager.is_present());
    EXPECT_TRUE(manager.listen_fds().empty());
    EXPECT_FALSE(manager.watchdog_interval());
    EXPECT_TRUE(manager.ready("x"));
    EXPECT_TRUE(manager.stopping());
    EXPECT_TRUE(manager.ping_watchdog());
    EXPECT_TRUE(manager.main_pid(1));
    EXPECT_TRUE(manager.store_fd(file.get(), "registry"));
    EXPECT_TRUE(manager.remove_fd("registry"));
    EXPECT_EQ(open_fds(), before);
  }
}

TEST_F(Services, AreToldTheState) {
  for (const std::string& name : {path_, "@resmgr-test-" + std::to_string(::getpid())}) {
    FakeManager fake(name);
    surroundings_.variables["NOTIFY_SOCKET"] = name;
    ServiceManager manager = started();
    EXPECT_TRUE(manager.is_present());
    ASSERT_TRUE(manager.ready("serving main"));
    EXPECT_EQ(fake.received(), "READY=1\nSTATUS=serving main");
    ASSERT_TRUE(manager.status("3 clients"));
    EXPECT_EQ(fake.received(), "STATUS=3 clients");
    ASSERT_TRUE(manager.reloading(microseconds(1'234'567)));
    EXPECT_EQ(fake.received(), "RELOADING=1\nMONOTONIC_USEC=1234567");
    ASSERT_TRUE(manager.ping_watchdog());
    EXPECT_EQ(fake.received(), "WATCHDOG=1");
    ASSERT_TRUE(manager.main_pid(812));
    EXPECT_EQ(fake.received(), "MAINPID=812");
    ASSERT_TRUE(manager.stopping());
    EXPECT_EQ(fake.received(), "STOPPING=1");
    EXPECT_EQ(code_of(manager.main_pid(0)), ErrorCode::InvalidArgument);
    EXPECT_EQ(fake.received(), "nothing");
  }
}

// A name that a peer chose must not become a command to the manager.
TEST_F(Services, AreNotCommandedByAStatus) {
  FakeManager fake(path_);
  surroundings_.variables["NOTIFY_SOCKET"] = path_;
  ServiceManager manager = started();
  ASSERT_TRUE(manager.status("x\nMAINPID=1"));
  EXPECT_EQ(fake.received(), "STATUS=x\\x0aMAINPID=1");
  ASSERT_TRUE(manager.status(std::string(100'000, 'x')));
  EXPECT_LE(fake.received().size(), TextBuffer::kMaxBytes);
}

TEST_F(Services, KeepDescriptors) {
  FakeManager fake(path_);
  surroundings_.variables["NOTIFY_SOCKET"] = path_;
  ServiceManager manager = started();
  const UniqueFd file = memory_file();
  ASSERT_TRUE(manager.store_fd(file.get(), "registry"));
  EXPECT_EQ(fake.received(), "FDSTORE=1\nFDPOLL=0\nFDNAME=registry");
  ASSERT_TRUE(fake.fd);
  EXPECT_EQ(inode_of(fake.fd.get()), inode_of(file.get()));
  ASSERT_TRUE(manager.remove_fd("registry"));
  EXPECT_EQ(fake.received(), "FDSTOREREMOVE=1\nFDNAME=registry");
  EXPECT_FALSE(fake.fd);
  ASSERT_TRUE(manager.store_fd(file.get(), std::string(255, 'n')));
  fake.received();
  for (const std::string& name : {std::string(), std::string("a:b"), std::string("a\nFDSTORE=1"),
                                  std::string("\xc3\xa4"), std::string(256, 'n')}) {
    EXPECT_EQ(code_of(manager.store_fd(file.get(), name)), ErrorCode::InvalidArgument) << name;
    EXPECT_EQ(code_of(manager.remove_fd(name)), ErrorCode::InvalidArgument) << name;
  }
  EXPECT_EQ(code_of(manager.store_fd(-1, "registry")), ErrorCode::InvalidArgument);
  EXPECT_EQ(fake.received(), "nothing");
}

TEST_F(Services, ThatDoNotReadAreNotWaitedFor) {
  FakeManager fake(path_);
  surroundings_.variables["NOTIFY_SOCKET"] = path_;
  ServiceManager manager = started();
  // As many as the socket's queue takes, of which the kernel's bound is some hundreds.
  ErrorCode code{};
  for (int i = 0; i < 100'000 && code == ErrorCode{}; ++i) code = code_of(manager.ping_watchdog());
  EXPECT_EQ(code, ErrorCode::WouldBlock);
  fake.received();
  EXPECT_TRUE(manager.ping_watchdog());
}

TEST_F(Services, ThatAreGoneAreNoSignal) {
  surroundings_.variables["NOTIFY_SOCKET"] = path_;
  std::optional<FakeManager> fake(path_);
  ServiceManager manager = started();
  fake.reset();
  EXPECT_EQ(code_of(manager.ping_watchdog()), ErrorCode::Disconnected);
  ::unlink(path_.c_str());
  EXPECT_EQ(code_of(manager.ping_watchdog()), ErrorCode::Disconnected);
  // It comes back under the same name when it executes itself anew.
  fake.emplace(path_);
  EXPECT_TRUE(manager.ping_watchdog());
  EXPECT_EQ(fake->received(), "WATCHDOG=1");
}

TEST_F(Services, HaveAnAddressThatFits) {
  const std::string longest = "/" + std::string(106, 'p');
  EXPECT_EQ(code_with("NOTIFY_SOCKET", longest), ErrorCode{});
  EXPECT_EQ(code_with("NOTIFY_SOCKET", longest + "p"), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_with("NOTIFY_SOCKET", "@" + std::string(107, 'p')), ErrorCode{});
  EXPECT_EQ(code_with("NOTIFY_SOCKET", "@" + std::string(108, 'p')), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_with("NOTIFY_SOCKET", "@"), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_with("NOTIFY_SOCKET", "/"), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_with("NOTIFY_SOCKET", "vsock:2:1"), ErrorCode::Unsupported);
  EXPECT_EQ(code_with("NOTIFY_SOCKET", "relative"), ErrorCode::Unsupported);
  EXPECT_EQ(code_with("NOTIFY_SOCKET", ""), ErrorCode{});
}

TEST_F(Services, AreReadOnceAndNotInherited) {
  surroundings_.variables = {
      {"NOTIFY_SOCKET", path_}, {"LISTEN_PID", "4711"}, {"LISTEN_FDS", "0"}, {"LISTEN_FDNAMES", ""},
      {"WATCHDOG_PID", "4711"}, {"WATCHDOG_USEC", "1"}, {"HOME", "/"}};
  const auto variables = surroundings_.variables;
  ASSERT_TRUE(ServiceManager::from_environment(surroundings_, Variables::Keep));
  EXPECT_EQ(surroundings_.variables, variables);
  started();
  EXPECT_EQ(surroundings_.variables, (std::map<std::string, std::string>{{"HOME", "/"}}));
  // What is refused is not left to a child either.
  surroundings_.variables["WATCHDOG_USEC"] = "x";
  EXPECT_FALSE(ServiceManager::from_environment(surroundings_));
  EXPECT_FALSE(surroundings_.variables.contains("WATCHDOG_USEC"));
}

TEST_F(Services, WantToBePingedByTheProcessTheyMean) {
  surroundings_.variables = {{"WATCHDOG_USEC", "30000000"}};
  EXPECT_EQ(started().watchdog_interval(), std::chrono::seconds(30));
  surroundings_.variables = {{"WATCHDOG_USEC", "1"}, {"WATCHDOG_PID", "4711"}};
  EXPECT_EQ(started().watchdog_interval(), microseconds(1));
  surroundings_.variables = {{"WATCHDOG_USEC", "1"}, {"WATCHDOG_PID", "4712"}};
  EXPECT_FALSE(started().watchdog_interval());
  for (const char* value : {"", "0", "-1", "+1", " 1", "1 ", "1s", "9223372036854775808"}) {
    EXPECT_EQ(code_with("WATCHDOG_USEC", value), ErrorCode::InvalidArgument) << value;
  }
  surroundings_.variables = {{"WATCHDOG_USEC", "1"}};
  for (const char* value : {"", "0", "-1", "x", "4294967297"}) {
    EXPECT_EQ(code_with("WATCHDOG_PID", value), ErrorCode::InvalidArgument) << value;
  }
}

TEST_F(Services, KnowHowMuchIsStoredForThem) {
  EXPECT_FALSE(started().store_limit());
  surroundings_.variables = {{"FDSTORE", "64"}};
  EXPECT_EQ(started().store_limit(), 64u);
  EXPECT_TRUE(surroundings_.variables.empty());
  for (const char* value : {"", "-1", "x", "18446744073709551616"}) {
    EXPECT_EQ(code_with("FDSTORE", value), ErrorCode::InvalidArgument) << value;
  }
}

/// With three descriptors from a number that nothing else uses.
class PassedFds : public Services {
 protected:
  static constexpr int kFirst = 400;

  void SetUp() override {
    surroundings_.first_fd = kFirst;
    surroundings_.variables = {{"LISTEN_PID", "4711"}, {"LISTEN_FDS", "3"}};
    fds_before_ = open_fds();
    open_three();
  }
  void open_three() {
    inodes_.clear();
    for (int fd = kFirst; fd < kFirst + 3; ++fd) {
      const UniqueFd file = memory_file();
      inodes_.push_back(inode_of(file.get()));
      ASSERT_EQ(::dup2(file.get(), fd), fd);
    }
  }
  void TearDown() override {
    for (int fd = kFirst; fd < kFirst + 3; ++fd) ::close(fd);
  }

  std::ptrdiff_t fds_before_ = 0;
  std::vector<ino_t> inodes_;
};

TEST_F(PassedFds, AreTakenInOrderWithTheirNames) {
  surroundings_.variables["LISTEN_FDNAMES"] = "main.sock::registry";
  {
    ServiceManager manager = started();
    const std::vector<PassedFd> passed = manager.listen_fds();
    ASSERT_EQ(passed.size(), 3u);
    EXPECT_EQ(passed[0].name, "main.sock");
    EXPECT_EQ(passed[1].name, "");
    EXPECT_EQ(passed[2].name, "registry");
    for (std::size_t i = 0; i < passed.size(); ++i) {
      EXPECT_EQ(inode_of(passed[i].fd.get()), inodes_[i]);
      EXPECT_NE(::fcntl(passed[i].fd.get(), F_GETFD) & FD_CLOEXEC, 0);
    }
    EXPECT_TRUE(manager.listen_fds().empty());
  }
  EXPECT_EQ(open_fds(), fds_before_);
}

TEST_F(PassedFds, MayHaveNoNames) {
  ServiceManager manager = started();
  const std::vector<PassedFd> passed = manager.listen_fds();
  ASSERT_EQ(passed.size(), 3u);
  for (const PassedFd& one : passed) EXPECT_EQ(one.name, "unknown");
}

TEST_F(PassedFds, OfAnotherProcessAreLeftAlone) {
  for (const char* pid : {"4712", "1"}) {
    surroundings_.variables = {{"LISTEN_PID", pid}, {"LISTEN_FDS", "3"}};
    EXPECT_TRUE(started().listen_fds().empty());
  }
  surroundings_.variables = {{"LISTEN_FDS", "3"}};
  EXPECT_TRUE(started().listen_fds().empty());
  surroundings_.variables = {{"LISTEN_PID", "4711"}};
  EXPECT_TRUE(started().listen_fds().empty());
  for (int fd = kFirst; fd < kFirst + 3; ++fd) {
    EXPECT_EQ(::fcntl(fd, F_GETFD), 0) << "closed, or marked";
  }
}

TEST_F(PassedFds, ArePassedByNoGarbage) {
  for (const char* count : {"", "-1", "+3", "3 ", "0x3", "three", "4", "2147483647", "2147483648",
                            "99999999999999999999"}) {
    EXPECT_EQ(code_with("LISTEN_FDS", count), ErrorCode::InvalidArgument) << count;
    open_three();  // what was refused was closed
  }
  for (const char* pid : {"", "0", "-4711", "4711x", "99999999999999999999"}) {
    EXPECT_EQ(code_with("LISTEN_PID", pid), ErrorCode::InvalidArgument) << pid;
  }
  for (const char* names : {"", "a", "a:b", "a:b:c:", ":::"}) {
    EXPECT_EQ(code_with("LISTEN_FDNAMES", names), ErrorCode::InvalidArgument) << names;
    open_three();  // what was refused was closed
  }
}

// All of it by the true environment, in a process of its own.
TEST(ServicesOfThisProcess, AreReadFromTheEnvironment) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const UniqueFd file = memory_file();
    ::dup2(file.get(), 3);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "1", 1);
    const ino_t inode = inode_of(3);
    auto manager = ServiceManager::from_environment();
    const auto passed = manager ? manager->listen_fds() : std::vector<PassedFd>();
    const bool is_good = passed.size() == 1 && inode_of(passed[0].fd.get()) == inode &&
                         ::getenv("LISTEN_FDS") == nullptr && ::getenv("LISTEN_PID") == nullptr;
    ::_exit(is_good ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace resmgr::daemon
