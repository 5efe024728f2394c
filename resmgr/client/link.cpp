// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/link.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <new>
#include <system_error>
#include <utility>

#include "resmgr/abi/replies.hpp"
#include "resmgr/abi/requests.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/base/pause.hpp"

namespace resmgr::client {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kFirstPause = 1'000'000;
constexpr std::uint64_t kLongestPause = 50'000'000;
// Between attempts to connect where somebody listens, or we can't even ask: whatever is in the way
// stays for longer than a daemon is away, and each attempt is work for others.
constexpr std::uint64_t kLongestRest = kSecond;

// Blocking calls, with an end: two system calls a request, where polling would be four.
Result<void> limit_waits(int socket, std::uint64_t patience_ns) noexcept {
  const timeval limit{.tv_sec = static_cast<time_t>(patience_ns / kSecond),
                      .tv_usec = static_cast<suseconds_t>(patience_ns % kSecond / 1000)};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(socket, SOL_SOCKET, option, &limit, sizeof(limit)) != 0) {
      return fail_errno(errno, "setsockopt");
    }
  }
  return {};
}

bool is_so(int socket, short event) noexcept {
  pollfd wait{socket, event, 0};
  return ::poll(&wait, 1, 0) > 0;
}

bool has_hung_up(int socket) noexcept { return is_so(socket, POLLRDHUP); }

bool is_loss(const Error& error) noexcept { return error == ErrorCode::Disconnected; }

}  // namespace

// Clients lose their daemon at the same moment, and come back to it at different ones.
Link::Link(LinkOptions options)
    : options_(std::move(options)),
      backoff_(kFirstPause, monotonic_ns() ^ static_cast<std::uint64_t>(::getpid())) {}

Result<std::unique_ptr<Link>> Link::connect(LinkOptions options) try {
  struct Public : Link {  // make_unique needs a constructor it may call
    explicit Public(LinkOptions o) : Link(std::move(o)) {}
  };
  std::unique_ptr<Link> link = std::make_unique<Public>(std::move(options));
  link->buffer_.resize(RM_WIRE_MAX_FRAME);
  link->changed_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!link->changed_) return fail_errno(errno, "eventfd");
  {
    const std::lock_guard lock(link->mutex_);
    if (auto opened = link->open_connection(); !opened) {
      return std::unexpected(std::move(opened.error()));
    }
  }
  link->watcher_ = std::thread([&self = *link] { self.watch(); });
  return link;
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "connection to resmgrd");
} catch (const std::system_error& error) {
  return fail_errno(error.code().value(), "thread of the connection to resmgrd");
}

Link::~Link() {
  close();
  if (watcher_.joinable()) watcher_.join();
}

Result<void> Link::open_connection() {
  auto socket = PacketSocket::connect(options_.socket_path, PacketMode::Blocking);
  nobody_listens_ = !socket && socket.error() == ErrorCode::Disconnected;
  if (!socket) return std::unexpected(std::move(socket.error()));
  if (auto limited = limit_waits(socket->fd(), options_.patience_ns); !limited) return limited;
  set_socket(std::move(*socket));
  const bool known = place_.epoch != 0;
  auto greeted = greet();
  if (greeted && known) greeted = settle();
  if (greeted) greeted = name_drivers();
  if (!greeted) set_socket({});
  return greeted;
}

void Link::set_socket(PacketSocket socket) noexcept {
  {
    const std::lock_guard lock(socket_mutex_);
    std::swap(socket_, socket);
  }
  (void)::eventfd_write(changed_.get(), 1);
}

// The first time it asks for a place; after that for the one it has.
Result<void> Link::greet() {
  const bool known = place_.epoch != 0;
  return exchange(
      [&](std::uint64_t id, std::span<std::byte> out) {
        const std::uint32_t owners = options_.on_notice ? RM_WIRE_FEATURE_OWNERS : 0;
        return wire::encode(
            wire::Hello{.before = place_, .features = RM_WIRE_FEATURE_EVENTS | owners}, id, out);
      },
      {},
      [&](const Attempt& reply) -> Result<void> {
        if (reply.frame.type == wire::FrameType::Result) {
          auto refusal = wire::ResultReply::decode(reply.frame);
          if (!refusal) return std::unexpected(std::move(refusal.error()));
          Error error = wire::error_of(*refusal);
          if (known && is_final(error)) end();
          return std::unexpected(std::move(error));
        }
        auto welcome = wire::Welcome::decode(reply.frame);
        if (!welcome) return std::unexpected(std::move(welcome.error()));
        if (reply.fds.size() < RM_WIRE_REGION_FDS) {
          return fail(ErrorCode::InvalidArgument, "a welcome without regions");
        }
        const wire::ClientPlace& place = welcome->regions.client;
        if (known) {
          if (is_same_domain(place)) return move_to(place, std::move(reply.fds[0]));
          end();
          return fail(ErrorCode::Disconnected, "the daemon has another domain now: attach again");
        }
        place_ = place;
        regions_ = {place, std::move(reply.fds[0]), std::move(reply.fds[1]),
                    std::string(welcome->version)};
        return {};
      },
      false);
}

// By which the daemon sees that what came with its welcome has been taken.
Result<void> Link::settle() {
  return exchange(
      [](std::uint64_t id, std::span<std::byte> out) {
        return wire::encode(wire::SignalRequest{.signal = wire::Signal::Ping}, id, out);
      },
      {}, [](const Attempt&) -> Result<void> { return {}; }, false);
}

bool Link::is_same_domain(const wire::ClientPlace& place) const noexcept {
  return place.domain_id == place_.domain_id && place.epoch >= place_.epoch &&
         place.client == place_.client && place.sequence == place_.sequence;
}

// What the next attempt would be told too: a daemon without room for all may have some later, and
// one that lets nobody in may be told otherwise.
bool Link::is_final(const Error& refusal) noexcept {
  return refusal == ErrorCode::VersionMismatch || refusal == ErrorCode::Disconnected;
}

void Link::end() noexcept {
  over_.store(true);
  closed_.store(true);
  if (on_end_) on_end_();
}

void Link::on_end(OnEnd on_end) {
  const std::lock_guard lock(mutex_);
  on_end_ = std::move(on_end);
  if (over_.load()) on_end_();
}

// The lock region goes on from epoch to epoch: what is held and waited for there is not touched.
Result<void> Link::move_to(const wire::ClientPlace& place, UniqueFd registry) {
  if (place.epoch == place_.epoch) return {};
  if (!follow_) {
    moved_to_ = std::move(registry);
  } else if (auto followed = follow_(std::move(registry)); !followed) {
    return followed;
  }
  place_ = place;
  return {};
}

Link::Regions Link::take_regions() noexcept {
  const std::lock_guard lock(mutex_);
  return std::move(regions_);
}

Result<void> Link::on_new_epoch(Follow follow) {
  const std::lock_guard lock(mutex_);
  follow_ = std::move(follow);
  return moved_to_ ? follow_(std::move(moved_to_)) : Result<void>();
}

Result<void> Link::name_drivers() {
  for (const std::string& driver : drivers_) {
    auto named = exchange(
        [&](std::uint64_t id, std::span<std::byte> out) {
          return wire::encode(wire::InternDriverRequest{.driver = driver}, id, out);
        },
        {}, [](const Attempt&) -> Result<void> { return {}; }, true);
    if (!named) return named;
  }
  return {};
}

void Link::lose() noexcept {
  read_events();
  log(LogLevel::Warning, "the connection to resmgrd is lost; holds and waits go on without it");
  set_socket({});
}

Result<void> Link::connect_again(std::uint64_t deadline_ns) {
  for (;;) {
    if (closed_.load()) return fail(ErrorCode::Disconnected);
    if (monotonic_ns() >= next_attempt_ns_) {
      auto opened = open_connection();
      if (opened) {
        backoff_.reset();
        next_attempt_ns_ = 0;
        told_reason_.reset();
        ++reconnections_;
        log(LogLevel::Info, "connected to resmgrd again");
        return opened;
      }
      put_off(opened.error());
    }
    const std::uint64_t now = monotonic_ns();
    if (now >= deadline_ns) return fail(ErrorCode::Disconnected, "resmgrd does not come back");
    // No longer than who closes should wait for us.
    const std::uint64_t due = std::min(next_attempt_ns_, deadline_ns);
    if (now < due) pause_for(std::min(due - now, kLongestPause));
  }
}

// That nobody listens, or hangs up, is no news: that the connection is lost was told.
void Link::put_off(const Error& failure) noexcept {
  next_attempt_ns_ = monotonic_ns() + backoff_.next(nobody_listens_ ? kLongestPause : kLongestRest);
  if (is_loss(failure) || closed_.load() || told_reason_ == failure.code()) return;
  told_reason_ = failure.code();
  try {
    log(LogLevel::Warning, "can't connect to resmgrd again, and tries on: " + failure.message());
  } catch (const std::bad_alloc&) {
    // It stays untold.
  }
}

void Link::watch() noexcept {
  std::uint32_t told_of = 0;  // reconnections
  bool lost = false;
  bool engaged = false;  // by somebody who asks
  std::uint64_t pause = kFirstPause;
  std::vector<Notice> notices;
  while (!closed_.load()) {
    wait_for_change(pause, engaged);
    if (closed_.load()) break;
    bool connected = false;
    std::uint64_t missed = 0;
    engaged = true;
    if (const std::unique_lock lock(mutex_, std::try_to_lock); lock) {
      engaged = false;
      if (socket_ && listens()) read_events();
      if (socket_ && has_hung_up(socket_.fd())) lose();
      pause = socket_ ? kFirstPause : attempt();
      connected = static_cast<bool>(socket_);
      notices.swap(notices_);
      missed = std::exchange(missed_, 0);
    } else {
      // Who has it is asking for something, and sees what happens.
      const std::lock_guard socket_lock(socket_mutex_);
      connected = static_cast<bool>(socket_);
    }
    for (const Notice& notice : notices) tell(notice);
    notices.clear();
    if (missed != 0) tell({.what = Notice::What::Missed, .missed = missed});
    const std::uint32_t now = reconnections_.load();
    if (!lost && (!connected || now != told_of)) tell(LinkState::Lost);
    lost = !connected;
    if (connected && now != std::exchange(told_of, now)) tell(LinkState::Restored);
    if (engaged) pause = std::min(2 * pause, kLongestPause);
  }
  if (over_.load()) tell(LinkState::Ended);
}

// Once: between two attempts others may ask, and see for themselves.
std::uint64_t Link::attempt() noexcept {
  if (connect_again(0)) return kFirstPause;
  // The socket was another one for a while, which is no reason to look at once. Who closes has said
  // so before.
  eventfd_t count = 0;
  (void)::eventfd_read(changed_.get(), &count);
  const std::uint64_t now = monotonic_ns();
  return next_attempt_ns_ > now ? next_attempt_ns_ - now : 0;
}

void Link::wait_for_change(std::uint64_t pause_ns, bool engaged) noexcept {
  int socket = -1;
  {
    const std::lock_guard lock(socket_mutex_);
    socket = socket_.fd();
  }
  // What comes are answers, which are not for us: hanging up alone is, unless somebody listens.
  const bool listens = this->listens();
  const short events = listens && !engaged ? POLLRDHUP | POLLIN : POLLRDHUP;
  std::array<pollfd, 2> waits{pollfd{changed_.get(), POLLIN, 0}, pollfd{socket, events, 0}};
  const bool looks_again = socket < 0 || (listens && engaged);
  const int limit = looks_again ? static_cast<int>(pause_ns / 1'000'000 + 1) : -1;
  (void)::poll(waits.data(), waits.size(), limit);
  eventfd_t count = 0;
  (void)::eventfd_read(changed_.get(), &count);
}

void Link::tell(LinkState state) noexcept {
  if (!options_.on_state) return;
  LinkChange change{.state = state};
  if (state == LinkState::Lost) change.reason = closing_.exchange(std::nullopt);
  try {
    options_.on_state(change);
  } catch (...) {
    // An author's function that throws must not break what it was told about.
  }
}

void Link::tell(const Notice& notice) const noexcept {
  try {
    options_.on_notice(notice);
  } catch (...) {
    // As before.
  }
}

Result<void> Link::exchange(const Encode& encode, std::span<const int> fds, const Read& read,
                            bool repeated) {
  const std::uint64_t id = next_request_++;
  const auto size = encode(id, buffer_);
  if (!size) return std::unexpected(size.error());
  auto sent = socket_.send(std::span(buffer_).first(*size), fds);
  if (!sent) {
    if (sent.error() == ErrorCode::WouldBlock) return fail(ErrorCode::Disconnected, "it is stuck");
    return sent;
  }
  auto received = socket_.receive(buffer_);
  auto frame = received ? wire::read_frame(std::span(buffer_).first(received->bytes))
                        : fail(ErrorCode::Disconnected);
  while (received && frame && wire::kind_of(frame->type) == wire::FrameKind::Event) {
    hear(*frame);
    received = socket_.receive(buffer_);
    if (received) frame = wire::read_frame(std::span(buffer_).first(received->bytes));
  }
  if (!received) {
    if (received.error() == ErrorCode::WouldBlock) {
      return fail(ErrorCode::Disconnected, "it does not answer");
    }
    return std::unexpected(std::move(received.error()));
  }
  if (!frame) return std::unexpected(frame.error());
  if (frame->request_id != id || frame->fds != received->fd_count) {
    return fail(ErrorCode::Disconnected, "an answer to something else");
  }
  return read({*frame, std::span(received->fds).first(received->fd_count), repeated});
}

Result<void> Link::call(const Encode& encode, std::span<const int> fds, const Read& read) {
  // First: in a child of fork() nobody may hold the mutex, and it is taken all the same.
  if (closed_.load()) return fail(ErrorCode::Disconnected);
  const std::uint64_t deadline = monotonic_ns() + options_.patience_ns;
  const std::unique_lock lock(mutex_, std::chrono::nanoseconds(options_.patience_ns));
  if (!lock) return fail(ErrorCode::Disconnected, "resmgrd does not come back");
  for (bool repeated = false;; repeated = true) {
    if (closed_.load()) return fail(ErrorCode::Disconnected);
    if (!socket_) {
      if (auto again = connect_again(deadline); !again) return again;
    }
    auto done = exchange(encode, fds, read, repeated);
    if (done || !is_loss(done.error()) || closed_.load()) return done;
    lose();
    if (monotonic_ns() > deadline) return done;
  }
}

void Link::listen(OnEvent on_event) {
  const std::lock_guard lock(mutex_);
  on_event_ = std::move(on_event);
  listens_.store(true);
  (void)::eventfd_write(changed_.get(), 1);
}

// What is there, while nobody waits for an answer. A daemon that hung up before it read all that it
// was sent is an error first, and then what it had said.
void Link::read_events() noexcept {
  for (int failures = 0; failures < 2 && is_so(socket_.fd(), POLLIN);) {
    const auto received = socket_.receive(buffer_);
    if (!received) {
      ++failures;
      continue;
    }
    const auto frame = wire::read_frame(std::span(buffer_).first(received->bytes));
    if (frame && wire::kind_of(frame->type) == wire::FrameKind::Event) hear(*frame);
  }
}

void Link::hear(const wire::Frame& event) noexcept {
  if (event.type == wire::FrameType::Closing) {
    if (const auto closing = wire::ClosingEvent::decode(event)) closing_.store(closing->reason);
    return;
  }
  if (options_.on_notice) hear_of_owner(event);
  if (on_event_) on_event_(event);
}

bool Link::keep(const Notice& notice) noexcept try {
  notices_.push_back(notice);
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

// The watcher tells it, under no lock. An author's function that takes its time misses some.
void Link::hear_of_owner(const wire::Frame& event) noexcept {
  constexpr std::size_t kMostNotices = 1024;
  if (const auto missed = wire::MissedEvent::decode(event)) {
    missed_ += missed->events;
  } else if (const auto owner = wire::OwnerEvent::decode(event)) {
    const bool died = owner->loss == wire::OwnerLoss::OwnerDied;
    const Notice notice{.what = died ? Notice::What::OwnerDied : Notice::What::Orphaned,
                        .handle = owner->handle};
    if (notices_.size() == kMostNotices || !keep(notice)) ++missed_;
  }
  (void)::eventfd_write(changed_.get(), 1);
}

void Link::remember_driver(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(drivers_, name) == drivers_.end()) drivers_.emplace_back(name);
}

void Link::close() noexcept {
  if (closed_.exchange(true)) return;
  (void)::eventfd_write(changed_.get(), 1);
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) {
    // Wakes who waits for an answer; no goodbye then, but the end of the connection says as much.
    const std::lock_guard socket_lock(socket_mutex_);
    if (socket_) (void)::shutdown(socket_.fd(), SHUT_RDWR);
  }
  if (!lock) lock.lock();
  if (socket_) {
    constexpr std::uint64_t kGoodbyePatience = kSecond / 2;
    (void)limit_waits(socket_.fd(), kGoodbyePatience);
    (void)exchange(
        [](std::uint64_t id, std::span<std::byte> out) {
          return wire::encode(wire::SignalRequest{.signal = wire::Signal::Goodbye}, id, out);
        },
        {}, [](const Attempt&) -> Result<void> { return {}; }, false);
  }
  set_socket({});
  lock.unlock();
  // From its own callback: the destructor waits for it then.
  if (watcher_.joinable() && watcher_.get_id() != std::this_thread::get_id()) watcher_.join();
}

void Link::after_fork_in_child() noexcept {
  closed_.store(true);
  socket_ = {};
  socket_mutex_.unlock();
}

void Link::log(LogLevel level, std::string_view line) const noexcept {
  if (!options_.log) return;
  try {
    options_.log(level, line);
  } catch (...) {
    // An author's sink that throws must not break what it was told about.
  }
}

}  // namespace resmgr::client
