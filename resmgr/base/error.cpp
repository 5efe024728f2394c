// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/error.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace resmgr {
namespace {

struct CodeText {
  const char* name;
  const char* text;
  std::errc condition;
};

// In the order of ErrorCode.
constexpr std::array<CodeText, kErrorCodes> kCodes{{
    {"InvalidArgument", "invalid argument", std::errc::invalid_argument},
    {"InvalidName", "a name is 1 to 95 bytes of [A-Za-z0-9._/-]", std::errc::invalid_argument},
    {"NotFound", "nothing is registered under that name", std::errc::no_such_file_or_directory},
    {"AlreadyExists", "the name is taken", std::errc::file_exists},
    {"StaleHandle", "the handle's resource is gone", std::errc::bad_file_descriptor},
    {"Revoked", "this hold was revoked", std::errc::owner_dead},
    {"Preempted", "preempted by an emergency request", std::errc::resource_deadlock_would_occur},
    {"NotPermitted", "not permitted", std::errc::operation_not_permitted},
    {"NotShareable", "the resource does not allow sharing", std::errc::operation_not_permitted},
    {"WouldBlock", "not available at once", std::errc::resource_unavailable_try_again},
    {"TimedOut", "not available in time", std::errc::timed_out},
    {"Cancelled", "the request was cancelled", std::errc::operation_canceled},
    {"Deadlock", "waiting would close a cycle", std::errc::resource_deadlock_would_occur},
    {"OrderViolation", "acquired against the known order of classes",
     std::errc::resource_deadlock_would_occur},
    {"BudgetExceeded", "over budget", std::errc::no_space_on_device},
    {"PoolExhausted", "the pool has no block left", std::errc::not_enough_memory},
    {"CapacityExceeded", "a table of the domain is full", std::errc::no_buffer_space},
    {"OwnerDied", "the owner of the resource died", std::errc::owner_dead},
    {"Quarantined", "quarantined until its owner reports it quiet",
     std::errc::device_or_resource_busy},
    {"DependencyCycle", "the dependency would close a cycle",
     std::errc::too_many_symbolic_link_levels},
    {"InUse", "in use", std::errc::device_or_resource_busy},
    {"Disconnected", "the manager is closed", std::errc::not_connected},
    {"VersionMismatch", "incompatible layout version", std::errc::protocol_not_supported},
    {"Unsupported", "not supported here", std::errc::not_supported},
    {"System", "a system call failed", std::errc::io_error},
}};

const CodeText* find(int value) noexcept {
  return value >= 1 && value <= kErrorCodes ? &kCodes[static_cast<std::size_t>(value - 1)]
                                            : nullptr;
}

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "resmgr"; }
  std::string message(int value) const override {
    const CodeText* entry = find(value);
    return entry ? entry->text : "unknown error";
  }
  std::error_condition default_error_condition(int value) const noexcept override {
    const CodeText* entry = find(value);
    return entry ? std::make_error_condition(entry->condition) : std::error_condition(value, *this);
  }
};

std::string age_text(std::uint64_t ns) {
  std::array<char, 32> text{};
  if (ns < 10'000) {
    std::snprintf(text.data(), text.size(), "%llu ns", static_cast<unsigned long long>(ns));
  } else if (ns < 10'000'000) {
    std::snprintf(text.data(), text.size(), "%.1f us", static_cast<double>(ns) / 1e3);
  } else if (ns < 10'000'000'000) {
    std::snprintf(text.data(), text.size(), "%.1f ms", static_cast<double>(ns) / 1e6);
  } else {
    std::snprintf(text.data(), text.size(), "%.1f s", static_cast<double>(ns) / 1e9);
  }
  return text.data();
}

std::string who_text(const Participant& who) {
  const char* driver = who.driver[0] ? who.driver.data() : "an unnamed driver";
  return std::string(driver) + " (pid " + std::to_string(who.pid) + ", context " +
         std::to_string(who.context) + ")";
}

std::string what_text(const Participant& who) {
  if (who.resource[0]) return who.resource.data();
  return "resource " + std::to_string(who.handle.slot());
}

}  // namespace

const std::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

std::string_view to_string(ErrorCode code) noexcept {
  const CodeText* entry = find(static_cast<int>(code));
  return entry ? entry->name : "Unknown";
}

Error Error::from_errno(int errno_value, const char* context) noexcept {
  ErrorCode code = ErrorCode::System;
  if (errno_value == EPERM || errno_value == EACCES) code = ErrorCode::NotPermitted;
  if (errno_value == ENOSYS || errno_value == EOPNOTSUPP) code = ErrorCode::Unsupported;
  if (errno_value == EMFILE || errno_value == ENFILE) code = ErrorCode::CapacityExceeded;
  Error error(code, context);
  error.errno_ = errno_value;
  return error;
}

std::error_code Error::error_code() const noexcept {
  return {static_cast<int>(code_), error_category()};
}

std::string Error::message() const {
  std::string line;
  if (context_[0]) line = std::string(context_) + ": ";
  const CodeText* entry = find(static_cast<int>(code_));
  line += entry ? entry->text : "unknown error";
  if (errno_) line += std::string(" (") + std::generic_category().message(errno_) + ")";
  if (requested_ || available_) {
    line +=
        "; requested " + std::to_string(requested_) + ", available " + std::to_string(available_);
  }
  if (blame_.context) {
    line += "; " + what_text(blame_) + " is held by " + who_text(blame_) + " for " +
            age_text(blame_.held_ns);
    if (blamed_ > 1) line += " and " + std::to_string(blamed_ - 1) + " more";
  }
  for (std::size_t i = 0; i < cycle().size(); ++i) {
    const Participant& waiter = cycle()[i];
    line += (i == 0 ? "; cycle: " : ", ");
    line +=
        who_text(waiter) + " waits for " + what_text(waiter) + " since " + age_text(waiter.held_ns);
  }
  if (!detail().empty()) line += "; " + std::string(detail());
  return line;
}

const std::vector<Participant>& Error::cycle() const noexcept {
  static const std::vector<Participant> empty;
  return detail_ ? detail_->cycle : empty;
}

std::string_view Error::detail() const noexcept {
  return detail_ ? std::string_view(detail_->text) : std::string_view();
}

Error& Error::with_blame(const Participant& who, std::uint32_t count) noexcept {
  blame_ = who;
  blamed_ = count;
  return *this;
}

Error& Error::with_detail(ErrorDetail detail) {
  detail_ = std::make_unique<ErrorDetail>(std::move(detail));
  return *this;
}

Error& Error::with_amounts(std::uint64_t requested, std::uint64_t available) noexcept {
  requested_ = requested;
  available_ = available;
  return *this;
}

Error::Error(const Error& other)
    : code_(other.code_),
      errno_(other.errno_),
      context_(other.context_),
      blamed_(other.blamed_),
      blame_(other.blame_),
      requested_(other.requested_),
      available_(other.available_),
      detail_(other.detail_ ? std::make_unique<ErrorDetail>(*other.detail_) : nullptr) {}

Error& Error::operator=(const Error& other) {
  if (this != &other) *this = Error(other);
  return *this;
}

}  // namespace resmgr
