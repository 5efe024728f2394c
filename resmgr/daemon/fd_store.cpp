// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/fd_store.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <utility>

#include "resmgr/base/clock.hpp"
#include "resmgr/base/pause.hpp"

namespace resmgr::daemon {
namespace {

constexpr std::string_view kRegistry = "registry.";
constexpr std::string_view kFile = "file.";
constexpr const char* kLocks = "locks";
constexpr const char* kLedger = "ledger";
// What is no file: two registries, for a moment, locks and ledger; and the sockets of the unit.
constexpr std::uint64_t kKeptFree = 16;
constexpr std::uint64_t kPatienceNs = 10'000'000'000;
constexpr std::uint64_t kPauseNs = 1'000'000;

std::string registry_name(std::uint64_t epoch) {
  return std::string(kRegistry) + std::to_string(epoch);
}

std::string file_name(Handle handle) {
  std::array<char, 17> digits{};
  (void)std::snprintf(digits.data(), digits.size(), "%016llx",
                      static_cast<unsigned long long>(handle.bits()));
  return std::string(kFile) + digits.data();
}

// The number after a prefix; nothing where that is no such name.
std::optional<std::uint64_t> number_after(std::string_view prefix, std::string_view name,
                                          int base) noexcept {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  std::uint64_t number = 0;
  const char* const end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data(), end, number, base);
  if (error != std::errc{} || stopped != end) return std::nullopt;
  return number;
}

}  // namespace

Legacy FdStore::sort(std::vector<PassedFd>& passed) {
  Legacy legacy;
  std::uint64_t newest = 0;
  std::erase_if(passed, [&](PassedFd& each) {
    if (const auto epoch = number_after(kRegistry, each.name, 10)) {
      if (*epoch >= newest) legacy.registry = std::move(each.fd);
      newest = std::max(newest, *epoch);
    } else if (const auto bits = number_after(kFile, each.name, 16)) {
      legacy.files[Handle::from_bits(*bits)] = std::move(each.fd);
    } else if (each.name == kLocks) {
      legacy.locks = std::move(each.fd);
    } else if (each.name == kLedger) {
      legacy.ledger = std::move(each.fd);
    } else {
      return false;
    }
    stored_.insert(each.name);
    return true;
  });
  return legacy;
}

void FdStore::forget() {
  const auto names = stored_;
  for (const std::string& name : names) remove(name);
}

Result<void> FdStore::keep(const Property& property) {
  const std::string registry = registry_name(property.regions.registry.header().epoch);
  const std::vector<std::string> before(stored_.begin(), stored_.end());
  store(registry, property.regions.registry.fd());
  store(kLocks, property.regions.locks.fd());
  store(kLedger, property.ledger.fd());
  for (const auto& [handle, file] : property.estate.files) store(file_name(handle), file.get());
  for (const std::string& name : before) {
    if (name.starts_with(kRegistry) && name != registry) remove(name);
  }
  const std::uint64_t deadline = monotonic_ns() + kPatienceNs;
  for (flush(); !unsent_.empty(); flush()) {
    if (monotonic_ns() > deadline) {
      return fail(ErrorCode::WouldBlock, "the service manager does not read its messages");
    }
    pause_for(kPauseNs);
  }
  return {};
}

bool FdStore::has_room() const noexcept {
  const auto limit = manager_.store_limit();
  return !limit || stored_.size() + kKeptFree < *limit;
}

void FdStore::file(Handle handle, int file) {
  const std::string name = file_name(handle);
  // It may be another one than was there.
  remove(name);
  if (file < 0) return flush();
  if (has_room()) {
    store(name, file);
  } else if (!std::exchange(told_of_fullness_, true) && log_) {
    log_(LogLevel::Warning,
         "the descriptor store is full: files of new resources do not outlive this daemon");
  }
  flush();
}

void FdStore::store(std::string name, int fd) {
  if (!manager_.is_present() || !stored_.insert(name).second) return;
  unsent_.push_back({std::move(name), UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0))});
}

void FdStore::remove(const std::string& name) {
  if (manager_.is_present() && stored_.erase(name) != 0) unsent_.push_back({name, UniqueFd()});
}

void FdStore::flush() {
  while (!unsent_.empty()) {
    const Message& next = unsent_.front();
    const auto sent =
        next.fd ? manager_.store_fd(next.fd.get(), next.name) : manager_.remove_fd(next.name);
    if (!sent && sent.error() == ErrorCode::WouldBlock) return;
    if (!sent && log_) {
      log_(LogLevel::Warning, "the descriptor store: " + sent.error().message());
    }
    unsent_.pop_front();
  }
}

}  // namespace resmgr::daemon
