// SPDX-License-Identifier: Apache-2.0
//
// FakeAccounts: users and groups that tests of the configuration know.
#pragma once

#include <cerrno>
#include <map>
#include <string>

#include "resmgr/daemon/accounts.hpp"

namespace resmgr::daemon::test {

class FakeAccounts final : public Accounts {
 public:
  Result<uid_t> user(const std::string& name) override {
    return find({{"root", 0}, {"alice", 1000}, {"nobody", 65534}}, name);
  }
  Result<gid_t> group(const std::string& name) override {
    return find({{"root", 0}, {"video", 44}}, name);
  }

 private:
  static Result<id_t> find(const std::map<std::string, id_t>& numbers, const std::string& name) {
    if (name == "unreachable") return fail_errno(EIO, "getpwnam_r");
    const auto found = numbers.find(name);
    if (found == numbers.end()) return fail(ErrorCode::NotFound);
    return found->second;
  }
};

}  // namespace resmgr::daemon::test
