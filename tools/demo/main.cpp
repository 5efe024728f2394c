// SPDX-License-Identifier: Apache-2.0
//
// resmgr-demo: timer, DMA and GPU-buffer drivers move a file, all through the resource manager.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <iterator>
#include <utility>
#include <variant>

#include "tools/demo/failure.hpp"
#include "tools/demo/hardware.hpp"
#include "tools/demo/input_file.hpp"
#include "tools/demo/interrupt.hpp"
#include "tools/demo/log_collector.hpp"
#include "tools/demo/options.hpp"
#include "tools/demo/refusals.hpp"
#include "tools/demo/report.hpp"
#include "tools/demo/screen.hpp"
#include "tools/demo/served_hardware.hpp"
#include "tools/demo/served_role.hpp"
#include "tools/demo/served_transfer.hpp"
#include "tools/demo/status.hpp"
#include "tools/demo/transfer.hpp"

namespace demo {
namespace {

/// The drivers' part, from opening to closing them. What leaks is added to the report.
Outcome<void> move_file(const InputFile& file, const LogCollector& collector, Interrupt& interrupt,
                        Screen& screen, Report& report) {
  auto hardware = Hardware::create(report.options, collector.sink());
  if (!hardware) return std::unexpected(std::move(hardware.error()));
  (*hardware)->describe(report.options, screen);
  auto moved = transfer(**hardware, file, report.options, interrupt, screen);
  if (!moved) return std::unexpected(std::move(moved.error()));
  report.transfer = std::move(*moved);
  report.frame_bytes = (*hardware)->frame_bytes();
  report.leaks = (*hardware)->close();
  return {};
}

/// The same with a process for each driver.
Outcome<void> move_file_served(const InputFile& file, const LogCollector& collector,
                               Interrupt& interrupt, Screen& screen, Report& report) {
  auto hardware = ServedHardware::create(report.options, collector.sink());
  if (!hardware) return std::unexpected(std::move(hardware.error()));
  (*hardware)->describe(screen);
  Fate fate;
  auto moved = served_transfer(**hardware, file, report.options, interrupt, screen, fate);
  if (!moved) return std::unexpected(std::move(moved.error()));
  report.transfer = std::move(*moved);
  report.frame_bytes = (*hardware)->frame_bytes();
  report.killed = Killed{.times = fate.killed,
                         .promised = report.transfer.checked.frames > fate.frame ? 1u : 0u,
                         .recovered = fate.recovered};
  report.leaks = (*hardware)->close();
  report.reports = (*hardware)->reports();
  return {};
}

Outcome<Report> make_report(const Options& options, Interrupt& interrupt, Screen& screen) {
  const auto file = InputFile::open(options.input);
  if (!file) return std::unexpected(file.error());
  screen.line("input", file->path());

  Report report{.options = options, .input_bytes = file->size()};
  const LogCollector collector;
  const auto move = options.served ? move_file_served : move_file;
  if (auto moved = move(*file, collector, interrupt, screen, report); !moved) {
    return std::unexpected(std::move(moved.error()));
  }
  if (options.corrupt_frame && *options.corrupt_frame >= report.transfer.checked.frames) {
    return failed("--corrupt-frame",
                  fmt::format("frame {} of {} never came (they are counted from 0)",
                              *options.corrupt_frame, report.transfer.checked.frames));
  }
  if (options.show_deadlock) {
    auto refusals = provoke_refusals(collector.sink());
    if (!refusals) return std::unexpected(std::move(refusals.error()));
    report.leaks.insert(report.leaks.end(), refusals->left.begin(), refusals->left.end());
    report.refusals = std::move(*refusals);
  }
  // The managers are gone: nothing more will be reported.
  const auto reported = collector.leaks();
  report.leaks.insert(report.leaks.end(), reported.begin(), reported.end());
  const auto others = collector.others();
  report.reports.insert(report.reports.end(), others.begin(), others.end());
  return report;
}

int run(int argc, const char* const* argv) {
  const auto parsed = parse_options(argc, argv);
  if (const int* status = std::get_if<int>(&parsed)) return *status;
  const Options& options = std::get<Options>(parsed);
  if (options.place.role != Role::Coordinator) return run_role(options);
  Screen screen(options.json);

  auto interrupt = Interrupt::create();
  const auto report = interrupt ? make_report(options, *interrupt, screen)
                                : Outcome<Report>(std::unexpected(interrupt.error()));
  if (!report) {
    fmt::print(stderr, "resmgr-demo: {}\n", report.error().text);
    return kCouldNotRun;
  }
  if (options.json) {
    fmt::print("{}\n", to_json(*report));
  } else {
    show(*report, screen);
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    fmt::print(stderr, "resmgr-demo: standard output can't be written\n");
    return kCouldNotRun;
  }
  return report->all_well() ? kSuccess : kCheckFailed;
}

}  // namespace
}  // namespace demo

int main(int argc, char** argv) {
  try {
    return demo::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "resmgr-demo: %s\n", error.what());
    return demo::kCouldNotRun;
  }
}
