// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/served_support.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

namespace hal::test {
namespace {

constexpr uid_t kNobody = 65534;

int status_of(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// One that nobody has waited for yet is as gone as it will be.
bool is_gone(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const auto name_end = stat.rfind(')');
  return name_end == std::string::npos || stat.find_first_of("ZX", name_end) == name_end + 2;
}

}  // namespace

bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

bool become_nobody() {
  if (::setresgid(kNobody, kNobody, kNobody) != 0) return false;
  if (::setresuid(kNobody, kNobody, kNobody) != 0) return false;
  // Changing the user forgets it.
  return ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}

TemporaryFile::TemporaryFile(const char* text) {
  path_ = std::filesystem::temp_directory_path() / "resmgr-test-XXXXXX";
  const UniqueFd fd(::mkstemp(path_.data()));
  std::ofstream(path_) << text;
}

TemporaryFile::~TemporaryFile() { ::unlink(path_.c_str()); }

Daemon::Daemon(const std::vector<std::string>& arguments) {
  std::string pattern = std::filesystem::temp_directory_path() / "resmgr-test-XXXXXX";
  folder_ = ::mkdtemp(pattern.data());
  // Clients of other users come by here.
  std::filesystem::permissions(folder_, std::filesystem::perms(0755));
  socket_ = folder_ + "/test.sock";
  arguments_ = arguments;
  start();
}

void Daemon::start_anew() {
  kill_keeper(keeper_);
  EXPECT_EQ(status_of(keeper_), -SIGKILL);
  start();
}

void Daemon::kill_keeper(pid_t keeper) {
  const pid_t last = worker_of(keeper);
  EXPECT_EQ(::kill(keeper, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return is_gone(keeper); }));
  EXPECT_TRUE(eventually([&] { return last == 0 || is_gone(last); }))
      << "the worker outlives its keeper";
}

int Daemon::end_of(pid_t keeper) { return status_of(keeper); }

pid_t Daemon::spawn(const std::vector<std::string>& more) const {
  const char* const program = std::getenv("RESMGRD");
  if (!program) {
    ADD_FAILURE() << "RESMGRD does not say where the daemon is";
    return 0;
  }
  std::vector<std::string> words{program, "--socket", socket_};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  words.insert(words.end(), more.begin(), more.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t keeper = ::fork();
  if (keeper == 0) {
    ::execv(program, argv.data());
    ::_exit(127);
  }
  return keeper;
}

void Daemon::start() {
  keeper_ = spawn({});
  EXPECT_TRUE(eventually([&] { return connect() != nullptr; })) << "resmgrd does not serve";
}

int Daemon::hand_over() { return end_takeover(begin_takeover()); }

int Daemon::lose_takeover(pid_t next) { return status_of(std::exchange(keeper_, next)); }

int Daemon::end_takeover(pid_t next) {
  const int status = lose_takeover(next);
  EXPECT_NE(connect(), nullptr) << "nobody serves the domain";
  return status;
}

Daemon::~Daemon() {
  if (keeper_ != 0) (void)stop();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::unique_ptr<ResourceManager> Daemon::connect(LogSink log) const {
  auto manager = ResourceManager::connect({.socket = socket_, .log = std::move(log)});
  return manager ? std::move(*manager) : nullptr;
}

pid_t Daemon::worker() const { return worker_of(keeper_); }

pid_t Daemon::worker_of(pid_t keeper) {
  const std::string id = std::to_string(keeper);
  std::ifstream children("/proc/" + id + "/task/" + id + "/children");
  pid_t pid = 0;
  children >> pid;
  return pid;
}

void Daemon::kill_worker() const {
  const pid_t victim = worker();
  ASSERT_NE(victim, 0);
  ASSERT_EQ(::kill(victim, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return worker() != victim; }));
}

int Daemon::stop() {
  (void)::kill(keeper_, SIGTERM);
  const int status = status_of(keeper_);
  keeper_ = 0;
  return status;
}

void Child::Talk::say(char word) const { (void)!::write(out_, &word, 1); }

char Child::Talk::hear() const {
  char word = 0;
  while (::read(in_, &word, 1) < 0 && errno == EINTR) {
  }
  return word;
}

Child::Child(const std::function<int(Talk&)>& run) {
  std::array<int, 2> down{};
  std::array<int, 2> up{};
  if (::pipe2(down.data(), O_CLOEXEC) != 0 || ::pipe2(up.data(), O_CLOEXEC) != 0) {
    ADD_FAILURE() << "pipe";
    return;
  }
  pid_ = ::fork();
  if (pid_ == 0) {
    (void)::signal(SIGPIPE, SIG_IGN);
    ::close(down[1]);
    ::close(up[0]);
    Talk talk(down[0], up[1]);
    ::_exit(run(talk));
  }
  ::close(down[0]);
  ::close(up[1]);
  in_ = up[0];
  out_ = down[1];
  mine_ = Talk(in_, out_);
}

Child::~Child() {
  ::close(in_);
  ::close(out_);
  if (pid_ == 0) return;
  (void)::kill(pid_, SIGKILL);
  (void)status_of(pid_);
}

void Child::signal(int number) const { EXPECT_EQ(::kill(pid_, number), 0); }

int Child::wait() {
  const int status = status_of(pid_);
  pid_ = 0;
  return status;
}

bool hide_proc() {
  return ::unshare(CLONE_NEWNS) == 0 &&
         ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("none", "/proc", "tmpfs", 0, nullptr) == 0 && ::access("/proc/self", F_OK) != 0;
}

bool can_hide_proc() {
  Child child([](Child::Talk&) { return hide_proc() ? 0 : 1; });
  return child.wait() == 0;
}

}  // namespace hal::test
