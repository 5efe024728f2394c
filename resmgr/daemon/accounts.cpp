// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/accounts.hpp"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <cstddef>
#include <vector>

namespace resmgr::daemon {
namespace {

/// A record with its texts; a group's has the names of all its members.
constexpr std::size_t kFirstBuffer = 4096;
constexpr std::size_t kMostBuffer = std::size_t{1} << 24;

/// `Record` is passwd or group, `look_up` the call that fills one, `number` what is wanted of it.
template <typename Record>
Result<id_t> find(const std::string& name,
                  int (*look_up)(const char*, Record*, char*, std::size_t, Record**),
                  id_t Record::* number, const char* call) {
  // The calls end a name at the first zero, and would find another one.
  if (name.find('\0') != std::string::npos) return fail(ErrorCode::NotFound, call);
  int error = ERANGE;
  for (std::size_t size = kFirstBuffer; error == ERANGE && size <= kMostBuffer; size *= 2) {
    std::vector<char> buffer(size);
    Record record{};
    Record* found = nullptr;
    do {
      error = look_up(name.c_str(), &record, buffer.data(), buffer.size(), &found);
    } while (error == EINTR);
    if (error == 0 && found != nullptr) return record.*number;
    // What some sources say instead of "none"; see getpwnam(3).
    if (error == 0 || error == ENOENT || error == ESRCH) return fail(ErrorCode::NotFound, call);
  }
  return fail_errno(error, call);
}

class SystemAccounts final : public Accounts {
 public:
  Result<uid_t> user(const std::string& name) override {
    return find(name, ::getpwnam_r, &passwd::pw_uid, "getpwnam_r");
  }
  Result<gid_t> group(const std::string& name) override {
    return find(name, ::getgrnam_r, &::group::gr_gid, "getgrnam_r");
  }
};

}  // namespace

Accounts& Accounts::of_system() noexcept {
  static SystemAccounts accounts;
  return accounts;
}

}  // namespace resmgr::daemon
