// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/report.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstddef>

namespace demo {
namespace {

std::string time_text(double ns) {
  if (ns < 1e4) return fmt::format("{:.0f} ns", ns);
  if (ns < 1e6) return fmt::format("{:.1f} us", ns / 1e3);
  if (ns < 1e9) return fmt::format("{:.1f} ms", ns / 1e6);
  return fmt::format("{:.1f} s", ns / 1e9);
}
std::string time_text(std::uint64_t ns) { return time_text(static_cast<double>(ns)); }
std::string time_text(std::chrono::nanoseconds time) {
  return time_text(static_cast<double>(time.count()));
}

std::string size_text(double bytes) {
  constexpr std::array<const char*, 4> kUnits{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{:.0f} bytes", bytes);
  std::size_t unit = 0;
  for (bytes /= 1024; bytes >= 1024 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024;
  return fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

void show_checks(const CheckResult& checked, Screen& screen) {
  if (checked.wrong == 0) {
    screen.line("crc32c", checked.frames == 0 ? "no frames to check"
                                              : "file, DMA engine and buffer agree on every frame");
    return;
  }
  screen.line("crc32c", fmt::format("WRONG in {} of {} frames", checked.wrong, checked.frames));
  for (const WrongFrame& wrong : checked.first_wrong) {
    screen.line("", fmt::format("frame {} (file bytes {} to {}): file {:08x}, engine {:08x}, "
                                "buffer {:08x}",
                                wrong.note.number, wrong.note.offset,
                                wrong.note.offset + wrong.note.bytes - 1, wrong.file_crc,
                                wrong.note.engine_crc, wrong.buffer_crc));
  }
}

void show_waits(const Report& report, Screen& screen) {
  const TransferResult& transfer = report.transfer;
  const auto& quick = transfer.acquired_at_once;
  screen.line("acquire", fmt::format("{} at once: p50 {}, p99 {}", quick.samples,
                                     time_text(quick.p50), time_text(quick.p99)));
  const auto& waited = transfer.waited;
  if (waited.samples == 0) {
    screen.line("contention", "nobody waited");
  } else {
    screen.line("contention",
                fmt::format("{} waited: the checker {} times for a frame to be filled,\n"
                            "the producer {} times for one to be free;\n"
                            "p50 {}, p99 {}, longest {}",
                            waited.samples, transfer.checked.waits, transfer.producer_waits,
                            time_text(waited.p50), time_text(waited.p99),
                            time_text(transfer.longest_wait_ns)));
  }
  if (transfer.checked.hiccups != 0) {
    screen.line("", fmt::format("(the checker was late by chance {} times: --hiccups {} --seed {})",
                                transfer.checked.hiccups, report.options.hiccups_percent,
                                report.options.seed));
  }
}

void show_ticks(const TransferResult& transfer, Screen& screen) {
  const auto& ticks = transfer.ticks;
  if (ticks.expirations == 0) return;
  screen.line("pace", fmt::format("{} ticks, {} of them seen late together; p50 {} late, p99 {}",
                                  ticks.expirations, ticks.overruns, time_text(ticks.lateness.p50),
                                  time_text(ticks.lateness.p99)));
}

void show_deadlock(const Deadlock& deadlock, Screen& screen) {
  screen.line("", "");
  for (const Party& party : deadlock.parties) {
    screen.line(&party == deadlock.parties.data() ? "deadlock" : "",
                fmt::format("{} holds {} and asks for {}", party.driver, party.had, party.wanted));
  }
  for (const Party& party : deadlock.parties) {
    if (!party.refused) {
      screen.line("",
                  fmt::format("{} got {} once the other had let go", party.driver, party.wanted));
      continue;
    }
    screen.line("", fmt::format("{} was refused before it could wait for ever:", party.driver));
    screen.line("message", party.refused->message());
    const auto& cycle = party.refused->cycle();
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      const auto& waiter = cycle[i];
      const auto& holder = cycle[(i + 1) % cycle.size()];
      screen.line(
          i == 0 ? "cycle" : "",
          fmt::format("{} (pid {}, context {}) waits for {}, which {} holds", waiter.driver.data(),
                      waiter.pid, waiter.context, waiter.resource.data(), holder.driver.data()));
    }
  }
  if (!deadlock.as_promised()) screen.line("", "NOT REFUSED as it should have been");
}

void show_inversion(const Inversion& inversion, Screen& screen) {
  screen.line("", "");
  screen.line("lock order",
              "camera takes a dma-channel, then a gpu-buffer, and lets go of both;\n"
              "then it takes the gpu-buffer first, and asks for the dma-channel");
  if (!inversion.refused || !inversion.as_promised()) {
    screen.line("", "NOT REFUSED as it should have been");
    return;
  }
  screen.line("", "refused, though nobody was in the way: one day somebody would be");
  screen.line("message", inversion.refused->message());
}

}  // namespace

bool Report::all_well() const {
  const bool refused =
      !refusals || (refusals->deadlock.as_promised() && refusals->inversion.as_promised());
  const bool killed_as_promised = !killed || killed->times == killed->promised;
  return crc_ok() && leaks.empty() && refused && killed_as_promised;
}

double Report::bytes_per_second() const noexcept {
  const double bytes = static_cast<double>(transfer.checked.bytes);
  return bytes > 0 && transfer.seconds > 0 ? bytes / transfer.seconds : 0;
}

void show(const Report& report, Screen& screen) {
  const TransferResult& transfer = report.transfer;
  screen.line("moved",
              fmt::format("{} frames, {} in {:.3f} s: {} a second{}", transfer.checked.frames,
                          size_text(static_cast<double>(transfer.checked.bytes)), transfer.seconds,
                          size_text(report.bytes_per_second()),
                          transfer.interrupted ? " (interrupted)" : ""));
  show_checks(transfer.checked, screen);
  show_waits(report, screen);
  show_ticks(transfer, screen);
  if (report.killed && report.killed->times != 0) {
    screen.line("killed", fmt::format("the DMA driver, once; {} until its channel was usable again",
                                      time_text(report.killed->recovered)));
  }
  if (report.refusals) {
    show_deadlock(report.refusals->deadlock, screen);
    show_inversion(report.refusals->inversion, screen);
    screen.line("", "");
  }
  for (const std::string& line : report.reports) screen.line("reported", line);
  if (report.leaks.empty()) {
    screen.line("leaks", "none: nothing is held, nothing was left behind or stays registered");
  }
  for (const std::string& line : report.leaks) screen.line("LEAK", line);
}

}  // namespace demo
