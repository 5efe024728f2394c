// SPDX-License-Identifier: Apache-2.0
//
// A client of resmgrd that does what it is told, a line at a time.
//
// Usage: resmgrctl-client SOCKET DRIVER. Lines: register NAME; acquire NAME, which waits; release;
// end. To each it answers "done" or the error, when it is done.
#include <iostream>
#include <optional>
#include <sstream>
#include <string>

#include <hal/resource_manager.hpp>

namespace {

template <typename Result>
void answer(const Result& result) {
  std::cout << (result ? std::string("done") : result.error().message()) << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  auto manager = hal::ResourceManager::connect({.socket = argv[1]});
  if (!manager) return 2;
  const auto driver = (*manager)->register_driver(argv[2]);
  if (!driver || !(*manager)->set_thread_driver(*driver)) return 2;
  std::optional<hal::ScopedResource> hold;
  for (std::string line; std::getline(std::cin, line) && line != "end";) {
    std::istringstream words(line);
    std::string verb;
    std::string name;
    words >> verb >> name;
    if (verb == "register") {
      answer((*manager)->register_resource(
          name, {.type = hal::ResourceType::Memory, .size_bytes = 4096}, {.driver = *driver}));
    } else if (verb == "acquire") {
      const auto handle = (*manager)->find(name);
      if (!handle) {
        answer(handle);
        continue;
      }
      auto acquired = (*manager)->acquire_scoped_resource(*handle);
      answer(acquired);
      if (acquired) hold.emplace(std::move(*acquired));
    } else {
      hold.reset();
      std::cout << "done" << std::endl;
    }
  }
  return 0;
}
