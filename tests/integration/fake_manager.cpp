// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/fake_manager.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ranges>
#include <utility>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

constexpr int kFirstPassed = 3;
constexpr int kOutOfTheWay = 500;

UniqueFd bound_socket(int type, const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

std::string value_in(const std::string& message, const std::string& key) {
  const std::size_t at = ("\n" + message).find("\n" + key + "=");
  if (at == std::string::npos) return {};
  const std::size_t begin = at + key.size() + 1;
  return message.substr(begin, message.find('\n', begin) - begin);
}

}  // namespace

FakeManager::FakeManager(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {
  std::string pattern = std::filesystem::temp_directory_path() / "resmgr-test-XXXXXX";
  folder_ = ::mkdtemp(pattern.data());
  std::filesystem::permissions(folder_, std::filesystem::perms(0755));
  socket_ = folder_ + "/test.sock";
  listener_ = bound_socket(SOCK_SEQPACKET, socket_);
  EXPECT_EQ(::listen(listener_.get(), 64), 0);
  std::filesystem::permissions(socket_, std::filesystem::perms(0666));
  notify_ = bound_socket(SOCK_DGRAM, folder_ + "/notify");
  reader_ = std::thread([this] { listen_to_messages(); });
}

FakeManager::~FakeManager() {
  if (keeper_ != 0) (void)stop();
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  not_busy_.notify_one();
  // An empty message wakes the reader.
  (void)send("");
  reader_.join();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

// To itself. False: there is no room for more.
bool FakeManager::send(const char* text) const {
  const UniqueFd sender(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  socklen_t bytes = sizeof(address);
  (void)::getsockname(notify_.get(), reinterpret_cast<sockaddr*>(&address), &bytes);
  return ::sendto(sender.get(), text, std::strlen(text), 0,
                  reinterpret_cast<const sockaddr*>(&address), bytes) >= 0;
}

void FakeManager::be_busy(unsigned room) {
  const std::lock_guard lock(mutex_);
  busy_ = true;
  while (send("X_BUSY=1")) {
  }
  std::array<char, 64> text{};
  for (; room > 0; --room) EXPECT_GT(::recv(notify_.get(), text.data(), text.size(), 0), 0);
}

void FakeManager::be_busy_no_more() {
  const std::lock_guard lock(mutex_);
  busy_ = false;
  not_busy_.notify_one();
}

void FakeManager::listen_to_messages() {
  for (;;) {
    // Received under the lock, so that what is not waiting has been taken.
    pollfd waiting{notify_.get(), POLLIN, 0};
    (void)::poll(&waiting, 1, -1);
    std::unique_lock lock(mutex_);
    not_busy_.wait(lock, [this] { return !busy_ || over_; });
    std::array<char, 4096> text{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    iovec part{.iov_base = text.data(), .iov_len = text.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t bytes = ::recvmsg(notify_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    UniqueFd fd;
    if (const cmsghdr* const rights = CMSG_FIRSTHDR(&header); bytes >= 0 && rights) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(rights), sizeof(number));
      fd.reset(number);
    }
    if (over_) return;
    if (bytes > 0) take(std::string(text.data(), static_cast<std::size_t>(bytes)), std::move(fd));
  }
}

void FakeManager::take(const std::string& message, UniqueFd fd) {
  const std::string name = value_in(message, "FDNAME");
  if (value_in(message, "FDSTORE") == "1" && fd) store_.push_back({name, std::move(fd)});
  if (value_in(message, "FDSTOREREMOVE") == "1") {
    std::erase_if(store_, [&](const Stored& each) { return each.name == name; });
  }
  if (value_in(message, "READY") == "1") ready_ = true;
  if (++messages_ == kill_after_) (void)::kill(keeper_, SIGKILL);
}

void FakeManager::spawn(Next kind, const std::vector<std::string>& more) {
  const char* const program = std::getenv("RESMGRD");
  ASSERT_NE(program, nullptr) << "RESMGRD does not say where the daemon is";
  std::vector<std::string> words{program, "--socket", socket_};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  words.insert(words.end(), more.begin(), more.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::lock_guard lock(mutex_);
  messages_ = 0;
  ready_ = false;
  exit_status_ = -1;
  alone_ = kind == Next::Alone;
  std::string names = "listener";
  std::vector<int> passed{listener_.get()};
  for (const Stored& each : store_ | std::views::reverse) {
    names += ":" + each.name;
    passed.push_back(each.fd.get());
  }
  const std::string count = std::to_string(passed.size());
  const std::string notify = folder_ + "/notify";
  keeper_ = ::fork();
  if (keeper_ != 0) return;
  // Out of the way of their new numbers first.
  for (int& fd : passed) fd = ::fcntl(fd, F_DUPFD_CLOEXEC, kOutOfTheWay);
  int number = kFirstPassed;
  for (const int fd : passed) (void)::dup2(fd, number++);
  (void)::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  (void)::setenv("LISTEN_FDS", count.c_str(), 1);
  (void)::setenv("LISTEN_FDNAMES", names.c_str(), 1);
  if (!alone_) (void)::setenv("NOTIFY_SOCKET", notify.c_str(), 1);
  ::execv(program, argv.data());
  ::_exit(127);
}

bool FakeManager::is_serving() {
  if (keeper_ == 0) return false;
  int status = 0;
  if (::waitpid(keeper_, &status, WNOHANG) == keeper_) {
    exit_status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    keeper_ = 0;
    return false;
  }
  const std::lock_guard lock(mutex_);
  return ready_;
}

void FakeManager::start() {
  spawn(Next::Kept);
  wait_until_ready();
}

void FakeManager::start_alone() {
  spawn(Next::Alone);
  wait_until_served();
  const std::lock_guard lock(mutex_);
  store_.clear();
}

pid_t FakeManager::begin_takeover(Next next) {
  const pid_t before = keeper_;
  spawn(next, {"--takeover"});
  return before;
}

int FakeManager::end_takeover(pid_t before) {
  int status = -1;
  EXPECT_TRUE(eventually([&] { return ::waitpid(before, &status, WNOHANG) == before; }))
      << "the one before does not end";
  if (alone_) {
    wait_until_served();
  } else {
    wait_until_ready();
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void FakeManager::go_back_to(pid_t before) {
  keeper_ = before;
  alone_ = true;
  wait_until_served();
}

void FakeManager::wait_until_ready() {
  EXPECT_TRUE(eventually([&] { return is_serving() || keeper_ == 0; })) << "it is not ready";
}

// One that is alone does not say so.
void FakeManager::wait_until_served() {
  EXPECT_TRUE(eventually([&] { return connect() != nullptr; })) << "it does not serve";
}

bool FakeManager::start_and_kill_after(unsigned messages) {
  {
    const std::lock_guard lock(mutex_);
    kill_after_ = messages;
  }
  spawn(Next::Kept);
  const bool killed = eventually([&] { return is_serving() || keeper_ == 0; }) && keeper_ == 0;
  if (!killed) crash();
  settle();
  const std::lock_guard lock(mutex_);
  kill_after_ = ~0u;
  return killed;
}

pid_t FakeManager::worker() const {
  const std::string keeper = std::to_string(keeper_);
  std::ifstream children("/proc/" + keeper + "/task/" + keeper + "/children");
  pid_t pid = 0;
  children >> pid;
  return pid;
}

void FakeManager::kill_worker() const {
  const pid_t victim = worker();
  ASSERT_NE(victim, 0);
  ASSERT_EQ(::kill(victim, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return worker() != victim; }));
}

int FakeManager::reap() {
  int status = 0;
  EXPECT_EQ(::waitpid(keeper_, &status, 0), keeper_);
  keeper_ = 0;
  settle();
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int FakeManager::stop() {
  (void)::kill(keeper_, SIGTERM);
  return reap();
}

void FakeManager::crash() {
  const pid_t last = worker();
  (void)::kill(keeper_, SIGKILL);
  if (last != 0) (void)::kill(last, SIGKILL);
  (void)reap();
}

// What a daemon that is gone has sent is taken before the next one begins.
void FakeManager::settle() {
  EXPECT_TRUE(eventually([&] {
    pollfd waiting{notify_.get(), POLLIN, 0};
    const std::lock_guard lock(mutex_);
    return ::poll(&waiting, 1, 0) == 0;
  }));
}

std::unique_ptr<ResourceManager> FakeManager::connect(ConnectOptions options) const {
  options.socket = socket_;
  auto manager = ResourceManager::connect(std::move(options));
  return manager ? std::move(*manager) : nullptr;
}

std::vector<FakeManager::Stored>& FakeManager::store() {
  EXPECT_EQ(keeper_, 0);
  return store_;
}

FakeManager::Stored* FakeManager::stored(const std::string& prefix) {
  Stored* found = nullptr;
  for (Stored& each : store()) {
    if (!each.name.starts_with(prefix)) continue;
    if (found) return nullptr;
    found = &each;
  }
  return found;
}

}  // namespace hal::test
