// SPDX-License-Identifier: Apache-2.0
//
// HookTable: the callbacks that authors gave with their resources, and the one thread they run on.
//
// What it is: creation, access, cleanup and quiesce hooks by slot, a queue of what is to be told,
// and jobs for a certain time. What it is not: on any path of resources without hooks. The thread
// starts with the first hook. Hooks run one at a time, under no lock, and may call any function;
// accesses that follow closely are told once. Telling allocates nothing: add() made room for it.
// What a hook throws ends there.
//
// Lifetime: stop() runs what is queued, but for jobs that are not due, and ends the thread; it is
// called before the engine goes.
// From a hook it returns at once, and the thread ends after what is queued; destruction waits for
// it. Thread-safety: all functions from any thread, destruction not from a hook.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
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
  /// Asked to make hardware quiet, by an attempt of that number; it answers itself.
  std::function<void(Handle, std::uint32_t attempt)> on_quiesce;

  [[nodiscard]] bool empty() const noexcept {
    return !on_create && !on_access && !on_cleanup && !on_quiesce;
  }
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
  /// Asks for hardware to be made quiet, before anything else is told. What is asked while the hook
  /// runs is asked when it is done; of several the last one. Who is asked before he knows his
  /// handle is so when he does.
  void quiesce(Handle handle, std::uint32_t attempt) noexcept;
  /// Runs `job` on the thread of the hooks, when it is time or as soon after that as they permit.
  /// Errors: System (no thread). May throw std::bad_alloc.
  [[nodiscard]] Result<void> schedule(std::uint64_t due_ns, std::function<void()> job);
  /// While a resource is being unregistered, the hold that this takes is not an access.
  void mute(Handle handle, bool muted) noexcept;
  /// Tells on_cleanup and forgets the hooks.
  void remove(Handle handle) noexcept;
  void stop() noexcept;
  /// Whether a hook, or a job, is the caller.
  [[nodiscard]] bool on_own_thread() const noexcept;
  /// Whether no resource has hooks.
  [[nodiscard]] bool empty() const noexcept;

 private:
  struct Event {
    Handle handle;
    std::function<void(Handle)> call;
  };
  using AccessHook = boost::intrusive::slist_base_hook<boost::intrusive::tag<struct AccessTag>>;
  using QuiesceHook = boost::intrusive::slist_base_hook<boost::intrusive::tag<struct QuiesceTag>>;
  struct Entry : AccessHook, QuiesceHook {
    Handle handle;
    std::list<Event> created;  ///< one, to be moved to `events_`, or none
    std::list<Event> removed;
    std::function<void(Handle)> on_access;
    std::function<void(Handle, std::uint32_t)> on_quiesce;
    std::uint32_t attempt = 0;  ///< asked for, not yet told; 0: none
    bool queued = false;
    bool muted = false;
    bool told_of = false;  ///< on_create comes first
    bool early = false;    ///< accessed before that
  };
  template <typename Hook>
  using Queue = boost::intrusive::slist<Entry, boost::intrusive::base_hook<Hook>,
                                        boost::intrusive::cache_last<true>,
                                        boost::intrusive::constant_time_size<false>>;
  [[nodiscard]] Result<void> start();
  void run();
  void tell_access(Entry& entry) noexcept;
  void ask(Entry& entry, std::uint32_t attempt) noexcept;
  void leave_queues(Entry& entry) noexcept;
  template <typename Hook, typename... Arguments>
  static void call(const Hook& hook, Arguments... arguments) noexcept;

  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::unordered_map<Handle, std::shared_ptr<Entry>> entries_;
  Queue<AccessHook> accessed_;
  Queue<QuiesceHook> asked_;
  std::unordered_map<Handle, std::uint32_t> early_;  ///< attempts asked for before add()
  std::list<Event> events_;
  std::multimap<std::uint64_t, std::function<void()>> jobs_;  ///< by when they are due
  std::thread thread_;
  bool stopping_ = false;
};

}  // namespace resmgr::client
