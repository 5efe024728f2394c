// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/real_manager.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <system_error>
#include <utility>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSystemd = "/lib/systemd/systemd";
constexpr const char* kSystemctl = "/bin/systemctl";
constexpr const char* kSysusers = "/bin/systemd-sysusers";
constexpr const char* kUnits = "/run/resmgr-test/units";
constexpr const char* kProgram = "/run/resmgr-test/resmgrd";
constexpr const char* kConfiguration = "/run/resmgr-test/resmgrd.toml";
constexpr const char* kGroups = "/run/resmgr-test-groups";
constexpr int kNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC;

bool mount_new(const char* type, const char* where, const char* options = "") {
  return ::mount(type, where, type, 0, options) == 0;
}

/// What a unit orders itself by, and that is all: the machine has nothing else to start.
constexpr std::array kTargets{"sysinit",  "basic",  "sockets", "shutdown",
                              "local-fs", "timers", "paths",   "slices"};

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value ? value : "";
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// Of the unified hierarchy, wherever the system has it: in a mount namespace of one's own.
bool mount_groups() {
  std::error_code error;
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount_new("tmpfs", "/run", "mode=755") && fs::create_directory(kGroups, error) &&
         mount_new("cgroup2", kGroups);
}

fs::path group_of(pid_t launcher) {
  return fs::path(kGroups) / ("resmgr-test-" + std::to_string(launcher));
}

// The groups that are left, from the leaves on: a group has files that go with it.
void remove_groups(pid_t launcher) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || !mount_groups()) ::_exit(1);
    std::vector<fs::path> groups{group_of(launcher)};
    for (const auto& each : fs::recursive_directory_iterator(groups.front())) {
      if (each.is_directory()) groups.push_back(each.path());
    }
    std::ranges::sort(groups, std::greater());
    bool removed = true;
    for (const fs::path& each : groups) removed &= ::rmdir(each.c_str()) == 0;
    ::_exit(removed ? 0 : 1);
  }
  EXPECT_EQ(wait_for(child), 0) << "control groups are left";
}

// The files of the machine: those of the system, and what it writes in memory.
bool furnish(const RealManager::Additions& additions) {
  std::error_code error;
  (void)::umount2("/sys/fs/cgroup", MNT_DETACH);
  if (!mount_new("proc", "/proc") || !mount_new("cgroup2", "/sys/fs/cgroup") ||
      !mount_new("tmpfs", "/run", "mode=755") || !mount_new("tmpfs", "/var/log", "mode=755")) {
    return false;
  }
  const fs::path units(kUnits);
  fs::create_directories(units);
  fs::copy_file(environment("RESMGRD"), kProgram, error);
  for (const char* const name : {"resmgrd.service", "resmgrd.socket"}) {
    if (!error) fs::copy_file(fs::path(environment("RESMGRD_UNITS")) / name, units / name, error);
  }
  for (const char* const name : kTargets) {
    write(units / (std::string(name) + ".target"), "[Unit]\nDefaultDependencies=no\n");
  }
  write(kConfiguration, additions.configuration);
  write(units / "resmgrd.service.d/test.conf",
        "[Service]\nExecStart=\nExecStart=" + std::string(kProgram) + " --domain main --config " +
            kConfiguration + "\n" + additions.settings);
  // Its user, beside those whom there are.
  const fs::path root("/run/resmgr-test/root");
  fs::create_directories(root / "etc/sysusers.d");
  if (!error) {
    fs::copy_file(environment("RESMGRD_SYSUSERS"), root / "etc/sysusers.d/resmgrd.conf", error);
  }
  for (const char* const name : {"passwd", "group"}) {
    if (!error) fs::copy_file(fs::path("/etc") / name, root / "etc" / name, error);
  }
  const pid_t sysusers = ::fork();
  if (sysusers == 0) {
    ::execl(kSysusers, kSysusers, ("--root=" + root.string()).c_str(), nullptr);
    ::_exit(127);
  }
  if (error || wait_for(sysusers) != 0) return false;
  for (const char* const name : {"passwd", "group"}) {
    const fs::path file = fs::path("/etc") / name;
    if (::mount((root / "etc" / name).c_str(), file.c_str(), nullptr, MS_BIND, nullptr) != 0) {
      return false;
    }
  }
  return true;
}

[[noreturn]] void become_systemd(const RealManager::Additions& additions) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!furnish(additions)) ::_exit(1);
  const std::array<const char*, 5> arguments{kSystemd, "--system", "--unit=basic.target",
                                             "--show-status=0", nullptr};
  const std::string path = "SYSTEMD_UNIT_PATH=" + std::string(kUnits);
  const std::array<const char*, 4> variables{
      "container=other", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", path.c_str(), nullptr};
  ::execve(kSystemd, const_cast<char* const*>(arguments.data()),
           const_cast<char* const*>(variables.data()));
  ::_exit(127);
}

// Waits for the machine in its place: whoever kills this one ends the machine. Says its number, in
// the namespace of the test, as soon as there is one.
[[noreturn]] void launch(const RealManager::Additions& additions, int out) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::unshare(CLONE_NEWNS) != 0 || !mount_groups()) ::_exit(1);
  const fs::path group = group_of(::getpid());
  std::error_code error;
  if (!fs::create_directory(group, error)) ::_exit(1);
  std::ofstream(group / "cgroup.procs") << ::getpid() << std::flush;
  if (::umount2(kGroups, 0) != 0 || ::umount2("/run", 0) != 0) ::_exit(1);
  if (::unshare(kNamespaces | CLONE_NEWPID) != 0) ::_exit(1);
  const pid_t first = ::fork();
  if (first == 0) become_systemd(additions);
  (void)!::write(out, &first, sizeof(first));
  ::_exit(wait_for(first) == 0 ? 0 : 1);
}

}  // namespace

std::optional<std::string> RealManager::impossible() {
  for (const char* const program : {kSystemd, kSystemctl, kSysusers}) {
    if (::access(program, X_OK) != 0) return std::string(program) + " is not installed";
  }
  if (::geteuid() != 0) return "only root can start a machine";
  Child child([](Child::Talk&) {
    if (::unshare(kNamespaces | CLONE_NEWPID) != 0) return 1;
    const fs::path group = group_of(::getpid());
    if (!mount_groups() || ::mkdir(group.c_str(), 0755) != 0) return 2;
    return ::rmdir(group.c_str()) == 0 ? 0 : 2;
  });
  switch (child.wait()) {
    case 0:
      return std::nullopt;
    case 1:
      return "namespaces are forbidden";
    default:
      return "control groups can't be made";
  }
}

RealManager::RealManager(const Additions& additions) {
  own_ = UniqueFd(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd in(ends[0]);
  UniqueFd out(ends[1]);
  launcher_ = ::fork();
  if (launcher_ == 0) launch(additions, out.get());
  out.reset();
  pid_t first = 0;
  if (::read(in.get(), &first, sizeof(first)) != ssize_t{sizeof(first)}) {
    ADD_FAILURE() << "the machine does not start";
    return;
  }
  machine_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, first, 0)));
  // Of those that are forked from here on.
  EXPECT_EQ(::setns(machine_.get(), CLONE_NEWPID), 0);
  const fs::path door = fs::path("/proc") / std::to_string(first) / "root" / "run/systemd/private";
  std::error_code ignored;
  EXPECT_TRUE(eventually([&] { return fs::exists(door, ignored); })) << "it does not come up";
  EXPECT_TRUE(eventually([&] { return systemctl({"is-active", "basic.target"}) == 0; }))
      << "systemd does not answer";
}

RealManager::~RealManager() {
  if (machine_) {
    (void)::syscall(SYS_pidfd_send_signal, machine_.get(), SIGKILL, nullptr, 0);
    EXPECT_EQ(::setns(own_.get(), CLONE_NEWPID), 0);
  }
  (void)wait_for(launcher_);
  remove_groups(launcher_);
}

bool RealManager::enter() const { return ::setns(machine_.get(), kNamespaces) == 0; }

std::unique_ptr<ResourceManager> RealManager::connect(ConnectOptions options) const {
  if (!enter()) return nullptr;
  auto manager = ResourceManager::connect(std::move(options));
  return manager ? std::move(*manager) : nullptr;
}

RealManager::Output RealManager::run(const std::vector<std::string>& arguments) const {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  const UniqueFd in(ends[0]);
  UniqueFd out(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<std::string> words{kSystemctl, "--no-pager"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (!enter() || ::dup2(out.get(), STDOUT_FILENO) < 0) ::_exit(126);
    ::execv(kSystemctl, argv.data());
    ::_exit(127);
  }
  out.reset();
  Output output;
  std::array<char, 512> text{};
  for (;;) {
    const ssize_t bytes = ::read(in.get(), text.data(), text.size());
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) break;
    output.text.append(text.data(), static_cast<std::size_t>(bytes));
  }
  output.status = wait_for(child);
  return output;
}

std::string RealManager::property(const std::string& name) const {
  std::string text = run({"show", "--value", "--property=" + name, "resmgrd.service"}).text;
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

pid_t RealManager::main_process() const { return std::atoi(property("MainPID").c_str()); }

void RealManager::signal(pid_t pid, int number) const {
  Child child([&](Child::Talk&) { return ::kill(pid, number) == 0 ? 0 : 1; });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace hal::test
