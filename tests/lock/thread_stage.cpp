// SPDX-License-Identifier: Apache-2.0
//
// A stage of threads of this process.
#include <algorithm>

#include "tests/lock/stage.hpp"

namespace resmgr::lock::test {
namespace {

class ThreadStage final : public Stage {
 public:
  explicit ThreadStage(const StageSize& size) : domain_(capacities(size)) {
    for (std::uint32_t slot = 0; slot < size.resources; ++slot) add(domain_.arm(slot, 0));
  }

  [[nodiscard]] std::unique_ptr<Performer> enter(std::uint32_t driver) override {
    return std::make_unique<Actor>(domain_, driver);
  }
  [[nodiscard]] LockEngine& engine() override { return domain_.engine; }
  [[nodiscard]] const LockTables& tables() const override { return domain_.tables(); }
  [[nodiscard]] Census census() override { return take_census(domain_); }

 private:
  [[nodiscard]] static Capacities capacities(const StageSize& size) {
    Capacities result = kSmall;
    result.slots = std::max(result.slots, size.resources);
    result.contexts = std::max(result.contexts, size.performers);
    return result;
  }

  Domain domain_;
};

}  // namespace

std::unique_ptr<Stage> set_stage(const StageSize& size) {
  return std::make_unique<ThreadStage>(size);
}

}  // namespace resmgr::lock::test
