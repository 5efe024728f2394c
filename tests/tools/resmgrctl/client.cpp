// SPDX-License-Identifier: Apache-2.0
//
// A client of resmgrd that does what it is told, a line at a time.
//
// Usage: resmgrctl-client SOCKET DRIVER. Lines: register NAME, so that it can be shared; acquire
// NAME, which waits; try NAME, which does not; release; damage NAME, whose latch is then with
// nobody; quarantine NAME, as if somebody had died with hardware; end. To each it answers "done" or
// the error, when it is done.
#include <cstdint>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>

#include <hal/resource_manager.hpp>

#include "resmgr/client/served_authority.hpp"
#include "resmgr/lock/word.hpp"

namespace {

template <typename Result>
void answer(const Result& result) {
  std::cout << (result ? std::string("done") : result.error().message()) << std::endl;
}

/// Writes into the lock region, which every client can: a latch, and flags of the word.
bool write_word(const char* socket, const std::string& name, std::uint16_t latch,
                std::uint32_t flags) {
  // It stays, for with it a client would go.
  static const auto attached =
      resmgr::client::ServedAuthority::attach({.socket_path = socket, .log = {}, .on_state = {}});
  if (!attached) return false;
  const auto handle = resmgr::registry::RegistryView(attached->registry).lookup(name);
  rm_slot* const slot = attached->locks.tables().slot(handle.slot());
  if (!slot) return false;
  if (flags != 0) resmgr::store(slot->attributes, std::uint8_t{RM_SLOT_ATTR_QUIESCE});
  const resmgr::lock::StateWord word{resmgr::load(slot->word)};
  resmgr::store(slot->word, word.with_latch(latch).with(flags).bits);
  return true;
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
      answer((*manager)->register_resource(name,
                                           {.type = hal::ResourceType::Memory,
                                            .size_bytes = 4096,
                                            .flags = hal::ResourceFlags::Shareable},
                                           {.driver = *driver}));
    } else if (verb == "acquire" || verb == "try") {
      const auto handle = (*manager)->find(name);
      if (!handle) {
        answer(handle);
        continue;
      }
      auto acquired = (*manager)->acquire_scoped_resource(
          *handle, {.mode = verb == "try" ? hal::AcquisitionMode::NonBlocking
                                          : hal::AcquisitionMode::Blocking});
      answer(acquired);
      if (acquired) hold.emplace(std::move(*acquired));
    } else if (verb == "damage" || verb == "quarantine") {
      constexpr std::uint16_t kNobody = 4000;
      const bool done = verb == "damage" ? write_word(argv[1], name, kNobody, 0)
                                         : write_word(argv[1], name, 0, RM_WORD_QUARANTINED);
      std::cout << (done ? "done" : "no way") << std::endl;
    } else {
      hold.reset();
      std::cout << "done" << std::endl;
    }
  }
  return 0;
}
