// SPDX-License-Identifier: Apache-2.0
//
// Writes the frames that wire_fuzz starts from: of each type, and as a newer minor would send it.
//
// Usage: wire-corpus LIST
// LIST becomes the files' names with commas between them, as libFuzzer takes them; they stand
// beside it.
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/abi/wire_support.hpp"

namespace {

using resmgr::wire::test::Bytes;

bool write(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return file.flush().good();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path list_path = std::filesystem::absolute(argv[1]);
  std::string list;
  for (const auto& [name, frame] : resmgr::wire::test::samples()) {
    for (const bool newer : {false, true}) {
      const std::filesystem::path path =
          list_path.parent_path() / ("wire-" + name + (newer ? "-newer" : "") + ".frame");
      if (!write(path, newer ? resmgr::wire::test::from_newer_minor(frame) : frame)) return 1;
      list += (list.empty() ? "" : ",") + path.string();
    }
  }
  std::ofstream file(list_path);
  file << list;
  return file.flush().good() ? 0 : 1;
}
