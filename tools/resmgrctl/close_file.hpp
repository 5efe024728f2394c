// SPDX-License-Identifier: Apache-2.0
//
// OpenFile: a stream of the C library that closes itself.
//
// What it is: the deleter, and the pointer that has it. What it is not: a look at whether closing
// went well; who wrote asks before. Lifetime: closes. Thread-safety: that of the stream.
//
//   OpenFile file(std::fopen(path, "re"));
#pragma once

#include <cstdio>
#include <memory>

namespace resmgrctl {

struct CloseFile {
  void operator()(std::FILE* file) const noexcept {
    (void)std::fclose(file);  // NOLINT(cppcoreguidelines-owning-memory): the pointer owns it
  }
};
using OpenFile = std::unique_ptr<std::FILE, CloseFile>;

}  // namespace resmgrctl
