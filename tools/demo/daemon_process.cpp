// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/daemon_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>

namespace demo {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds kPatience = 10s;
constexpr std::string_view kSocket = "/resmgrd.sock";
constexpr std::string_view kLog = "/resmgrd.log";
constexpr std::string_view kConfig = "/resmgrd.toml";

/// Whether a line of resmgrd's tells of nothing that had to be looked at.
bool is_usual(std::string_view line) {
  return line.starts_with("resmgrd: ") && !line.starts_with("resmgrd: warning: ") &&
         !line.starts_with("resmgrd: error: ");
}

}  // namespace

DaemonProcess::Folder::~Folder() {
  if (path_.empty()) return;
  std::error_code ignored;  // nobody is there to be told
  std::filesystem::remove_all(path_, ignored);
}

Outcome<DaemonProcess> DaemonProcess::start(const std::string& program) try {
  std::string pattern = std::filesystem::temp_directory_path() / "resmgr-demo-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return failed_errno(pattern, errno);
  Folder folder(std::move(pattern));
  const std::string log_path = folder.path() + std::string(kLog);
  const hal::UniqueFd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!log) return failed_errno(log_path, errno);
  // An empty one, for the machine's own may forbid what we do.
  const std::string config_path = folder.path() + std::string(kConfig);
  const hal::UniqueFd config(::open(config_path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!config) return failed_errno(config_path, errno);
  auto process = ChildProcess::start({.words = {program, "--config", config_path, "--socket",
                                                folder.path() + std::string(kSocket)},
                                      .errors = log.get()});
  if (!process) return std::unexpected(std::move(process.error()));
  DaemonProcess daemon(std::move(folder), std::move(*process));
  if (auto serves = daemon.await_service(); !serves) return std::unexpected(serves.error());
  return daemon;
} catch (const std::filesystem::filesystem_error& error) {
  return failed("a folder for resmgrd", error.what());
}

DaemonProcess::DaemonProcess(Folder folder, ChildProcess process)
    : folder_(std::move(folder)),
      socket_(folder_.path() + std::string(kSocket)),
      process_(std::move(process)) {}

Outcome<void> DaemonProcess::await_service() {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const auto probe = hal::ResourceManager::connect({.socket = socket_});
    if (probe) return {};
    if (process_.ended()) {
      const int status = process_.wait(kPatience);
      if (status == ChildProcess::kNoSuchProgram) {
        return failed("resmgrd", "there is no such program; --resmgrd says where it is");
      }
      const auto said = reports();
      return failed("resmgrd",
                    fate_text(status) + (said.empty() ? std::string() : ": " + said.front()));
    }
    if (std::chrono::steady_clock::now() > end) return failed("resmgrd", probe.error());
    // It says nothing when it is ready, and takes a millisecond or two.
    std::this_thread::sleep_for(1ms);
  }
}

Outcome<std::unique_ptr<hal::ResourceManager>> DaemonProcess::connect(hal::LogSink log) const {
  auto manager = hal::ResourceManager::connect({.socket = socket_, .log = std::move(log)});
  if (!manager) return failed("connecting to resmgrd", manager.error());
  return std::move(*manager);
}

int DaemonProcess::stop() {
  process_.signal(SIGTERM);
  return process_.wait(kPatience);
}

std::vector<std::string> DaemonProcess::reports() const {
  std::vector<std::string> lines;
  std::ifstream log(folder_.path() + std::string(kLog));
  for (std::string line; std::getline(log, line);) {
    if (!is_usual(line)) lines.push_back(line);
  }
  return lines;
}

}  // namespace demo
