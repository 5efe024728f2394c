// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/cgroup_folder.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include "resmgr/budget/kernel_text.hpp"

namespace resmgr::budget {
namespace {

// A line of /proc/self/cgroup: number:controllers:path.
struct Membership {
  CgroupVersion version;
  std::string_view path;
};

std::optional<Membership> membership(std::string_view lines, std::string_view controller) {
  std::optional<Membership> found;
  while (!lines.empty()) {
    std::string_view line = take_part(lines, '\n');
    const std::string_view number = take_part(line, ':');
    const std::string_view controllers = take_part(line, ':');
    if (!controller.empty() && has_part(controllers, ',', controller)) {
      return Membership{CgroupVersion::One, line};
    }
    if (number == "0" && controllers.empty()) found = Membership{CgroupVersion::Two, line};
  }
  return found;
}

// A blank and its like stand there as a backslash and three octal digits.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// A line of /proc/self/mountinfo, as far as it matters.
struct Mount {
  std::string root;   // the group that is to be seen at `point`
  std::string point;  // without a slash at its end
  std::string_view kind;
  std::string_view options;  // of the file system, in which version 1 names its controllers
};

Mount mount_of(std::string_view line) {
  Mount mount;
  std::array<std::string_view, 5> fields;
  for (std::string_view& field : fields) field = take_part(line, ' ');
  mount.root = unescaped(fields[3]);
  mount.point = unescaped(fields[4]);
  if (mount.point == "/") mount.point.clear();
  // Fields that a kernel may add end with a dash.
  while (!line.empty() && take_part(line, ' ') != "-") {
  }
  mount.kind = take_part(line, ' ');
  (void)take_part(line, ' ');
  mount.options = line;
  return mount;
}

bool is_above(std::string_view path) noexcept { return path == "/.." || path.starts_with("/../"); }

// What has to stand behind the mount's point for a group to be found there.
std::optional<std::string_view> below(std::string_view root, std::string_view path) noexcept {
  if (is_above(path)) return std::nullopt;
  // A mount from outside of this namespace shows a group around all that are in it, but nobody says
  // by which names the way goes on from there.
  if (is_above(root)) return std::string_view{};
  if (root == "/") return path == "/" ? std::string_view{} : path;
  if (!path.starts_with(root)) return std::nullopt;
  path.remove_prefix(root.size());
  if (!path.empty() && path.front() != '/') return std::nullopt;
  return path;
}

}  // namespace

Result<CgroupFolder> CgroupFolder::find(std::string_view controller, const std::string& root) {
  const std::string lines = read_text(root + "/proc/self/cgroup");
  const auto member = membership(lines, controller);
  if (!member) return fail(ErrorCode::NotFound, "no control group of this kind");
  const std::string mounts = read_text(root + "/proc/self/mountinfo");
  std::string_view rest = mounts;
  while (!rest.empty()) {
    const Mount mount = mount_of(take_part(rest, '\n'));
    const bool fits = member->version == CgroupVersion::Two
                          ? mount.kind == "cgroup2"
                          : mount.kind == "cgroup" && has_part(mount.options, ',', controller);
    if (!fits) continue;
    if (const auto path = below(mount.root, member->path)) {
      CgroupFolder folder{.version = member->version, .group = {}, .top = root + mount.point};
      folder.group = folder.top + std::string(*path);
      return folder;
    }
  }
  return fail(ErrorCode::NotFound, "no control group of this kind is mounted");
}

}  // namespace resmgr::budget
