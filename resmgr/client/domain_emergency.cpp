// SPDX-License-Identifier: Apache-2.0
//
// Emergencies of this process, and those of others that ask for what it holds. All of it is done by
// the thread of the hooks, so that nobody who acquires waits for it.
#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "resmgr/base/clock.hpp"
#include "resmgr/client/domain.hpp"

namespace resmgr::client {
namespace {

// So often a wait that goes on is named again to a daemon that may be another one by now.
constexpr std::uint64_t kLeastPauseNs = 100'000'000;

}  // namespace

Result<void> Domain::on_revoke(std::uint32_t context, OnRevoke callback) {
  if (closed()) return fail(ErrorCode::Disconnected);
  listen();
  revocations_.set(context, std::move(callback));
  return {};
}

// Where nobody could be asked, and nobody be forced, there is nothing to do.
void Domain::urgent(const lock::Emergency& emergency) const noexcept try {
  if (!is_served() && revocations_.empty() && !engine_.has_quiesce_hook(emergency.handle)) return;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): who lends names to the engine is const
  auto* const self = const_cast<Domain*>(this);
  (void)hooks_.schedule(monotonic_ns(), [self, emergency] { self->plead(emergency, 0); });
} catch (const std::bad_alloc&) {
  // It waits, and nobody is asked.
}

void Domain::plead(const lock::Emergency& emergency, unsigned repeats) {
  if (closed() || !lock::is_waiting(engine_.tables(), emergency)) return;
  const auto pleaded = authority_->plead(emergency);
  const bool may_not = !pleaded && pleaded.error() == ErrorCode::NotPermitted;
  const bool over = !pleaded && pleaded.error() == ErrorCode::InvalidArgument;
  if (!pleaded && !over && repeats == 0) {
    log(LogLevel::Warning, "holders are not asked to let go: " + pleaded.error().message());
  }
  pursue();
  if (!is_served() || may_not) return;
  const std::uint64_t now = monotonic_ns();
  const std::uint64_t pause = std::max(emergency.yield_ns, kLeastPauseNs);
  if (pause >= kNoDeadline - now) return;
  (void)hooks_.schedule(now + pause, [=, this] { plead(emergency, repeats + 1); });
}

void Domain::pursue() {
  const auto next = authority_->pursue();
  if (!next) return;
  const std::uint64_t now = monotonic_ns();
  // One is enough, unless it comes too late.
  if (pursued_at_ > now && pursued_at_ <= *next) return;
  pursued_at_ = *next;
  (void)hooks_.schedule(*next, [this] {
    pursued_at_ = kNoDeadline;
    pursue();
  });
}

// By whoever hears of it.
void Domain::asked_to_yield(const wire::YieldEvent& event) noexcept try {
  if (revocations_.empty()) return;
  (void)hooks_.schedule(monotonic_ns(), [this, event] { tell_holder(event); });
} catch (const std::bad_alloc&) {
  // A courtesy.
}

void Domain::tell_holder(const wire::YieldEvent& event) {
  const auto callback = revocations_.find(event.holder);
  if (!callback) return;
  Revocation revocation{.holder = {}, .by = {}, .until_ns = event.deadline_ns};
  bool held = false;
  engine_.for_each_holder(event.handle, [&](const Participant& who) {
    if (who.context != event.holder) return;
    held = true;
    revocation.holder = who;
  });
  if (!held) return;
  revocation.by.context = event.by;
  revocation.by.pid = event.by_pid;
  revocation.by.handle = event.handle;
  revocation.by.kind = event.by_kind;
  describe(revocation.by, event.by_driver);
  (*callback)(revocation);
}

}  // namespace resmgr::client
