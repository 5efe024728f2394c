// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/refusals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <latch>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

namespace demo {
namespace {

using hal::AcquisitionMode;
using hal::ErrorCode;
using hal::Handle;

struct Set {
  Handle left;  // two of one class, which may be taken in any order
  Handle right;
  Handle channel;  // of another
};

constexpr std::string_view kLeft = "camera0/frame";
constexpr std::string_view kRight = "encoder0/frame";
constexpr std::string_view kChannel = "dma0/channel/0";

Outcome<Set> register_set(hal::ResourceManager& manager) {
  const hal::ResourceMetadata buffer{.type = hal::ResourceType::Memory, .class_name = "gpu-buffer"};
  const hal::ResourceMetadata channel{.type = hal::ResourceType::Hardware,
                                      .class_name = "dma-channel"};
  Set set;
  for (const auto& [to, name, metadata] : {std::tuple(&set.left, kLeft, &buffer),
                                           {&set.right, kRight, &buffer},
                                           {&set.channel, kChannel, &channel}}) {
    auto handle = manager.register_resource(name, *metadata);
    if (!handle) return failed("registering", handle.error());
    *to = *handle;
  }
  return set;
}

/// Takes one, waits until the other thread has the other one, and asks for that. What was taken is
/// let go at the end: so the one who was not refused gets on.
void cross(hal::ResourceManager& manager, Handle has, Handle wants, std::latch& both_have,
           Party& party) {
  const auto driver = manager.register_driver(party.driver);
  if (!driver || !manager.set_thread_driver(*driver)) {
    both_have.count_down();
    return;
  }
  const auto first = manager.acquire_scoped_resource(has, AcquisitionMode::Blocking);
  both_have.arrive_and_wait();
  const auto second = manager.acquire_scoped_resource(wants, AcquisitionMode::Blocking);
  if (!second) party.refused = second.error();
}

Deadlock provoke_deadlock(hal::ResourceManager& manager, const Set& set) {
  Deadlock deadlock{
      {{.driver = "camera", .had = std::string(kLeft), .wanted = std::string(kRight)},
       {.driver = "encoder", .had = std::string(kRight), .wanted = std::string(kLeft)}}};
  std::latch both_have(2);
  std::thread encoder([&] { cross(manager, set.right, set.left, both_have, deadlock.parties[1]); });
  cross(manager, set.left, set.right, both_have, deadlock.parties[0]);
  encoder.join();
  return deadlock;
}

Inversion provoke_inversion(hal::ResourceManager& manager, const Set& set) {
  {
    const auto channel = manager.acquire_scoped_resource(set.channel, AcquisitionMode::Blocking);
    const auto buffer = manager.acquire_scoped_resource(set.left, AcquisitionMode::Blocking);
  }
  const auto buffer = manager.acquire_scoped_resource(set.left, AcquisitionMode::Blocking);
  const auto channel = manager.acquire_scoped_resource(set.channel, AcquisitionMode::Blocking);
  Inversion inversion;
  if (!channel) inversion.refused = channel.error();
  return inversion;
}

}  // namespace

bool Deadlock::as_promised() const {
  const auto refused =
      std::ranges::count_if(parties, [](const Party& party) { return party.refused.has_value(); });
  return refused == 1 && std::ranges::all_of(parties, [](const Party& party) {
           return !party.refused ||
                  (*party.refused == ErrorCode::Deadlock && party.refused->cycle().size() == 2);
         });
}

bool Inversion::as_promised() const {
  return refused && *refused == ErrorCode::OrderViolation && !refused->detail().empty();
}

Outcome<Refusals> provoke_refusals(hal::LogSink log) try {
  auto manager = hal::ResourceManager::create(
      {.name = "refusals", .order_policy = hal::OrderPolicy::Refuse, .log = std::move(log)});
  if (!manager) return failed("making a resource manager", manager.error());
  const auto set = register_set(**manager);
  if (!set) return std::unexpected(set.error());
  Refusals refusals;
  refusals.deadlock = provoke_deadlock(**manager, *set);
  refusals.inversion = provoke_inversion(**manager, *set);
  const auto holds = (*manager)->holds();
  if (!holds) return failed("looking for holds", holds.error());
  for (const hal::Participant& who : *holds) {
    refusals.left.push_back(fmt::format("{} is still held", who.resource.data()));
  }
  return refusals;
} catch (const std::system_error& error) {
  return failed("starting a thread", error.what());
}

}  // namespace demo
