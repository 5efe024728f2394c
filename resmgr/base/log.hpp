// SPDX-License-Identifier: Apache-2.0
//
// LogSink: where the engine's reports go. Libraries never print.
//
// What it is: a callable the author gives a manager; without one, reports are dropped. It gets one
// line without a newline. What it is not: a logger with levels to filter; the sink decides.
// Thread-safety: called from any thread that uses the manager, under no lock of ours, one call may
// overlap another. It may call any function of the manager.
//
//   options.log = [](hal::LogLevel, std::string_view line) { syslog(LOG_INFO, "%.*s", ...); };
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace resmgr {

enum class LogLevel : std::uint8_t { Info = 0, Warning = 1, Error = 2 };

using LogSink = std::function<void(LogLevel, std::string_view)>;

}  // namespace resmgr
