// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/memory_use.hpp"

#include <malloc.h>

#include <fstream>
#include <limits>
#include <string>

#include "tests/bench/harness.hpp"

namespace bench {

MemoryUse MemoryUse::now() {
  ::malloc_trim(0);
  std::ifstream file("/proc/self/smaps_rollup");
  MemoryUse use;
  bool told = false;
  std::string field;
  std::getline(file, field);  // the range of addresses
  for (std::uint64_t kilobytes = 0; file >> field >> kilobytes;) {
    if (field == "Rss:") use.resident = kilobytes * 1024;
    if (field == "Anonymous:") use.anonymous = kilobytes * 1024;
    told = told || field == "Anonymous:";
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  if (!told) throw Skip("/proc/self/smaps_rollup is missing");
  return use;
}

}  // namespace bench
