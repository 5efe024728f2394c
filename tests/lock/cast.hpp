// SPDX-License-Identifier: Apache-2.0
//
// Cast: what the games on a stage share, in which performers make one random move at a time.
//
// What it is: the stage, its performers by number, the dice, and the moment at which nobody moves
// any more. What it is not: the rules; each game has its own, and says what must be true after a
// move. Thread-safety: driven by one thread.
//
//   class Game : public Cast { ... move(); wait_until_settled(); ... };
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/lock/stage.hpp"

namespace resmgr::lock::test {

class Cast {
 public:
  Cast(int contexts, std::uint64_t seed) : random_(seed) {
    for (int i = 0; i < contexts; ++i) actors_.push_back(stage_->enter());
  }

  [[nodiscard]] Stage& stage() { return *stage_; }
  [[nodiscard]] std::uint64_t victims() const { return victims_; }

 protected:
  [[nodiscard]] int pick(int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random_);
  }
  [[nodiscard]] Handle handle(int resource) const {
    return stage_->resource(static_cast<std::uint32_t>(resource));
  }
  [[nodiscard]] Performer& actor(int context) {
    return *actors_.at(static_cast<std::size_t>(context));
  }
  [[nodiscard]] int number_of(std::uint32_t id) {
    for (int i = 0; i < static_cast<int>(actors_.size()); ++i) {
      if (actor(i).id() == id) return i;
    }
    return -1;
  }
  /// Twice in a row: who is seen asleep first may be served by one who finishes after that.
  void wait_until_settled() {
    int passes = 0;
    wait_until([&] {
      for (const auto& each : actors_) {
        if (!each->settled()) return passes = 0, false;
      }
      return ++passes == 2;
    });
  }
  [[nodiscard]] std::string at() const {
    return ", after " + std::to_string(victims_) + " victims";
  }

  std::mt19937_64 random_;
  std::unique_ptr<Stage> stage_ = set_stage();
  std::vector<std::unique_ptr<Performer>> actors_;
  std::uint64_t victims_ = 0;
};

}  // namespace resmgr::lock::test
