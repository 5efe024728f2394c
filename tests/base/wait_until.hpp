// SPDX-License-Identifier: Apache-2.0
//
// Waits in tests for what others do, without a time of its own.
//
//   wait_until([&] { return level.load() == High; });
#pragma once

#include <thread>

namespace resmgr::test {

/// Lets others run until `done()`. Nothing but the test's own time limit ends it otherwise.
template <typename Done>
void wait_until(Done&& done) {
  while (!done()) std::this_thread::yield();
}

}  // namespace resmgr::test
