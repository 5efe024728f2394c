// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "resmgr/abi/layout.h"
#include "tools/resmgrctl/close_file.hpp"
#include "tools/resmgrctl/region_copy.hpp"
#include "tools/resmgrctl/snapshot.hpp"
#include "tools/resmgrctl/snapshot_format.hpp"

namespace resmgrctl {
namespace {

// Address space alone: what the largest domain needs, and far from where sizes overflow.
constexpr std::uint64_t kMaxRegionBytes = std::uint64_t{1} << 40;

constexpr std::string_view kForeign =
    "is no snapshot of a domain: make one with 'resmgrctl snapshot FILE'";
constexpr std::string_view kDamaged = "is damaged: make another with 'resmgrctl snapshot FILE'";

class Reader {
 public:
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): its owner from the start
  explicit Reader(const std::string& path) : file_(std::fopen(path.c_str(), "rbe")) {}
  [[nodiscard]] bool is_open() const noexcept { return file_ != nullptr; }

  [[nodiscard]] bool get(std::span<std::byte> to) {
    if (std::fread(to.data(), 1, to.size(), file_.get()) != to.size()) return false;
    sum_.add(to);
    return true;
  }
  template <typename T>
  [[nodiscard]] bool get_object(T& object) {
    return get(std::as_writable_bytes(std::span(&object, 1)));
  }
  [[nodiscard]] std::uint64_t sum() const noexcept { return sum_.value(); }
  [[nodiscard]] bool failed() const noexcept { return std::ferror(file_.get()) != 0; }
  [[nodiscard]] bool at_end() { return std::fgetc(file_.get()) == EOF; }

 private:
  OpenFile file_;
  SnapshotSum sum_;
};

/// Both regions of one look, being filled.
struct Files {
  RegionFile registry;
  RegionFile locks;

  [[nodiscard]] static Outcome<Files> create(const SnapshotHeader& header) {
    auto registry = RegionFile::create(header.registry_bytes);
    if (!registry) return resmgrctl::failed("a copy of the registry", registry.error());
    auto locks = RegionFile::create(header.lock_bytes);
    if (!locks) return resmgrctl::failed("a copy of the lock region", locks.error());
    return Files{std::move(*registry), std::move(*locks)};
  }
  [[nodiscard]] std::span<std::byte> bytes(std::uint32_t region) const noexcept {
    return (region == 0 ? registry : locks).mapping.bytes();
  }
};

bool is_sane(const SnapshotHeader& header) noexcept {
  const auto fits = [](std::uint64_t bytes) {
    return bytes >= sizeof(rm_region_header) && bytes <= kMaxRegionBytes;
  };
  return fits(header.registry_bytes) && fits(header.lock_bytes) &&
         header.clients <= RM_MAX_CLIENTS && header.place.back() == '\0' &&
         header.daemon_version.back() == '\0';
}

bool is_known(Process process) noexcept { return process <= Process::Gone; }

std::optional<std::vector<Process>> read_processes(Reader& reader, std::uint32_t clients) {
  std::vector<Process> processes(clients);
  if (!reader.get(std::as_writable_bytes(std::span(processes)))) return std::nullopt;
  if (!std::ranges::all_of(processes, is_known)) return std::nullopt;
  return processes;
}

// One page, into the looks that have it. False: the file can't be one of ours.
bool read_page(Reader& reader, const Files& first, const Files& second) {
  SnapshotPage page;
  if (!reader.get_object(page) || page.look > 1 || page.region > 1) return false;
  const std::span<std::byte> region = second.bytes(page.region);
  if (page.number >= (region.size() + kPageBytes - 1) / kPageBytes) return false;
  const std::size_t begin = page.number * kPageBytes;
  const std::span<std::byte> to =
      region.subspan(begin, std::min(kPageBytes, region.size() - begin));
  if (!reader.get(to)) return false;
  if (page.look == 0) std::ranges::copy(to, first.bytes(page.region).subspan(begin).begin());
  return true;
}

Outcome<Look> look_of(const std::string& path, Files files, const SnapshotHeader& header,
                      std::size_t number, std::vector<Process> processes) {
  auto registry = resmgr::registry::RegistryRegion::attach(std::move(files.registry.fd),
                                                           resmgr::Mapping::Access::Read);
  if (!registry) return failed(path + ": its registry", registry.error());
  auto locks = resmgr::lock::LockRegion::attach(std::move(files.locks.fd));
  if (!locks) return failed(path + ": its lock region", locks.error());
  if (registry->header().domain_id != locks->header().domain_id ||
      registry->header().epoch != locks->header().epoch) {
    return failed(path, "its regions are of two domains");
  }
  return Look{.registry = std::move(*registry),
              .locks = std::move(*locks),
              .taken_at = header.taken_at[number],
              .resident_bytes = header.resident[number],
              .unsettled = header.unsettled[number],
              .processes = std::move(processes)};
}

}  // namespace

Outcome<Snapshot> read_snapshot(const std::string& path) {
  Reader reader(path);
  if (!reader.is_open()) return failed_errno(path, errno);
  SnapshotHeader header;
  if (!reader.get_object(header)) {
    return reader.failed() ? failed_errno(path, errno) : failed(path, kForeign);
  }
  if (header.magic != kSnapshotMagic) return failed(path, kForeign);
  if (header.version != kSnapshotVersion) {
    return failed(path, "is a snapshot of version " + std::to_string(header.version) +
                            ", this resmgrctl reads version " + std::to_string(kSnapshotVersion));
  }
  if (!is_sane(header)) return failed(path, kDamaged);
  auto first_processes = read_processes(reader, header.clients);
  if (!first_processes) return failed(path, kDamaged);
  auto second_processes = read_processes(reader, header.clients);
  if (!second_processes) return failed(path, kDamaged);

  auto first = Files::create(header);
  if (!first) return std::unexpected(first.error());
  auto second = Files::create(header);
  if (!second) return std::unexpected(second.error());
  for (std::uint64_t i = 0; i < header.pages; ++i) {
    if (!read_page(reader, *first, *second)) return failed(path, kDamaged);
  }
  const std::uint64_t sum = reader.sum();
  std::uint64_t stored = 0;
  if (!reader.get_object(stored) || stored != sum || !reader.at_end()) {
    return failed(path, kDamaged);
  }

  auto look = look_of(path, std::move(*first), header, 0, std::move(*first_processes));
  if (!look) return std::unexpected(look.error());
  auto again = look_of(path, std::move(*second), header, 1, std::move(*second_processes));
  if (!again) return std::unexpected(again.error());
  return Snapshot{.origin = {.place = path,
                             .daemon_version = header.daemon_version.data(),
                             .taken_at_utc = header.taken_at_utc,
                             .is_snapshot = true},
                  .first = std::move(*look),
                  .second = std::move(*again)};
}

}  // namespace resmgrctl
