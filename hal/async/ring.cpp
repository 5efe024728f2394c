// SPDX-License-Identifier: Apache-2.0
//
// What comes back from the kernel is a number: the place of a wait in the table, and how often that
// place was used. So completions of waits that are over find nobody.
#include <hal/executor.hpp>
#include <hal/ring.hpp>

#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <functional>
#include <mutex>
#include <new>
#include <queue>
#include <utility>
#include <vector>

#include "hal/async/submission.hpp"
#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/client/doorbell.hpp"
#include "resmgr/lock/engine.hpp"

namespace hal {

using resmgr::fail;
using resmgr::fail_errno;
using resmgr::UniqueFd;

namespace {

constexpr unsigned kMaxEntries = 4096;
/// Of the completion that says that something was posted. No place is as high.
constexpr std::uint64_t kPosted = ~std::uint64_t{0};
// An id: uses of the place:32 | round:8 | place:24. Who waits for one thing after the other does so
// under an id of another round each time, for what was in flight for the last may still complete.
constexpr unsigned kUsesShift = 32;
constexpr std::uint64_t kOneRound = 1u << 24;
constexpr std::uint64_t kRounds = 0xff * kOneRound;
constexpr std::size_t kMaxPlaces = kOneRound - 1;

constexpr std::uint32_t place_of(std::uint64_t id) noexcept {
  return static_cast<std::uint32_t>(id % kOneRound);
}
constexpr std::uint64_t next_round(std::uint64_t id) noexcept {
  return (id & ~kRounds) | ((id + kOneRound) & kRounds);
}

// Whether it passes: a signal, a timeout, memory, a full queue.
constexpr bool is_passing(int error) noexcept {
  return error == EINTR || error == ETIME || error == EAGAIN || error == EBUSY || error == EBADR;
}

}  // namespace

struct [[gnu::visibility("hidden")]] Ring::Impl final : resmgr::client::DoorbellListener {
  /// Where a wait is known; its number is half of the wait's id.
  struct Place {
    Pending* pending = nullptr;
    std::unique_ptr<Pending> own{};  ///< a callback's
    std::uint32_t uses = 1;          ///< from 1, so that no id is 0
    bool due = false;                ///< on the list of what is done or to be armed
  };

  Impl() noexcept = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    places.clear();  // gives up what waits on the ring
    if (open) ::io_uring_queue_exit(&ring);
  }

  Result<void> begin(const RingOptions& options) {
    path = async::usual_path(options.async_path);
    bell = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!bell) return fail_errno(errno, "eventfd");
    if (path == AsyncPath::Doorbell) return {};
    if (!async::has_futex_operations()) {
      return fail(ErrorCode::Unsupported, "io_uring's futex operations");
    }
    // Chains of two need room.
    const unsigned entries = std::max(options.entries, 2u);
    int result = -EINVAL;
    for (const unsigned flags : {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0u}) {
      if (result == -EINVAL) result = ::io_uring_queue_init(entries, &ring, flags);
    }
    open = result == 0;
    if (!open) return fail_errno(-result, "io_uring_setup");
    return {};
  }

  /// Of whatever round.
  [[nodiscard]] Pending* find(std::uint64_t id) const noexcept {
    const std::uint32_t at = place_of(id);
    if (at >= places.size() || places[at].uses != id >> kUsesShift) return nullptr;
    return places[at].pending;
  }
  [[nodiscard]] Pending* find_now(std::uint64_t id) const noexcept {
    Pending* const pending = find(id);
    return pending && pending->id == id ? pending : nullptr;
  }
  [[nodiscard]] std::uint64_t put(Pending& pending) {
    if (free.empty()) {
      if (places.size() == kMaxPlaces) throw std::bad_alloc();
      places.emplace_back();
      // So that what follows needs no memory.
      for (auto* list : {&free, &due, &turn}) list->reserve(places.capacity());
      hearing.reserve(places.capacity());
      const std::lock_guard lock(mutex);
      heard.reserve(places.capacity());
      free.push_back(static_cast<std::uint32_t>(places.size() - 1));
    }
    const std::uint32_t at = free.back();
    free.pop_back();
    places[at].pending = &pending;
    ++waiting;
    return std::uint64_t{places[at].uses} << kUsesShift | at;
  }
  /// Returns what the ring owned of it.
  std::unique_ptr<Pending> take_out(Pending& pending) noexcept {
    Place& place = places[place_of(pending.id)];
    place.pending = nullptr;
    if (++place.uses == 0) place.uses = 1;
    free.push_back(place_of(pending.id));
    pending.id = 0;
    --waiting;
    return std::move(place.own);
  }

  [[nodiscard]] io_uring_sqe* entry() noexcept {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring);
    if (sqe) return sqe;
    (void)::io_uring_submit(&ring);
    return ::io_uring_get_sqe(&ring);
  }
  /// In the next turn it is told, or armed.
  void defer(const Pending& pending) noexcept {
    const std::uint32_t at = place_of(pending.id);
    if (std::exchange(places[at].due, true)) return;
    due.push_back(at);
  }
  /// Has it waited for; later, if the queue is full, or if it is done.
  void arm(Pending& pending) noexcept {
    if (pending.wait.done()) return defer(pending);
    const unsigned needed = pending.wait.submissions();
    if (needed == 0) return;
    if (path == AsyncPath::Doorbell) return listen_for(pending);
    // A chain must not be cut in two by a submission in between.
    if (::io_uring_sq_space_left(&ring) < needed) (void)::io_uring_submit(&ring);
    if (::io_uring_sq_space_left(&ring) < needed) return defer(pending);
    std::array<io_uring_sqe*, 2> entries{};
    for (unsigned i = 0; i < needed; ++i) entries[i] = ::io_uring_get_sqe(&ring);
    if (pending.wait.prepare(entries, pending.id)) return;
    // They are submitted in any case. The wait is looked at when all are.
    for (unsigned i = 0; i < needed; ++i) async::put_nothing(*entries[i], pending.id);
  }
  void listen_for(Pending& pending) noexcept;
  /// By the doorbell's thread.
  void ready(std::uint64_t id) noexcept override {
    {
      const std::lock_guard lock(mutex);
      // Without room: all are looked at.
      if (heard.size() == heard.capacity()) {
        missed = true;
      } else {
        heard.push_back(id);
      }
    }
    ring_the_bell();
  }
  void ring_the_bell() const noexcept { (void)::eventfd_write(bell.get(), 1); }
  void look_at(std::uint64_t id) {
    Pending* const pending = find_now(id);
    if (pending && pending->wait.check()) tell(*pending);
  }
  /// Of what is done.
  void tell(Pending& pending) {
    if (!pending.is_all()) {
      pending.id = next_round(pending.id);
      arm(pending);
      return;
    }
    const auto own = take_out(pending);
    ++told;
    pending.tell();
  }
  void do_what_is_due();
  void complete(const io_uring_cqe& completion);
  void look_at_all();
  void do_posted();
  void do_heard();
  [[nodiscard]] Result<void> wait_and_tell(std::chrono::nanoseconds at_most);
  [[nodiscard]] Result<void> wait_for_bell(std::uint64_t ns);
  /// Of those that the kernel does not know of.
  [[nodiscard]] std::uint64_t until_next_deadline() const noexcept {
    if (deadlines.empty()) return resmgr::kNoDeadline;
    const std::uint64_t now = resmgr::Clock::now();
    const std::uint64_t first = deadlines.top().first;
    return first > now ? first - now : 0;
  }
  [[nodiscard]] bool has_something_to_do() const noexcept {
    return !due.empty() || !turn.empty() || (open && ::io_uring_sq_ready(&ring) != 0);
  }

  AsyncPath path = AsyncPath::Futex;
  io_uring ring{};  ///< of the path Futex
  bool open = false;
  UniqueFd bell;
  bool bell_armed = false;
  std::vector<Place> places;
  std::vector<std::uint32_t> free;
  std::vector<std::uint32_t> due;   ///< places: done already, or no entry was free
  std::vector<std::uint32_t> turn;  ///< of these, those that this turn is for
  std::size_t waiting = 0;
  unsigned told = 0;
  std::uint64_t looked_at = 0;  ///< when all were
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::deque<std::move_only_function<void()>> posted;  ///< under the mutex
  // Of the path Doorbell:
  std::vector<std::shared_ptr<resmgr::client::Doorbell>> doorbells;  ///< one for each manager
  std::vector<std::uint64_t> heard;                                  ///< ids; under the mutex
  bool missed = false;                                               ///< likewise
  std::vector<std::uint64_t> hearing;
  using Deadline = std::pair<std::uint64_t, std::uint64_t>;  ///< when, and of which id
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines;
};

void Ring::Impl::do_what_is_due() {
  // What comes meanwhile waits for the next turn: who asks anew whenever he is told must not keep
  // the others waiting. (Something is left of a turn where a callback threw.)
  if (turn.empty()) {
    turn.swap(due);
    std::ranges::reverse(turn);
  }
  while (!turn.empty()) {
    Place& place = places[turn.back()];
    turn.pop_back();
    place.due = false;
    if (!place.pending) continue;
    if (place.pending->wait.done()) {
      tell(*place.pending);
    } else {
      arm(*place.pending);
    }
  }
}

void Ring::Impl::complete(const io_uring_cqe& completion) {
  if (completion.user_data == kPosted) {
    bell_armed = false;
    do_posted();
    return;
  }
  Pending* const pending = find_now(completion.user_data);
  if (!pending) return;
  switch (pending->wait.complete(&completion)) {
    case AsyncAcquire::Step::Done:
      tell(*pending);
      break;
    case AsyncAcquire::Step::Rearm:
      arm(*pending);
      break;
    case AsyncAcquire::Step::More:
    case AsyncAcquire::Step::NotMine:
      break;
  }
}

// For those whose granter was stopped before he woke them.
void Ring::Impl::look_at_all() {
  const std::uint64_t now = resmgr::Clock::now();
  if (waiting == 0 || now - looked_at < resmgr::lock::kBoundedSleepNs) return;
  looked_at = now;
  for (std::size_t at = 0; at < places.size(); ++at) {
    if (places[at].pending) look_at(places[at].pending->id);
  }
}

void Ring::Impl::do_posted() {
  eventfd_t rings = 0;
  (void)::eventfd_read(bell.get(), &rings);
  std::deque<std::move_only_function<void()>> work;
  {
    const std::lock_guard lock(mutex);
    work.swap(posted);
  }
  for (auto& each : work) {
    ++told;
    each();
  }
}

void Ring::Impl::listen_for(Pending& pending) noexcept try {
  const std::uint64_t deadline = pending.wait.deadline_ns();
  const auto waits = pending.wait.listen(*this, pending.id);
  // What can't be listened for is looked at when all are.
  if (!waits) return;
  if (!*waits) {
    if (pending.wait.check()) defer(pending);
    return;
  }
  if (std::ranges::find(doorbells, pending.wait.doorbell()) == doorbells.end()) {
    doorbells.push_back(pending.wait.doorbell());
  }
  if (deadline != resmgr::kNoDeadline) deadlines.emplace(deadline, pending.id);
} catch (const std::bad_alloc&) {
  // As before: late by no more than a bounded sleep.
}

void Ring::Impl::do_heard() {
  {
    const std::lock_guard lock(mutex);
    hearing.swap(heard);
    if (std::exchange(missed, false)) looked_at = 0;
  }
  while (!hearing.empty()) {
    const std::uint64_t id = hearing.back();
    hearing.pop_back();
    look_at(id);
  }
  const std::uint64_t now = resmgr::Clock::now();
  while (!deadlines.empty() && deadlines.top().first <= now) {
    const std::uint64_t id = deadlines.top().second;
    deadlines.pop();
    look_at(id);
  }
}

Result<void> Ring::Impl::wait_for_bell(std::uint64_t ns) {
  for (const auto& doorbell : doorbells) doorbell->look();
  const __kernel_timespec kernel = async::to_timespec(std::min(ns, until_next_deadline()));
  const timespec timeout{.tv_sec = kernel.tv_sec, .tv_nsec = kernel.tv_nsec};
  pollfd readable{.fd = bell.get(), .events = POLLIN, .revents = 0};
  if (::ppoll(&readable, 1, &timeout, nullptr) < 0 && !is_passing(errno)) {
    return fail_errno(errno, "ppoll");
  }
  do_posted();
  do_heard();
  return {};
}

Result<void> Ring::Impl::wait_and_tell(std::chrono::nanoseconds at_most) {
  auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(at_most.count(), 0));
  if (waiting != 0) ns = std::min(ns, resmgr::lock::kBoundedSleepNs);
  if (path == AsyncPath::Doorbell) return wait_for_bell(ns);
  if (!bell_armed) {
    if (io_uring_sqe* const sqe = entry()) {
      async::put_poll(*sqe, bell.get(), kPosted);
      bell_armed = true;
    }
  }
  __kernel_timespec timeout = async::to_timespec(ns);
  io_uring_cqe* seen = nullptr;
  const int result = ns == 0
                         ? ::io_uring_submit_and_get_events(&ring)
                         : ::io_uring_submit_and_wait_timeout(&ring, &seen, 1, &timeout, nullptr);
  if (result < 0 && !is_passing(-result)) return fail_errno(-result, "io_uring_enter");
  while (::io_uring_peek_cqe(&ring, &seen) == 0) {
    const io_uring_cqe completion = *seen;
    ::io_uring_cqe_seen(&ring, seen);
    complete(completion);
  }
  return {};
}

Result<std::unique_ptr<Ring>> Ring::create(RingOptions options) {
  if (options.entries == 0 || options.entries > kMaxEntries) {
    return fail(ErrorCode::InvalidArgument, "entries of a ring");
  }
  if (auto path = convert::check(options.async_path); !path) {
    return std::unexpected(std::move(path.error()));
  }
  return guard("ring", [&]() -> Result<std::unique_ptr<Ring>> {
    auto impl = std::make_unique<Impl>();
    if (auto begun = impl->begin(options); !begun) {
      return std::unexpected(std::move(begun.error()));
    }
    return std::unique_ptr<Ring>(new Ring(std::move(impl)));
  });
}

Ring::Ring(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Ring::~Ring() { leave(); }

Ring::Token Ring::own(std::unique_ptr<Pending> made) {
  Pending& pending = *made;
  pending.id = impl_->put(pending);
  impl_->places[place_of(pending.id)].own = std::move(made);
  impl_->arm(pending);
  return Token{pending.id};
}

AsyncPath Ring::path() const noexcept { return impl_->path; }

bool Ring::add(Pending& pending) noexcept try {
  pending.id = impl_->put(pending);
  impl_->arm(pending);
  return true;
} catch (const std::bad_alloc&) {
  // It goes on at once, and finds that it was cancelled.
  pending.cancel();
  return false;
}

void Ring::forget(Pending& pending) noexcept { (void)impl_->take_out(pending); }

bool Ring::cancel(Token token) noexcept {
  Pending* const pending = impl_->find(token.value);
  if (!pending) return false;
  pending->cancel();
  // Where nothing was in flight no completion will come.
  if (pending->wait.done()) impl_->defer(*pending);
  return true;
}

Result<unsigned> Ring::poll(std::chrono::nanoseconds at_most) {
  const ExecutorScope inside;
  impl_->told = 0;
  impl_->do_what_is_due();
  const bool now = impl_->told != 0 || !impl_->due.empty();
  if (auto told = impl_->wait_and_tell(now ? std::chrono::nanoseconds{} : at_most); !told) {
    return std::unexpected(std::move(told.error()));
  }
  impl_->look_at_all();
  return impl_->told;
}

Result<void> Ring::run() {
  while (impl_->waiting != 0 && !impl_->stopping.exchange(false)) {
    auto told = poll(std::chrono::nanoseconds(resmgr::lock::kBoundedSleepNs));
    if (!told) return std::unexpected(std::move(told.error()));
  }
  return {};
}

void Ring::stop() noexcept {
  impl_->stopping.store(true);
  impl_->ring_the_bell();
}

Result<void> Ring::post(std::move_only_function<void()> work) {
  if (!work) return fail(ErrorCode::InvalidArgument, "nothing to call");
  return guard("post", [&]() -> Result<void> {
    {
      const std::lock_guard lock(impl_->mutex);
      impl_->posted.push_back(std::move(work));
    }
    impl_->ring_the_bell();
    return {};
  });
}

int Ring::fd() const noexcept { return impl_->open ? impl_->ring.ring_fd : impl_->bell.get(); }
std::size_t Ring::pending() const noexcept { return impl_->waiting; }

std::chrono::nanoseconds Ring::patience() const noexcept {
  if (impl_->has_something_to_do()) return {};
  if (impl_->waiting == 0) return std::chrono::nanoseconds::max();
  return std::chrono::nanoseconds(
      std::min(impl_->until_next_deadline(), resmgr::lock::kBoundedSleepNs));
}

}  // namespace hal
