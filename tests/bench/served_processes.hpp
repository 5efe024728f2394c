// SPDX-License-Identifier: Apache-2.0
//
// Processes that a served domain is measured with: a resmgrd of its own, and others to talk to.
//
// What it is: ServedDomain, the daemon and a client of it in this process; Echo, a process that
// sends every packet back; Other, one that runs a function until it is told to end. What it is not:
// a measurement. Everything is ended by its destructor. Thread-safety: one thread.
//
//   ServedDomain domain;
//   Other other([&] { return domain.connect(); ... });
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <hal/resource_manager.hpp>

namespace bench {

class ServedDomain {
 public:
  /// Throws std::runtime_error.
  ServedDomain();
  ~ServedDomain();
  ServedDomain(const ServedDomain&) = delete;
  ServedDomain& operator=(const ServedDomain&) = delete;

  [[nodiscard]] hal::ResourceManager& manager() noexcept { return *manager_; }
  /// One more client, for another process. Throws std::runtime_error.
  [[nodiscard]] std::unique_ptr<hal::ResourceManager> connect() const;
  [[nodiscard]] pid_t keeper() const noexcept { return keeper_; }
  [[nodiscard]] pid_t worker() const;

 private:
  std::string folder_;
  pid_t keeper_ = 0;
  std::unique_ptr<hal::ResourceManager> manager_;
};

/// A process that runs `run` and ends.
class Other {
 public:
  explicit Other(const std::function<void()>& run);
  /// Kills it, if it has not ended.
  ~Other();
  Other(const Other&) = delete;
  Other& operator=(const Other&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  void kill();

 private:
  pid_t pid_ = 0;
};

/// A server that answers each packet with itself.
class Echo {
 public:
  Echo();
  ~Echo();
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;

  /// One packet there and back.
  void round_trip();

 private:
  int socket_ = -1;
  std::unique_ptr<Other> server_;
};

/// Puts the calling thread on one of the processors that the process may use. Throws Skip where
/// there are not so many.
void pin(unsigned processor);

}  // namespace bench
