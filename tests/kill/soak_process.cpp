// SPDX-License-Identifier: Apache-2.0
#include "tests/kill/soak_process.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "resmgr/base/clock.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;
using resmgr::test::SoakEntry;
using resmgr::test::SoakEvent;

/// Nothing takes longer unless it hangs, whoever is killed: the alarm ends it.
constexpr unsigned kPatienceSeconds = 30;
constexpr std::uint32_t kLongestHoldUs = 500;
constexpr std::uint64_t kOwnBytes = 4096;

/// When the outcome is due.
std::uint64_t deadline_of(const AcquireOptions& options) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  const std::uint64_t now = resmgr::monotonic_ns();
  if (options.mode == AcquisitionMode::NonBlocking) return now;
  if (options.mode == AcquisitionMode::Blocking) return now + kPatienceSeconds * kSecond;
  return now + static_cast<std::uint64_t>(options.timeout.count());
}

}  // namespace

int SoakProcess::run() {
  ::alarm(kPatienceSeconds);
  // The worker that is asked may die before it answers; a first connection is made once.
  while (!manager_) manager_ = daemon_.connect();
  for (std::uint32_t i = 0; i < kSoakResources; ++i) {
    handles_.at(i) = manager_->find("r/" + std::to_string(i)).value();
  }
  driver_ = manager_->register_driver("soak-" + std::to_string(number_)).value();
  other_ = manager_->register_driver("soak-other").value();
  own_name_ = "own/" + std::to_string(::getpid());
  while (!marks_.over.load()) {
    ::alarm(kPatienceSeconds);
    if (pick(8) == 0) {
      care_for_own();
    } else {
      const std::uint32_t first = pick(kSoakResources);
      // Sometimes a second one, in no order: cycles are among what is killed in.
      hold(first, [&] {
        // Long enough to be met by who kills.
        if (pick(4) == 0) ::usleep(pick(kLongestHoldUs));
        if (pick(3) == 0) {
          hold((first + 1 + pick(kSoakResources - 1)) % kSoakResources, [] {});
        }
      });
    }
  }
  ::alarm(kPatienceSeconds);
  if (!own_.is_null()) unregister_own();
  manager_.reset();
  return 0;
}

AcquireOptions SoakProcess::any_options() {
  constexpr std::uint32_t kLongestUs = 5'000;
  AcquireOptions options{.kind = pick(3) == 0 ? HoldKind::Shared : HoldKind::Exclusive};
  switch (pick(4)) {
    case 0:
      break;
    case 1:
      options.mode = AcquisitionMode::Timeout;
      options.timeout = std::chrono::microseconds(pick(kLongestUs));
      break;
    default:
      options.mode = AcquisitionMode::Blocking;
  }
  return options;
}

template <typename Meanwhile>
void SoakProcess::hold(std::uint32_t number, Meanwhile&& meanwhile) {
  const AcquireOptions options = any_options();
  SoakEntry entry{.resource = static_cast<std::uint8_t>(number),
                  .exclusive = options.kind == HoldKind::Exclusive};
  const auto write = [&](SoakEvent what) {
    entry.what = what;
    log_.write(entry);
  };
  entry.deadline_ns = deadline_of(options);
  write(SoakEvent::Asked);
  auto grant = manager_->acquire_scoped_resource(handles_.at(number), options);
  entry.inconsistent = grant && grant->inconsistent();
  write(grant ? SoakEvent::Granted : SoakEvent::Refused);
  if (!grant) return check_refusal(grant.error());
  SoakMarks::Resource& mark = marks_.resources.at(number);
  if (entry.exclusive && entry.inconsistent) {
    mark.mirrored.store(mark.guarded.load());
    expect(grant->consistent(), __LINE__);
    write(SoakEvent::Repaired);
  }
  const bool is_whole = entry.exclusive || !entry.inconsistent;
  if (is_whole && mark.guarded.load() != mark.mirrored.load()) marks_.blame(__LINE__);
  if (entry.exclusive) mark.guarded.fetch_add(1);
  meanwhile();
  if (entry.exclusive) mark.mirrored.fetch_add(1);
  write(SoakEvent::Releasing);
  expect(grant->release(), __LINE__);
  write(SoakEvent::Released);
}

void SoakProcess::check_refusal(const Error& error) {
  if (error == ErrorCode::Deadlock) marks_.deadlocks.fetch_add(1);
  if (error == ErrorCode::Deadlock || error == ErrorCode::WouldBlock ||
      error == ErrorCode::TimedOut) {
    return;
  }
  marks_.blame(__LINE__, static_cast<int>(error.code()));
}

// All of it is asked of the daemon, and done once, however often that dies or is replaced
// meanwhile.
void SoakProcess::care_for_own() {
  if (own_.is_null()) return register_own();
  look_up_own();
  expect(manager_->map(own_, driver_), __LINE__);
  expect(manager_->try_acquire(own_), __LINE__);
  if (pick(3) == 0) unregister_own();
}

void SoakProcess::register_own() {
  UniqueFd file(::memfd_create("soak", MFD_CLOEXEC));
  if (::ftruncate(file.get(), kOwnBytes) != 0) return;
  const auto made = manager_->register_resource(
      own_name_, {.size_bytes = kOwnBytes, .flags = ResourceFlags::Shareable},
      {.driver = driver_, .fd = std::move(file)});
  if (!made) return expect(made, __LINE__);
  own_ = *made;
  log_.write({.what = SoakEvent::Registered, .handle = own_.bits()});
  expect(manager_->share_resource(own_, driver_, other_, Rights::Read), __LINE__);
  expect(manager_->add_dependency(own_, handles_.at(pick(kSoakResources))), __LINE__);
}

void SoakProcess::look_up_own() {
  const auto found = manager_->find(own_name_);
  if (!found && found.error() != ErrorCode::NotFound) return expect(found, __LINE__);
  log_.write({.what = SoakEvent::LookedUp, .handle = found.value_or(Handle()).bits()});
}

void SoakProcess::unregister_own() {
  expect(manager_->unregister_resource(own_), __LINE__);
  own_ = {};
  log_.write({.what = SoakEvent::Unregistered});
  look_up_own();
}

}  // namespace hal::test
