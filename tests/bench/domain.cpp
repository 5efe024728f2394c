// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/domain.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/bench/must.hpp"

namespace bench {

std::vector<std::string> frame_names(std::uint32_t count) {
  std::vector<std::string> names;
  names.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) names.push_back("gpu0/frame/" + std::to_string(i));
  return names;
}

std::vector<std::uint32_t> random_order(std::uint32_t count) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  std::mt19937_64 random(count);
  std::ranges::shuffle(order, random);
  return order;
}

Domain::Domain(std::uint32_t frames) : manager_(must(hal::ResourceManager::create())) {
  const hal::ResourceMetadata metadata{.type = hal::ResourceType::Memory,
                                       .class_name = "gpu-buffer",
                                       .flags = hal::ResourceFlags::Shareable};
  handles_.reserve(frames);
  for (const std::string& name : frame_names(frames)) {
    handles_.push_back(must(manager_->register_resource(name, metadata)));
  }
}

hal::Handle Domain::add(const std::string& name, const std::string& class_name) {
  return must(manager_->register_resource(name, {.class_name = class_name}));
}

}  // namespace bench
