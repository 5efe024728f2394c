// SPDX-License-Identifier: Apache-2.0
//
// Graphviz, started as another process.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "resmgr/base/unique_fd.hpp"
#include "tools/resmgrctl/graph.hpp"

// POSIX has nobody declare it; the GNU library does where all its extensions are asked for.
// NOLINTNEXTLINE(readability-redundant-declaration)
extern char** environ;

namespace resmgrctl {
namespace {

using resmgr::UniqueFd;

/// Its standard input and output are files: no pipe to fill up on either side.
UniqueFd scratch_file(const char* name) { return UniqueFd(::memfd_create(name, MFD_CLOEXEC)); }

bool write_all(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(fd, text.data() + done, text.size() - done);
    if (count < 0) return false;
    done += static_cast<std::size_t>(count);
  }
  return ::lseek(fd, 0, SEEK_SET) == 0;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 1 << 16> part{};
  off_t at = 0;
  for (;;) {
    const ssize_t count = ::pread(fd, part.data(), part.size(), at);
    if (count <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(count));
    at += count;
  }
}

// Returns its exit status, or minus an errno.
int run(std::string program, int input, int output) {
  posix_spawn_file_actions_t actions;
  if (const int error = ::posix_spawn_file_actions_init(&actions); error != 0) return -error;
  (void)::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  (void)::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  std::string format = "-Tsvg";
  std::array<char*, 3> argv{program.data(), format.data(), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  (void)::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return -error;
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -errno;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Outcome<std::string> to_svg(const std::string& dot, const std::string& program) {
  const UniqueFd input = scratch_file("resmgrctl-dot");
  const UniqueFd output = scratch_file("resmgrctl-svg");
  if (!input || !output || !write_all(input.get(), dot)) {
    return failed_errno("a scratch file for the graph", errno);
  }
  const int status = run(program, input.get(), output.get());
  if (status == -ENOENT || status == 127) {
    return failed("SVG is drawn by Graphviz, and '" + program +
                  "' is not installed: install graphviz, or use --format dot");
  }
  if (status < 0) return failed_errno(program, -status);
  std::string svg = read_all(output.get());
  if (status != 0 || svg.empty()) {
    return failed(program + " could not draw the graph (status " + std::to_string(status) +
                  "): look at the output of --format dot");
  }
  return svg;
}

}  // namespace resmgrctl
