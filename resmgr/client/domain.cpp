// SPDX-License-Identifier: Apache-2.0
//
// Life of a domain, its contexts, and the names it lends to the lock engine.
#include "resmgr/client/domain.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>

#include "resmgr/client/embedded_authority.hpp"
#include "resmgr/client/forks.hpp"
#include "resmgr/client/served_authority.hpp"

namespace resmgr::client {
namespace {

// Domains of this process, numbered so that a thread's cache never takes one for another.
std::uint64_t next_serial() noexcept {
  static std::atomic<std::uint64_t> serial{0};
  return serial.fetch_add(1, std::memory_order_relaxed) + 1;
}
constexpr std::uint64_t kNoSerial = std::numeric_limits<std::uint64_t>::max();

std::string place_text(const std::source_location& place) {
  if (place.line() == 0) return "an unknown place";
  return std::string(place.file_name()) + ":" + std::to_string(place.line());
}

}  // namespace

Result<std::shared_ptr<Domain>> Domain::create(DomainOptions options) {
  std::optional<budget::Profile> profile;
  if (options.profile != budget::ProfileChoice::None) {
    profile = budget::make_profile(options.profile, budget::detect_platform());
    options.capacities = profile->capacities;
  }
  const RegionIdentity identity =
      new_identity(options.compact_handles ? RM_DOMAIN_COMPACT_HANDLES : 0);
  auto registry = registry::RegistryRegion::create(options.capacities, identity);
  if (!registry) return std::unexpected(std::move(registry.error()));
  auto writer = registry::RegistryWriter::open(*registry);
  if (!writer) return std::unexpected(std::move(writer.error()));
  auto locks = lock::LockRegion::create(options.capacities, identity);
  if (!locks) return std::unexpected(std::move(locks.error()));
  if (profile && profile->allocates_at_start) {
    for (const auto& [fd, bytes] : {std::pair{registry->fd(), registry->header().region_bytes},
                                    std::pair{locks->fd(), locks->header().region_bytes}}) {
      if (auto whole = allocate_file(fd, bytes); !whole) {
        return std::unexpected(std::move(whole.error()));
      }
    }
  }
  auto domain =
      make(Parts{std::move(*registry), std::move(*locks), *writer, nullptr, 0}, std::move(options));
  rm_client& self = *domain->locks_.tables().client(0);
  store_relaxed(self.pid, static_cast<std::uint32_t>(::getpid()));
  store_release(self.state, std::uint64_t{1} << RM_CLIENT_SEQ_SHIFT | RM_CONTEXT_LIVE);
  for (std::size_t i = 0; profile && i < kResourceTypes; ++i) {
    const auto type = static_cast<ResourceType>(i);
    auto set = domain->authority().set_budget(0, type, profile->budget(type));
    if (!set) return std::unexpected(std::move(set.error()));
  }
  Forks::add(*domain);
  return domain;
}

Result<std::shared_ptr<Domain>> Domain::connect(LinkOptions link, AsyncPath async_path) {
  LogSink log = link.log;
  auto attached = ServedAuthority::attach(std::move(link));
  if (!attached) return std::unexpected(std::move(attached.error()));
  ServedAuthority& authority = *attached->authority;
  auto domain = make(
      Parts{std::move(attached->registry), std::move(attached->locks), std::nullopt,
            std::move(attached->authority), attached->client},
      DomainOptions{.name = {}, .capacities = {}, .async_path = async_path, .log = std::move(log)});
  if (auto followed = authority.follow_in(domain->registry_); !followed) {
    return std::unexpected(std::move(followed.error()));
  }
  authority.on_end([&self = *domain] { self.end(); });
  Forks::add(*domain);
  return domain;
}

std::shared_ptr<Domain> Domain::make(Parts parts, DomainOptions options) {
  struct Public : Domain {  // make_shared needs a constructor it may call
    Public(Parts p, DomainOptions o) : Domain(std::move(p), std::move(o)) {}
  };
  return std::make_shared<Public>(std::move(parts), std::move(options));
}

Domain::Domain(Parts parts, DomainOptions options)
    : serial_(next_serial()),
      gate_(DomainGate::open(*this)),
      log_(std::move(options.log)),
      registry_(std::move(parts.registry)),
      view_(registry_),
      locks_(std::move(parts.locks)),
      engine_(locks_.tables(), *this),
      // NOLINTBEGIN(bugprone-unchecked-optional-access): what is not served has a writer
      authority_(parts.served ? std::move(parts.served)
                              : std::make_unique<EmbeddedAuthority>(*parts.writer, view_, budgets(),
                                                                    locks_, engine_)),
      // NOLINTEND(bugprone-unchecked-optional-access)
      client_(parts.client),
      ticker_(engine_),
      async_path_(options.async_path),
      doorbell_(
          std::make_shared<Doorbell>(locks_.tables(), client_, DoorbellThreads::of_this_process())),
      contexts_(locks_.tables(), engine_),
      credits_(budgets(), locks_.tables(), *authority_) {
  // A served domain has its daemon's.
  if (!is_served()) engine_.order().set_policy(options.order_policy);
  (void)ticker_.start();  // without it the clock is read
}

Domain::~Domain() {
  Forks::remove(*this);
  close();
}

void Domain::before_fork() noexcept {
  contexts_.before_fork();
  doorbell_->before_fork();
  authority_->before_fork();
}

void Domain::after_fork_in_parent() noexcept {
  authority_->after_fork_in_parent();
  doorbell_->after_fork();
  contexts_.after_fork_in_parent();
}

void Domain::after_fork_in_child() noexcept {
  contexts_.after_fork_in_child();
  doorbell_->after_fork();
  authority_->after_fork_in_child();
  serial_ = kNoSerial;
  life_.store(Life::Closed, std::memory_order_release);
  gate_.close();
  view_.stop_lookups_at_home();
  // Null if it was about to be destroyed by another thread, which nobody does here.
  kept_for_ever_ = weak_from_this().lock();
}

void Domain::close() noexcept {
  if (life_.exchange(Life::Closed) == Life::Closed) return;
  gate_.close();
  serial_ = kNoSerial;
  view_.stop_lookups_at_home();
  contexts_.for_each([&](lock::Context& context) { close_context(context, "the manager closed"); });
  // Cleanup hooks of what is still registered run now, while the domain answers questions.
  remove_all_hooks();
  hooks_.stop();
  revocations_.clear();
  reclaimers_.clear();
  pressures_.clear();
  ticker_.stop();
  doorbell_->stop();
  // Before the authority hears that this client leaves.
  pools_.close();
  memory_.clear();
  foreign_memory_.clear();
  readable_memory_.clear();
  authority_->close();
}

void Domain::end() noexcept {
  Life open = Life::Open;
  if (!life_.compare_exchange_strong(open, Life::Over)) return;
  gate_.close();
  view_.stop_lookups_at_home();
  contexts_.end();
  engine_.end();
  log(LogLevel::Error, "the domain is over: what was held in it is lost; connect anew");
}

void Domain::remove_all_hooks() noexcept {
  if (hooks_.empty()) return;
  if (const auto order = whole_teardown_order()) {
    for (const Handle each : *order) hooks_.remove(each);
  }
  // By slot where there was no order to be had, and what came meanwhile.
  view_.for_each([&](const registry::EntryCopy& entry) {
    hooks_.remove(entry.handle);
    return true;
  });
}

Result<std::vector<Handle>> Domain::whole_teardown_order() const noexcept try {
  return read_settled([](const auto& view) { return view.whole_teardown_order(); });
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "order of cleanup");
}

Result<lock::Context*> Domain::make_thread_context() noexcept try {
  if (closed()) return fail(ErrorCode::Disconnected);
  ThreadContexts& mine = ThreadContexts::of_this_thread();
  lock::Context* context = mine.find(serial_);
  if (!context) {
    const auto tid = static_cast<std::uint32_t>(::syscall(SYS_gettid));
    mine.reserve();
    auto opened = contexts_.open(client_, 0, tid, lock::this_thread());
    if (!opened) return std::unexpected(std::move(opened.error()));
    context = *opened;
    mine.add(serial_, weak_from_this(), context);
  }
  last_context = {serial_, context};
  return context;
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "the thread's context");
}

Result<lock::Context*> Domain::open_context(std::uint32_t driver) {
  if (closed()) return fail(ErrorCode::Disconnected);
  if (!knows_driver(driver)) return fail(ErrorCode::InvalidArgument, "no such driver");
  return contexts_.open(client_, driver, 0, nullptr);
}

// Without a context of its own the thread's tasks are unknown, which is no error of theirs.
void Domain::note_task(lock::Context& context, bool runs_here) noexcept {
  const auto thread = runs_here ? thread_context() : Result<lock::Context*>(nullptr);
  lock::set_executor(context, thread ? *thread : nullptr);
}

void Domain::close_context(lock::Context& context, const char* why) noexcept {
  // Once: the manager may close while the context's thread ends, and both come here. Whoever does
  // not find the engine leaves the context alone, and a ref that is destroyed now does so too.
  lock::LockEngine* open = &engine_;
  if (!context.engine.compare_exchange_strong(open, nullptr)) return;
  engine_.abandon_waits(context, closed() ? ErrorCode::Disconnected : ErrorCode::Cancelled);
  revocations_.forget(context.id);
  const std::uint32_t leaked = engine_.release_all(
      context, [&](Handle handle, HoldKind kind) { report_leak(context, handle, kind, why); });
  contexts_.close(context, leaked != 0);
}

Result<void> Domain::set_driver(lock::Context& context, std::uint32_t driver) {
  if (!knows_driver(driver)) return fail(ErrorCode::InvalidArgument, "no such driver");
  store_relaxed(context.record->driver, driver);
  // Those of its driver's account.
  context.credits_used = nullptr;
  context.credits_granted = nullptr;
  return {};
}

void Domain::report_leak(const lock::Context& context, Handle handle, HoldKind kind,
                         const char* why) noexcept {
  if (!log_) return;
  Participant who;
  engine_.for_each_holder(handle, [&](const Participant& holder) {
    if (holder.context == context.id) who = holder;
  });
  std::source_location place;
  const std::uint64_t used = load_relaxed(context.record->hold_bitmap);
  for (unsigned i = 0; i < RM_CONTEXT_HOLDS; ++i) {
    const std::uint64_t entry = load_relaxed(context.record->holds[i]);
    if ((used >> i & 1) != 0 && entry >> RM_HOLD_SLOT_SHIFT == handle.slot()) {
      place = context.places[i];
    }
  }
  try {
    log(LogLevel::Warning,
        "leak: " + std::string(who.resource.data()) + " was held " +
            (kind == HoldKind::Shared ? "shared" : "exclusively") + " by " +
            (who.driver[0] ? who.driver.data() : "an unnamed driver") + " (context " +
            std::to_string(context.id) + "), acquired at " + place_text(place) + ", for " +
            std::to_string(who.held_ns / 1'000'000) + " ms; released because " + why);
  } catch (const std::bad_alloc&) {
    // The release matters more than its report.
  }
}

void Domain::log(LogLevel level, std::string_view line) const noexcept {
  if (!log_) return;
  try {
    log_(level, line);
  } catch (...) {
    // An author's sink that throws must not break what it was told about.
  }
}

void Domain::describe(Participant& who, std::uint32_t driver) const noexcept {
  if (const auto name = view_.drivers().name(driver)) who.driver = *name;
  if (const auto entry = view_.read(who.handle)) copy_text(who.resource, entry->name_text());
}

std::string Domain::class_name(std::uint16_t class_id) const {
  const auto name = view_.classes().name(class_id);
  return name ? std::string(name->data()) : "class " + std::to_string(class_id);
}

std::string Domain::driver_name(std::uint32_t driver) const {
  const auto name = view_.drivers().name(driver);
  return name ? std::string(name->data()) : std::string();
}

bool Domain::knows_driver(std::uint32_t driver) const {
  return driver == 0 || view_.drivers().name(driver).has_value();
}

void Domain::report_order(std::string_view text) const noexcept { log(LogLevel::Warning, text); }

ResourcePriority Domain::default_priority(Handle handle) const noexcept {
  return view_.priority(handle);
}

void Domain::accessed(Handle handle) const noexcept { hooks_.accessed(handle); }

void Domain::busy() const noexcept { ticker_.wake(); }

std::vector<Participant> Domain::holds() const {
  std::vector<Participant> all;
  view_.for_each([&](const registry::EntryCopy& entry) {
    engine_.for_each_holder(entry.handle, [&](const Participant& who) { all.push_back(who); });
    return true;
  });
  return all;
}

std::uint64_t Domain::resident_bytes() const noexcept {
  struct stat status{};
  const bool known = ::fstat(registry_.fd(), &status) == 0;
  return locks_.resident_bytes() + (known ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0);
}

}  // namespace resmgr::client
