// SPDX-License-Identifier: Apache-2.0
//
// Hand-offs between two processes, and the bare ones that they are compared with.
//
// What it is: for each kind a partner process that plays, on a processor of choice, until the
// object goes; this process plays against it. One operation is there and back: two hand-offs. What
// it is not: two threads. Thread-safety: one thread.
//
//   LockDuel ours(domain, 1);
//   ours.play(1000);
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "tests/bench/served_processes.hpp"
#include "tests/bench/shared_memory.hpp"

namespace bench {

/// Three resources in a ring, of which each player holds one. A move is to take the next one, then
/// to let the former go. The player ahead has one free place before him: so the two move in turns,
/// and neither can go round alone while the other is on his way.
class Ring {
 public:
  static constexpr unsigned kPlaces = 3;
  [[nodiscard]] static constexpr unsigned after(unsigned place) noexcept {
    return (place + 1) % kPlaces;
  }
};

/// The game of Ring between two processes of a served domain.
class LockDuel {
 public:
  /// The partner runs on `processor`. Throws std::runtime_error, Skip.
  LockDuel(ServedDomain& domain, unsigned processor);
  ~LockDuel();
  void play(std::uint64_t operations);

 private:
  struct Board {
    std::atomic<std::uint32_t> ready{0};
  };
  Shared<Board> board_;
  hal::ResourceManager& manager_;
  std::array<hal::Handle, Ring::kPlaces> handles_;
  hal::ScopedResource mine_;
  unsigned place_ = 0;
  std::unique_ptr<Other> partner_;
};

/// The same by a word in shared memory: asleep on a futex (with a deadline, so that who was not
/// woken looks himself in the end), or looking at it all the time.
class WordDuel {
 public:
  enum class Wait { Futex, TimedFutex, Spin };
  WordDuel(Wait wait, unsigned processor);
  /// Starts and ends with the partner asleep.
  void play(std::uint64_t operations);

 private:
  struct Board {
    std::atomic<std::uint32_t> turn{0};
    std::atomic<std::uint32_t> playing{0};  ///< else the partner sleeps, and needs no processor
  };
  static void pass(Board& board, Wait wait, std::uint32_t to);
  static void await(Board& board, Wait wait, std::uint32_t turn);

  Wait wait_;
  Shared<Board> board_;
  std::unique_ptr<Other> partner_;
};

/// What the machine asks for a hand-off that a queue decides: the game of Ring, with three of
/// Mellor-Crummey and Scott's queue locks ("Algorithms for scalable synchronization on
/// shared-memory multiprocessors", 1991). They check nothing, keep no order but their own, and
/// whoever dies in one takes it with him: a floor for served/handoff_spin_vs_spin, not a peer.
class QueueDuel {
 public:
  explicit QueueDuel(unsigned processor);
  void play(std::uint64_t operations);

 private:
  static constexpr std::uint32_t kNobody = 2;
  struct alignas(64) Node {
    std::atomic<std::uint32_t> next{kNobody};
    std::atomic<bool> granted{false};
  };
  /// Of two players, each with one node.
  struct QueueLock {
    alignas(64) std::atomic<std::uint32_t> tail{kNobody};
    std::array<Node, 2> nodes;

    void acquire(std::uint32_t player) noexcept;
    void release(std::uint32_t player) noexcept;
  };
  struct Board {
    std::array<QueueLock, Ring::kPlaces> locks;
    alignas(64) std::atomic<bool> ready{false};
  };

  Shared<Board> board_;
  unsigned place_ = 0;
  std::unique_ptr<Other> partner_;
};

}  // namespace bench
