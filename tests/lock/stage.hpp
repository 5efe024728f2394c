// SPDX-License-Identifier: Apache-2.0
//
// Stage: where performers meet: a domain with resources, whatever runs the performers.
//
// What it is: the seam by which one scenario is played by threads of one process and by processes
// of a served domain. Which of them set_stage() sets is what a program is linked with:
// thread_stage.cpp here, or process_stage.cpp of tests/integration. What it is not: for scenarios
// that write into the region by hand; those use a Domain.
//
// Lifetime: outlives its performers. What performers share besides (test::SharedBlock) has to be
// made before they enter. Thread-safety: one thread, which drives the performers.
//
//   const auto stage = set_stage();
//   const auto a = stage->enter(1);                  // of "driver-1"
//   ASSERT_TRUE(a->acquire(stage->resource(0)));     // "resource-0"
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/lock/fixture.hpp"
#include "tests/lock/performer.hpp"

namespace resmgr::lock::test {

class Stage {
 public:
  Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  virtual ~Stage() = default;

  /// A performer for the driver "driver-<number>".
  [[nodiscard]] virtual std::unique_ptr<Performer> enter(std::uint32_t driver = 0) = 0;
  /// Of that number, "resource-<number>".
  [[nodiscard]] Handle resource(std::uint32_t number) const { return resources_.at(number); }
  [[nodiscard]] std::uint32_t resources() const {
    return static_cast<std::uint32_t>(resources_.size());
  }
  /// To look at: the performers have their own, where they are not of this process.
  [[nodiscard]] virtual LockEngine& engine() = 0;
  [[nodiscard]] virtual const LockTables& tables() const = 0;
  /// While nobody does anything.
  [[nodiscard]] virtual Census census() = 0;

  [[nodiscard]] StateWord word(Handle handle) { return engine().word(handle.slot()); }
  /// Cycles that were refused.
  [[nodiscard]] std::uint64_t deadlocks() const { return load(tables().region->deadlocks); }
  [[nodiscard]] std::uint64_t late() const { return load(tables().region->late_victims); }

 protected:
  void add(Handle resource) { resources_.push_back(resource); }

 private:
  std::vector<Handle> resources_;
};

struct StageSize {
  std::uint32_t resources = 8;
  std::uint32_t performers = 8;
};
[[nodiscard]] std::unique_ptr<Stage> set_stage(const StageSize& size = {});

}  // namespace resmgr::lock::test
