// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/shared_text.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "resmgr/base/hash.hpp"
#include "resmgr/daemon/config.hpp"

namespace resmgr::daemon {

Result<SharedText> SharedText::create() noexcept {
  UniqueFd fd(::memfd_create("resmgrd-configuration", MFD_CLOEXEC));
  if (!fd) return fail_errno(errno, "memfd_create");
  return SharedText(std::move(fd));
}

// The head comes last; its hash tells a text that is half the next one.
Result<void> SharedText::put(std::string_view text) noexcept {
  const Head head{number_ + 1, text.size(), hash_bytes(text, number_ + 1)};
  const auto wrote = [&](const void* bytes, std::size_t count, std::size_t at) {
    return std::cmp_equal(::pwrite(fd_.get(), bytes, count, static_cast<off_t>(at)), count);
  };
  if (!wrote(text.data(), text.size(), sizeof head) || !wrote(&head, sizeof head, 0)) {
    return fail_errno(errno, "pwrite");
  }
  number_ = head.number;
  return {};
}

std::optional<std::string> SharedText::take() {
  Head head;
  const auto read = [&](void* bytes, std::size_t count, std::size_t at) {
    return std::cmp_equal(::pread(fd_.get(), bytes, count, static_cast<off_t>(at)), count);
  };
  if (!read(&head, sizeof head, 0) || head.number == number_ || head.bytes > kMaxConfigBytes) {
    return std::nullopt;
  }
  std::string text(head.bytes, '\0');
  if (!read(text.data(), text.size(), sizeof head) || hash_bytes(text, head.number) != head.hash) {
    return std::nullopt;
  }
  number_ = head.number;
  return text;
}

}  // namespace resmgr::daemon
