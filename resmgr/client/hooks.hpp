// SPDX-License-Identifier: Apache-2.0
//
// HookTable: the callbacks that authors gave with their resources, and the one thread they run on.
//
// What it is: creation, access and cleanup hooks by slot, and a queue of what is to be told. What
// it is not: on any path of resources without hooks. The thread starts with the first hook. Hooks
// run one at a time, under no lock, and may call any function; accesses that follow closely are
// told once. Telling allocates nothing: add() made room for it. What a hook throws ends there.
//
// Lifetime: stop() runs what is queued and ends the thread; it is called before the engine goes.
// From a hook it returns at once, and the thread ends after what is queued; destruction waits for
// it. Thread-safety: all functions from any thread, destruction not from a hook.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include <boost/intrusive/slist.hpp>

#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"

namespace resmgr::client {

struct Hooks {
  std::function<void(Handle)> on_create;
  std::function<void(Handle)> on_access;
  std::function<void(Handle)> on_cleanup;

  [[nodiscard]] bool empty() const noexcept { return !on_create && !on_access && !on_cleanup; }
};

class HookTable {
 public:
  HookTable() = default;
  HookTable(const HookTable&) = delete;
  HookTable& operator=(const HookTable&) = delete;
  ~HookTable();

  /// Keeps the hooks of a new resource. Errors: System (no thread). May throw std::bad_alloc.
  [[nodiscard]] Result<void> add(Handle handle, Hooks hooks);
  /// Tells on_create, once the resource can be found, and then what was accessed before this.
  void created(Handle handle) noexcept;
  /// Undoes add(). What the hooks hold on to goes with what is returned, under no lock.
  [[nodiscard]] std::shared_ptr<void> forget(Handle handle) noexcept;
  /// Tells on_access, unless it is queued already.
  void accessed(Handle handle) noexcept;
  /// While a resource is being unregistered, the hold that this takes is not an access.
  void mute(Handle handle, bool muted) noexcept;
  /// Tells on_cleanup and forgets the hooks.
  void remove(Handle handle) noexcept;
  void stop() noexcept;
  /// Whether no resource has hooks.
  [[nodiscard]] bool empty() const noexcept;

 private:
  struct Event {
    Handle handle;
    std::function<void(Handle)> call;
  };
  struct Entry : boost::intrusive::slist_base_hook<> {
    Handle handle;
    std::list<Event> created;  ///< one, to be moved to `events_`, or none
    std::list<Event> removed;
    std::function<void(Handle)> on_access;
    bool queued = false;
    bool muted = false;
    bool told_of = false;  ///< on_create comes first
    bool early = false;    ///< accessed before that
  };
  using Accessed = boost::intrusive::slist<Entry, boost::intrusive::cache_last<true>,
                                           boost::intrusive::constant_time_size<false>>;
  void run();
  void tell_access(Entry& entry) noexcept;
  static void call(const std::function<void(Handle)>& hook, Handle handle) noexcept;

  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::unordered_map<Handle, std::shared_ptr<Entry>> entries_;
  Accessed accessed_;
  std::list<Event> events_;
  std::thread thread_;
  bool stopping_ = false;
};

}  // namespace resmgr::client
