// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/ledger_file.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "resmgr/abi/region_file.hpp"
#include "resmgr/abi/region_header.hpp"
#include "resmgr/abi/version.hpp"
#include "resmgr/base/atomic.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/base/pause.hpp"

namespace resmgr::daemon {
namespace {

/// PID_MAX_LIMIT, see proc_sys_kernel(5).
constexpr std::uint32_t kLargestPid = 1u << 22;

constexpr std::uint64_t kMagic = 0x3130524744454c52;  // "RLEDGR01"
// Of the records below; other majors are refused.
constexpr Version kVersion{.major_number = 3, .minor_number = 0};

enum class Standing : std::uint64_t { Free, Here, Leaving };
constexpr int kSequenceShift = 8;
constexpr std::uint64_t kStandingMask = (1u << kSequenceShift) - 1;

constexpr std::uint64_t state_of(const Client& client, Standing standing) noexcept {
  return client.sequence << kSequenceShift | static_cast<std::uint64_t>(standing);
}

}  // namespace

struct LedgerFile::Header {
  std::uint64_t magic;
  std::uint32_t version_major;
  std::uint32_t version_minor;
  std::uint32_t places;
  std::uint32_t reserved;
  std::uint64_t newest_epoch;  ///< that a registry of this domain has
  std::uint64_t served_epoch;  ///< of the registry that was written last
  std::uint64_t void_epoch;    ///< up to here nobody's, but for the one above
  std::uint64_t drained[RM_MAX_DRIVERS / 64];
};

struct LedgerFile::Record {
  std::uint64_t state;  ///< sequence:56 | Standing:8; written last
  std::uint64_t start_time;
  std::uint32_t pid;
  std::uint32_t uid;
};

Result<LedgerFile> LedgerFile::create(std::uint32_t places) {
  const std::size_t bytes = sizeof(Header) + std::size_t{places} * sizeof(Record);
  auto fd = create_region_file("resmgr-ledger", bytes);
  if (!fd) return std::unexpected(std::move(fd.error()));
  auto mapping = Mapping::map_file(fd->get(), bytes, Mapping::Access::ReadWrite);
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  const Header header{.magic = kMagic,
                      .version_major = kVersion.major_number,
                      .version_minor = kVersion.minor_number,
                      .places = places,
                      .reserved = 0,
                      .newest_epoch = RegionIdentity{}.epoch,
                      .served_epoch = 0,
                      .void_epoch = 0,
                      .drained = {}};
  std::memcpy(mapping->data(), &header, sizeof header);
  return LedgerFile(std::move(*fd), std::move(*mapping), places);
}

Result<LedgerFile> LedgerFile::attach(UniqueFd fd, std::uint32_t places) {
  auto mapping = map_sealed_file(fd.get(), Mapping::Access::ReadWrite);
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  Header header{};
  if (mapping->size() >= sizeof header) std::memcpy(&header, mapping->data(), sizeof header);
  if (header.magic != kMagic) return fail(ErrorCode::InvalidArgument, "not a ledger");
  if (header.version_major != kVersion.major_number) {
    return std::unexpected(version_mismatch("takeover", "the ledger has version",
                                            {header.version_major, header.version_minor},
                                            kVersion));
  }
  if (header.places != places ||
      mapping->size() != sizeof(Header) + std::size_t{places} * sizeof(Record)) {
    return fail(ErrorCode::InvalidArgument, "a ledger of another domain");
  }
  return LedgerFile(std::move(fd), std::move(*mapping), places);
}

LedgerFile::Header& LedgerFile::header() const noexcept {
  void* const first = mapping_.data();
  return *static_cast<Header*>(first);
}

LedgerFile::Record* LedgerFile::record(std::uint32_t index) const noexcept {
  if (index >= places_) return nullptr;
  void* const first = mapping_.data() + sizeof(Header);
  return static_cast<Record*>(first) + index;
}

void LedgerFile::came(const Client& client) noexcept {
  Record* const at = record(client.index);
  if (!at) return;
  store_release(at->state, state_of(client, Standing::Free));
  store_release(at->start_time, client.start_time);
  store_release(at->pid, client.pid);
  store_release(at->uid, client.uid);
  store_release(at->state, state_of(client, Standing::Here));
}

void LedgerFile::leaves(const Client& client) noexcept {
  if (Record* const at = record(client.index)) {
    store_release(at->state, state_of(client, Standing::Leaving));
  }
}

void LedgerFile::went(const Client& client) noexcept {
  if (Record* const at = record(client.index)) {
    store_release(at->state, state_of(client, Standing::Free));
  }
}

void LedgerFile::drained(std::uint32_t driver, bool is_so) noexcept {
  if (driver >= RM_MAX_DRIVERS) return;
  std::uint64_t& word = header().drained[driver / 64];
  const std::uint64_t bit = std::uint64_t{1} << driver % 64;
  store_release(word, is_so ? load_relaxed(word) | bit : load_relaxed(word) & ~bit);
}

std::vector<std::uint32_t> LedgerFile::drained() const {
  std::vector<std::uint32_t> drivers;
  for (std::uint32_t driver = 0; driver < RM_MAX_DRIVERS; ++driver) {
    const std::uint64_t word = load_acquire(header().drained[driver / 64]);
    if ((word >> driver % 64 & 1) != 0) drivers.push_back(driver);
  }
  return drivers;
}

std::uint64_t LedgerFile::next_epoch() noexcept {
  const std::uint64_t epoch = load_relaxed(header().newest_epoch) + 1;
  if (epoch != 0) store_release(header().newest_epoch, epoch);
  return epoch;
}

Result<void> LedgerFile::check_current(std::uint64_t epoch) const noexcept {
  if (epoch == load_acquire(header().served_epoch) || epoch > load_acquire(header().void_epoch)) {
    return {};
  }
  return fail(ErrorCode::InvalidArgument, "the domain went on in another registry, and is over");
}

// In this order: killed in between, it is current, and so is what was copied from the same one.
Result<void> LedgerFile::begins(std::uint64_t epoch) noexcept {
  auto current = check_current(epoch);
  if (!current) return current;
  store_release(header().served_epoch, epoch);
  store_release(header().void_epoch, load_relaxed(header().newest_epoch));
  return {};
}

std::vector<LedgerFile::Survivor> LedgerFile::clients() const {
  std::vector<Survivor> survivors;
  for (std::uint32_t index = 1; index < places_; ++index) {
    const Record& from = *record(index);
    const std::uint64_t state = load_acquire(from.state);
    const auto standing = static_cast<Standing>(state & kStandingMask);
    if (standing != Standing::Here && standing != Standing::Leaving) continue;
    Survivor survivor{.client = {.pid = load_relaxed(from.pid),
                                 .start_time = load_relaxed(from.start_time),
                                 .uid = load_relaxed(from.uid),
                                 .index = index,
                                 .sequence = state >> kSequenceShift},
                      .leaving = standing == Standing::Leaving};
    // What no process can have been is noise.
    const bool is_pid = survivor.client.pid - 1 < kLargestPid;
    if (is_pid && survivor.client.sequence != 0) {
      survivors.push_back(std::move(survivor));
    }
  }
  return survivors;
}

Result<UniqueFd> LedgerFile::take_turn(std::uint64_t patience_ns) const {
  constexpr std::uint64_t kPauseNs = 5'000'000;
  // Opened anew: what is locked is an open file, and the one behind fd_ is everybody's.
  std::array<char, 32> path{};
  (void)std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd_.get());
  UniqueFd turn(::open(path.data(), O_RDWR | O_CLOEXEC));
  if (!turn) return fail_errno(errno, "the ledger's descriptor");
  const std::uint64_t deadline = monotonic_ns() + patience_ns;
  while (::flock(turn.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno(errno, "flock");
    if (monotonic_ns() > deadline) {
      return fail(ErrorCode::InUse, "another process still works on the domain");
    }
    pause_for(kPauseNs);
  }
  return turn;
}

}  // namespace resmgr::daemon
