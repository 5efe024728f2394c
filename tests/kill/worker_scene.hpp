// SPDX-License-Identifier: Apache-2.0
//
// A domain whose authority is killed: what it leaves, and what its successor finds and makes of it.
//
// What it is: Scene, a domain with a clerk, its clients, and notes in shared memory, as a keeper
// has them; and Succession, one that takes over from what is in memory at that moment, with its
// checks. What it is not: processes; who is dead is what the test says. The registry of a real
// domain can't be mapped by two; this one can, so that a successor has a mapping of its own.
// Lifetime: a succession borrows its scene, which it changes: who steps puts the memories back.
// Thread-safety: one thread.
//
//   Scene scene;
//   scene.hold(scene.user, handle);
//   for_each_death(scene.memories(), act, [&] {
//     Succession next(scene);
//     next.check();
//   });
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/base/mapping.hpp"
#include "resmgr/daemon/domain_state.hpp"
#include "tests/daemon/clerk_support.hpp"

namespace resmgr::daemon::test {

/// What the keeper was told, where it survives who told it.
class SharedNotes final : public Ledger {
 public:
  SharedNotes();
  void file_kept(Handle handle, int file) override;
  void file_dropped(Handle handle) override;
  void client_came(const Client& client) override;
  void client_leaves(const Client& client) override;
  void client_went(const Client& client) override;
  void drained(std::uint32_t, bool) override {}

  struct Read {
    std::set<Handle> files;  ///< that have one; a scene has a single file
    std::map<std::uint32_t, Client> clients;
    std::set<std::uint32_t> leaving;
  };
  [[nodiscard]] Read read() const;
  [[nodiscard]] std::span<std::byte> bytes() noexcept { return memory_.bytes(); }

 private:
  enum class Kind : std::uint32_t {
    None,
    FileKept,
    FileDropped,
    ClientCame,
    ClientLeaves,
    ClientWent
  };
  struct Entry {
    Kind kind = Kind::None;
    std::uint32_t client = 0;
    std::uint64_t handle = 0;
    std::uint64_t sequence = 0;
    std::uint64_t start_time = 0;
    std::uint32_t pid = 0;
    std::uint32_t padding = 0;
  };
  struct Pages {
    std::uint64_t count = 0;
    std::array<Entry, 32> entries;
  };
  void write(const Entry& entry) noexcept;
  [[nodiscard]] Pages& pages() const noexcept;

  Mapping memory_;
};

class Scene {
 public:
  Scene();
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  /// Who answers: the first clerk, or in a succession the next one.
  [[nodiscard]] Clerk& clerk() const noexcept { return *clerk_; }
  [[nodiscard]] DomainState& state() const noexcept { return *state_; }
  /// A file to send; the same one each time.
  [[nodiscard]] std::array<UniqueFd, 1> file() const;
  /// Says hello for a process that does nothing else. Returns what it was refused with.
  std::optional<ErrorCode> greet(Client& client, std::string_view driver);
  /// Of one who lives on with it.
  void hold(Peer& who, Handle handle, HoldKind kind = HoldKind::Exclusive);
  /// Of one who lives and sleeps.
  void wait(Peer& who, Handle handle, std::uint8_t mode, std::uint64_t ticket);
  /// `who` is in the middle of a slow path there.
  void latch(const Peer& who, Handle handle) const;
  void unlatch(Handle handle) const;
  /// The victim's process ended; whether anybody noticed is another matter.
  void kill_victim();
  /// It lives, but its connection ended: a successor that was told nothing takes it back.
  void let_victim_hang_up();
  [[nodiscard]] bool victim_stays() const noexcept { return dead_contexts_.empty(); }
  [[nodiscard]] std::array<std::span<std::byte>, 3> memories() noexcept;
  /// What the registry says, and whom the clerk gives files, but for generations of slots.
  [[nodiscard]] std::string contents();

  std::unique_ptr<Peer> owner;
  std::unique_ptr<Peer> user;
  std::unique_ptr<Peer> victim;
  Handle a;  ///< what the test says
  Handle b;

 private:
  friend class Succession;
  struct Hold {
    Peer* who;
    Handle handle;
    HoldKind kind;
  };

  DomainRegions regions_;
  SharedNotes notes_;
  UniqueFd file_ = memory(4096);
  std::unique_ptr<DomainState> first_state_;
  std::unique_ptr<Clerk> first_clerk_;
  DomainState* state_ = nullptr;
  Clerk* clerk_ = nullptr;
  std::vector<Hold> holds_;
  std::vector<rm_node*> waits_;
  std::vector<std::uint16_t> dead_contexts_;
  bool victim_hung_up_ = false;
  std::vector<std::byte> in_ = std::vector<std::byte>(RM_WIRE_MAX_FRAME);
  std::vector<std::byte> out_ = std::vector<std::byte>(RM_WIRE_MAX_FRAME);
};

class Succession {
 public:
  explicit Succession(Scene& scene);
  Succession(const Succession&) = delete;
  Succession& operator=(const Succession&) = delete;
  ~Succession();

  /// The regions are consistent, and the living have what they had.
  void check() const;
  /// The living come back, and the dead are buried.
  void clients_return();
  /// Somebody comes who has nothing to do with all that, and can work. Ends what others hold.
  void newcomer_works();

 private:
  void registry_is_sound() const;
  void slots_agree_with_entries() const;
  void locks_are_settled() const;
  [[nodiscard]] std::array<Peer*, 3> peers() const noexcept;

  Scene& scene_;
  std::array<Client, 3> before_;  ///< the first clerk's
  std::unique_ptr<DomainState> state_;
  std::unique_ptr<Clerk> clerk_;
};

}  // namespace resmgr::daemon::test
