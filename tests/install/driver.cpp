// SPDX-License-Identifier: Apache-2.0
//
// A driver of another project: it knows libhal by its installed headers and pkg-config alone.
#include <cstdint>
#include <iostream>
#include <thread>

#include <hal/resource_manager.hpp>
#include <hal/version.hpp>

struct Ring {
  std::uint32_t head;
  std::uint32_t tail;
};

int main() {
  auto manager = hal::ResourceManager::create({.name = "out-of-tree"}).value();
  const hal::DriverId driver = manager->register_driver("dma-example").value();
  const hal::Handle channel =
      manager
          ->register_resource("dma0/channel/0",
                              {.type = hal::ResourceType::Hardware, .class_name = "dma-channel"},
                              {.driver = driver})
          .value();
  auto hold = manager->acquire_scoped_resource(channel).value();
  bool refused = false;
  std::thread([&] { refused = !manager->try_acquire(channel); }).join();

  auto ring = manager->acquire_resource<Ring>("dma0/ring", {.class_name = "ring"}).value();
  ring->tail = ring->head + 1;

  const bool same = hal::runtime_version() == hal::kVersion;
  std::cout << (refused ? "refused " : "granted twice ") << ring->tail
            << (same ? "" : " other version") << '\n';
  return refused && ring->tail == 1 && same && hold.release() ? 0 : 1;
}
