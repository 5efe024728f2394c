// SPDX-License-Identifier: Apache-2.0
//
// A domain with resources to measure on, made through the public interface alone.
//
// What it is: a manager with default options, and names and handles of what was registered in it.
// What it is not: tuned in any way. Lifetime: the manager lives as long as the object.
// Thread-safety: made by one thread, then constant.
//
//   Domain domain(1'000);
//   auto hold = domain.manager().acquire_scoped_resource(domain.handles()[7]);
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <hal/resource_manager.hpp>

namespace bench {

/// "gpu0/frame/0", "gpu0/frame/1", ...
[[nodiscard]] std::vector<std::string> frame_names(std::uint32_t count);

/// The numbers below `count` in an order that is random, and the same in each run.
[[nodiscard]] std::vector<std::uint32_t> random_order(std::uint32_t count);

class Domain {
 public:
  /// So many frames; with room for a million resources, as the default is. Throws
  /// std::runtime_error.
  explicit Domain(std::uint32_t frames);

  [[nodiscard]] hal::ResourceManager& manager() noexcept { return *manager_; }
  [[nodiscard]] const std::vector<hal::Handle>& handles() const noexcept { return handles_; }
  /// One more resource, of a lock-order class of its own.
  [[nodiscard]] hal::Handle add(const std::string& name, const std::string& class_name);

 private:
  std::unique_ptr<hal::ResourceManager> manager_;
  std::vector<hal::Handle> handles_;
};

}  // namespace bench
