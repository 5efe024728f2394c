// SPDX-License-Identifier: Apache-2.0
//
// DaemonProcess: a resmgrd for this run alone.
//
// What it is: the program itself, with its socket in a new folder that is removed at the end, and
// what it reported. What it is not: the machine's own resmgrd, which nobody disturbs. Lifetime: the
// daemon ends with it; clients should be gone before. Thread-safety: one thread.
//
//   auto daemon = DaemonProcess::start("resmgrd");
//   auto manager = daemon->connect(collector.sink());
//   int status = daemon->stop();
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include <hal/resource_manager.hpp>

#include "tools/demo/child_process.hpp"
#include "tools/demo/failure.hpp"

namespace demo {

class DaemonProcess {
 public:
  /// Returns when it serves. `program` is looked for in PATH.
  [[nodiscard]] static Outcome<DaemonProcess> start(const std::string& program);
  DaemonProcess(DaemonProcess&&) noexcept = default;
  DaemonProcess& operator=(DaemonProcess&&) noexcept = delete;
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;
  ~DaemonProcess() = default;

  [[nodiscard]] const std::string& socket() const noexcept { return socket_; }
  [[nodiscard]] pid_t pid() const noexcept { return process_.pid(); }
  [[nodiscard]] Outcome<std::unique_ptr<hal::ResourceManager>> connect(hal::LogSink log) const;
  /// Ends it, and returns its status as ChildProcess::wait().
  int stop();
  /// What it has reported by now, but for what is usual.
  [[nodiscard]] std::vector<std::string> reports() const;

 private:
  /// A new folder, removed with what is in it.
  class Folder {
   public:
    explicit Folder(std::string path) noexcept : path_(std::move(path)) {}
    Folder(Folder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    Folder& operator=(Folder&&) = delete;
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder();
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

   private:
    std::string path_;
  };
  DaemonProcess(Folder folder, ChildProcess process);
  Outcome<void> await_service();

  Folder folder_;  // behind the process at the end
  std::string socket_;
  ChildProcess process_;
};

}  // namespace demo
