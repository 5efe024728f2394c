// SPDX-License-Identifier: Apache-2.0
//
// SoakProcess: one client of the served soak, which does at random what clients do.
//
// What it is: acquiring and releasing, one resource or two at once, in each mode; and a resource of
// its own, which it registers, shares, looks up and unregisters, with any number of daemons in
// between. It writes down what the oracle judges (soak_oracle.hpp), and judges itself what only it
// sees. What it is not: in need of a sound end: it is killed wherever it is.
// Lifetime: borrows all it is given. Thread-safety: one thread, of a forked process.
//
//   return SoakProcess(daemon, marks, number, seed).run();   // in the child
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <string>

#include <hal/resource_manager.hpp>

#include "tests/integration/fake_manager.hpp"
#include "tests/kill/soak_log.hpp"

namespace hal::test {

inline constexpr std::uint32_t kSoakProcesses = 16;
inline constexpr std::uint32_t kSoakResources = 6;

/// What the processes tell each other, and whoever comes after them.
struct SoakMarks {
  struct Resource {
    std::atomic<std::uint64_t> guarded{0};   ///< changed by exclusive holders, in two steps
    std::atomic<std::uint64_t> mirrored{0};  ///< the second one
  };
  std::array<Resource, kSoakResources> resources;
  std::array<resmgr::test::SoakRing, kSoakProcesses> rings;
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> deadlocks{0};
  std::atomic<int> violation{0};  ///< the line of the first
  std::atomic<int> error{-1};     ///< and the error behind it, if any

  void blame(int line, int code = -1) {
    int none = 0;
    if (violation.compare_exchange_strong(none, line)) error.store(code);
  }
};

class SoakProcess {
 public:
  SoakProcess(const FakeManager& daemon, SoakMarks& marks, std::uint32_t number, std::uint64_t seed)
      : daemon_(daemon),
        marks_(marks),
        log_(marks.rings.at(number)),
        number_(number),
        random_(seed) {}

  /// Until it is told to end. Returns its exit status.
  int run();

 private:
  [[nodiscard]] std::uint32_t pick(std::uint32_t below) {
    return static_cast<std::uint32_t>(random_() % below);
  }
  [[nodiscard]] AcquireOptions any_options();
  template <typename Meanwhile>
  void hold(std::uint32_t number, Meanwhile&& meanwhile);
  void check_refusal(const Error& error);
  void care_for_own();
  void register_own();
  void look_up_own();
  void unregister_own();
  template <typename T>
  void expect(const Result<T>& result, int line) {
    if (!result) marks_.blame(line, static_cast<int>(result.error().code()));
  }

  const FakeManager& daemon_;
  SoakMarks& marks_;
  resmgr::test::SoakRing& log_;
  std::uint32_t number_;
  std::mt19937_64 random_;
  std::unique_ptr<ResourceManager> manager_;
  std::array<Handle, kSoakResources> handles_;
  DriverId driver_;
  DriverId other_;
  std::string own_name_;
  Handle own_;  ///< null: none is registered
};

}  // namespace hal::test
