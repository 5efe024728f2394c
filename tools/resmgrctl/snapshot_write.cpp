// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "resmgr/base/error.hpp"
#include "tools/resmgrctl/close_file.hpp"
#include "tools/resmgrctl/region_copy.hpp"
#include "tools/resmgrctl/snapshot.hpp"
#include "tools/resmgrctl/snapshot_format.hpp"

namespace resmgrctl {
namespace {

/// A file in the making, beside the one that it will become.
class Draft {
 public:
  explicit Draft(std::string path) : path_(std::move(path)), draft_(path_ + ".part") {}
  ~Draft() {
    if (file_) (void)::unlink(draft_.c_str());
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  [[nodiscard]] bool open() {
    const int fd = ::open(draft_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                          S_IRUSR | S_IWUSR);
    if (fd < 0) return false;
    file_.reset(::fdopen(fd, "wb"));
    if (!file_) (void)::close(fd);
    return file_ != nullptr;
  }
  void put(std::span<const std::byte> bytes) {
    sum_.add(bytes);
    written_ += bytes.size();
    (void)std::fwrite(bytes.data(), 1, bytes.size(), file_.get());
  }
  template <typename T>
  void put_object(const T& object) {
    put(std::as_bytes(std::span(&object, 1)));
  }
  [[nodiscard]] std::uint64_t sum() const noexcept { return sum_.value(); }
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
  /// Puts it in its place.
  [[nodiscard]] bool finish() {
    std::FILE* const file = file_.get();
    if (std::ferror(file) != 0 || std::fflush(file) != 0) return false;
    if (::rename(draft_.c_str(), path_.c_str()) != 0) return false;
    file_.reset();
    return true;
  }

 private:
  std::string path_;
  std::string draft_;
  OpenFile file_;
  SnapshotSum sum_;
  std::uint64_t written_ = 0;
};

/// One region of both looks.
struct Pair {
  std::uint32_t region;
  int first_file;
  std::span<const std::byte> first;
  int second_file;
  std::span<const std::byte> second;
};

std::span<const std::byte> bytes_of(const resmgr::lock::LockRegion& locks) noexcept {
  return {reinterpret_cast<const std::byte*>(locks.tables().region),
          static_cast<std::size_t>(locks.header().region_bytes)};
}

std::array<Pair, 2> pairs_of(const Look& first, const Look& second) noexcept {
  return {
      {{0, first.registry.fd(), first.registry.bytes(), second.registry.fd(),
        second.registry.bytes()},
       {1, first.locks.fd(), bytes_of(first.locks), second.locks.fd(), bytes_of(second.locks)}}};
}

// What has to be written. Looks stand still, so that two rounds find the same.
template <typename Visit>
resmgr::Result<void> for_each_record(const Pair& pair, Visit&& visit) {
  auto first = for_each_page(pair.first_file, pair.first, [&](std::uint64_t page, auto bytes) {
    if (is_zero(bytes)) return;
    visit(SnapshotPage{0, pair.region, page}, bytes);
    // Below, pages without memory are not come by.
    const auto after = pair.second.subspan(page * kPageBytes, bytes.size());
    if (is_zero(after)) visit(SnapshotPage{1, pair.region, page}, after);
  });
  if (!first) return first;
  return for_each_page(pair.second_file, pair.second, [&](std::uint64_t page, auto bytes) {
    const auto before = pair.first.subspan(page * kPageBytes, bytes.size());
    if (!is_zero(bytes) && !std::ranges::equal(before, bytes)) {
      visit(SnapshotPage{1, pair.region, page}, bytes);
    }
  });
}

std::span<const std::byte> as_bytes(const std::vector<Process>& processes) noexcept {
  return std::as_bytes(std::span(processes));
}

}  // namespace

Outcome<SnapshotSize> write_snapshot(const std::string& path, const Look& first, const Look& second,
                                     const Origin& origin) {
  const auto pairs = pairs_of(first, second);
  SnapshotHeader header{.clients = static_cast<std::uint32_t>(first.processes.size()),
                        .registry_bytes = first.registry.header().region_bytes,
                        .lock_bytes = first.locks.header().region_bytes,
                        .taken_at_utc = origin.taken_at_utc,
                        .taken_at = {first.taken_at, second.taken_at},
                        .resident = {first.resident_bytes, second.resident_bytes},
                        .unsettled = {first.unsettled, second.unsettled}};
  resmgr::copy_text(header.place, origin.place);
  resmgr::copy_text(header.daemon_version, origin.daemon_version);
  for (const Pair& pair : pairs) {
    auto counted = for_each_record(pair, [&](const SnapshotPage&, auto) { ++header.pages; });
    if (!counted) return failed("the domain's copy", counted.error());
  }

  Draft draft(path);
  if (!draft.open()) return failed_errno(path, errno);
  draft.put_object(header);
  draft.put(as_bytes(first.processes));
  draft.put(as_bytes(second.processes));
  for (const Pair& pair : pairs) {
    auto written = for_each_record(pair, [&](const SnapshotPage& page, auto bytes) {
      draft.put_object(page);
      draft.put(bytes);
    });
    if (!written) return failed("the domain's copy", written.error());
  }
  draft.put_object(draft.sum());
  const SnapshotSize size{.bytes = draft.written(), .pages = header.pages};
  if (!draft.finish()) return failed_errno(path, errno);
  return size;
}

}  // namespace resmgrctl
