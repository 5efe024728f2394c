// SPDX-License-Identifier: Apache-2.0
//
// ServedHardware: what Hardware is, with each driver in a process of its own and resmgrd between
// them; and the coordinator's part of it.
//
// What it is: the private resmgrd, the processes of the timer driver, of the DMA driver and of the
// GPU driver with the checker; and what the coordinator registers: demo/input, a window of memory
// that the file is read into, demo/notes beside the frames, and demo/stream, an aggregate of timer
// and window. Frames, files and queues pass between the processes by resmgrd alone, by the rights
// that their owners gave. What it is not: who uses it; see served_stream.hpp.
//
// Lifetime: ends after all holds and users; its processes end with it. Thread-safety: one thread,
// which must be the one that made it: its end is the processes' end.
//
//   auto hardware = ServedHardware::create(options, collector.sink());
//   ... work ...
//   for (const std::string& line : (*hardware)->close()) complain(line);
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <hal/resource_manager.hpp>

#include "tools/demo/daemon_process.hpp"
#include "tools/demo/dma_link.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/options.hpp"
#include "tools/demo/pool.hpp"
#include "tools/demo/role_process.hpp"
#include "tools/demo/screen.hpp"

namespace demo {

class ServedHardware {
  struct Key {};  // only create() has one

 public:
  [[nodiscard]] static Outcome<std::unique_ptr<ServedHardware>> create(const Options& options,
                                                                       hal::LogSink log);
  ServedHardware(Key, const Options& options, DaemonProcess daemon,
                 std::unique_ptr<hal::ResourceManager> manager) noexcept;
  ServedHardware(const ServedHardware&) = delete;
  ServedHardware& operator=(const ServedHardware&) = delete;
  ~ServedHardware() = default;

  [[nodiscard]] hal::ResourceManager& manager() noexcept { return *manager_; }
  [[nodiscard]] hal::DriverId producer() const noexcept { return producer_; }
  [[nodiscard]] hal::Handle timer() const noexcept { return timer_channel_; }
  [[nodiscard]] hal::Handle window() const noexcept { return window_; }
  [[nodiscard]] hal::Handle stream() const noexcept { return stream_; }
  [[nodiscard]] std::uint64_t frame_bytes() const noexcept { return frame_bytes_; }
  [[nodiscard]] Pool pool();
  [[nodiscard]] RoleProcess& checker() noexcept { return *checker_; }
  [[nodiscard]] RoleProcess& dma() noexcept { return *dma_; }
  /// A new link to the DMA driver that runs now, in place of the last one, which was buried.
  Outcome<void> open_link();
  /// REQUIRES: open_link() went well.
  [[nodiscard]] DmaLink& link() noexcept { return *link_; }
  /// Starts another DMA driver in place of the one that was killed. Fails if that one ended
  /// otherwise.
  Outcome<void> restart_dma();
  void describe(Screen& screen) const;

  /// Unregisters everything, and ends the processes. Returns a line for each hold and for each
  /// resource that was left, and for each process that ended badly.
  [[nodiscard]] std::vector<std::string> close();
  /// What resmgrd reported beyond the usual. After close().
  [[nodiscard]] std::vector<std::string> reports() const { return daemon_.reports(); }

 private:
  Outcome<void> start_processes();
  Outcome<void> name_drivers();
  Outcome<void> add_memory();
  Outcome<void> add_stream();
  void unregister_own(std::vector<std::string>& left);
  void look_for_leaks(std::vector<std::string>& left) const;

  Options options_;
  DaemonProcess daemon_;
  std::unique_ptr<hal::ResourceManager> manager_;
  hal::DriverId producer_;
  hal::DriverId checker_driver_;
  hal::DriverId dma_driver_;
  // Empty once they were stopped.
  std::unique_ptr<RoleProcess> timer_;
  std::unique_ptr<RoleProcess> checker_;
  std::unique_ptr<RoleProcess> dma_;
  std::unique_ptr<DmaLink> link_;
  std::uint32_t links_ = 0;  ///< made so far
  std::uint64_t frame_bytes_ = 0;
  std::vector<hal::Handle> frames_;
  std::span<FrameNote> notes_;
  hal::Handle timer_channel_;
  hal::Handle window_;
  hal::Handle notes_handle_;
  hal::Handle stream_;
};

}  // namespace demo
