// SPDX-License-Identifier: Apache-2.0
//
// The timer driver in a process of its own. Who holds the channel gets its file from resmgrd, by
// the rights given here, and arms it himself.
#include "drivers/timer/timer_driver.hpp"
#include "tools/demo/served_messages.hpp"
#include "tools/demo/served_role.hpp"

namespace demo {

Outcome<void> run_timer_driver(const Options&, hal::ResourceManager& manager, ControlLine& line) {
  using hal::Rights;
  // A file that can be handed on, whatever better this machine has.
  auto timers = drivers::timer::TimerDriver::create(manager, {.channels = 1, .backend = "timerfd"});
  if (!timers) return failed("opening the timer driver", timers.error());
  const hal::Handle channel = (*timers)->handles()[0];
  const auto producer = manager.register_driver(kProducerDriver);
  if (!producer) return failed("naming the producer", producer.error());
  if (auto shared = manager.share_resource(channel, (*timers)->id(), *producer,
                                           Rights::Acquire | Rights::Read | Rights::Write);
      !shared) {
    return failed("sharing the timer", shared.error());
  }
  if (auto told = line.send(Ready()); !told) return told;
  await_stop(line);
  if (auto ended = manager.unshare_resource(channel, (*timers)->id(), *producer); !ended) {
    return failed("unsharing the timer", ended.error());
  }
  if (auto closed = (*timers)->close(); !closed) return failed("the timer", closed.error());
  return {};
}

}  // namespace demo
