// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/presence.hpp"

#include <fcntl.h>

#include <cerrno>

#include "resmgr/base/reopen.hpp"

namespace resmgr {
namespace {

struct flock byte_of(std::uint32_t number, short type) noexcept {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = number;
  lock.l_len = 1;
  return lock;
}

}  // namespace

Result<Presence> Presence::mark(int file, std::uint32_t number) noexcept {
  auto own = reopen_read_only(file);
  if (!own) return std::unexpected(std::move(own.error()));
  return mark_own(std::move(*own), number);
}

Result<Presence> Presence::mark_own(UniqueFd own, std::uint32_t number) noexcept {
  struct flock lock = byte_of(number, F_RDLCK);
  if (::fcntl(own.get(), F_OFD_SETLK, &lock) != 0) return fail_errno(errno, "fcntl(F_OFD_SETLK)");
  return Presence(std::move(own));
}

bool Presence::is_marked(int file, std::uint32_t number) noexcept {
  struct flock lock = byte_of(number, F_WRLCK);
  return ::fcntl(file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void Presence::end() noexcept {
  struct flock lock{};
  lock.l_type = F_UNLCK;
  lock.l_whence = SEEK_SET;
  if (file_) (void)::fcntl(file_.get(), F_OFD_SETLK, &lock);
}

}  // namespace resmgr
