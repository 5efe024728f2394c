// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/input_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace demo {

InputFile::InputFile(std::string path, hal::UniqueFd fd, std::optional<std::uint64_t> size) noexcept
    : path_(std::move(path)), fd_(std::move(fd)), size_(size) {}

Outcome<InputFile> InputFile::open(const std::string& path) {
  // Nonblocking, for a pipe that nobody writes to would keep us in open().
  hal::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return failed_errno(path, errno);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return failed_errno(path, errno);
  std::optional<std::uint64_t> size;
  if (S_ISREG(status.st_mode)) size = static_cast<std::uint64_t>(status.st_size);

  InputFile file(path, std::move(fd), size);
  std::byte probe{};
  if (auto first = file.read(0, std::span(&probe, 1)); !first) {
    return std::unexpected(std::move(first.error()));
  }
  return file;
}

Outcome<std::size_t> InputFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  std::size_t count = 0;
  while (count < into.size()) {
    const ssize_t got = ::pread(fd_.get(), into.data() + count, into.size() - count,
                                static_cast<off_t>(offset + count));
    if (got == 0) break;
    if (got > 0) {
      count += static_cast<std::size_t>(got);
    } else if (errno == ESPIPE) {
      return failed(path_, "can be read only once, as a pipe; a file is needed");
    } else if (errno != EINTR) {
      return failed_errno(path_, errno);
    }
  }
  return count;
}

}  // namespace demo
