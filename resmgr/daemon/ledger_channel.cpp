// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/ledger_channel.hpp"

#include <poll.h>
#include <signal.h>

#include <array>
#include <cerrno>
#include <span>

#include "resmgr/base/clock.hpp"

namespace resmgr::daemon {
namespace {

enum class EntryKind : std::uint32_t { FileKept, FileDropped, Prepared, Begin, Ready };

struct LedgerEntry {
  EntryKind kind{};
  std::uint32_t reserved = 0;
  std::uint64_t handle = 0;
};

// A keeper that is gone takes the worker with it: what could not be written down then is nobody's
// loss.
void write(PacketSocket& socket, const LedgerEntry& entry, int fd = -1) {
  const std::array fds{fd};
  (void)socket.send(std::as_bytes(std::span(&entry, 1)), std::span(fds).first(fd >= 0 ? 1 : 0));
}

}  // namespace

void LedgerChannel::file_kept(Handle handle, int file) {
  write(socket_, {.kind = EntryKind::FileKept, .handle = handle.bits()}, file);
  if (!receipts_) return;
  // None comes from a keeper that is gone.
  LedgerEntry receipt;
  (void)socket_.receive(std::as_writable_bytes(std::span(&receipt, 1)), 0);
}

void LedgerChannel::file_dropped(Handle handle) {
  write(socket_, {.kind = EntryKind::FileDropped, .handle = handle.bits()});
}

void LedgerChannel::client_came(const Client& client) { file_.came(client); }

void LedgerChannel::client_leaves(const Client& client) { file_.leaves(client); }

void LedgerChannel::client_went(const Client& client) { file_.went(client); }

void LedgerChannel::drained(std::uint32_t driver, bool is_so) { file_.drained(driver, is_so); }

bool LedgerChannel::may_begin() {
  write(socket_, {.kind = EntryKind::Prepared});
  sigset_t signals;
  if (::sigprocmask(SIG_SETMASK, nullptr, &signals) != 0) return false;
  ::sigdelset(&signals, SIGTERM);
  pollfd wait{socket_.fd(), POLLIN, 0};
  while (::ppoll(&wait, 1, nullptr, &signals) < 0 && errno == EINTR) {
  }
  LedgerEntry answer;
  const auto packet = socket_.receive(std::as_writable_bytes(std::span(&answer, 1)), 0);
  return packet && answer.kind == EntryKind::Begin;
}

void LedgerChannel::ready() { write(socket_, {.kind = EntryKind::Ready}); }

Result<void> Estate::read(PacketSocket& socket) {
  LedgerEntry entry;
  auto packet = socket.receive(std::as_writable_bytes(std::span(&entry, 1)), 1);
  if (!packet) return std::unexpected(std::move(packet.error()));
  if (packet->bytes != sizeof(entry)) return fail(ErrorCode::System, "half an entry");
  const Handle handle = Handle::from_bits(entry.handle);
  switch (entry.kind) {
    case EntryKind::FileKept:
      if (packet->fd_count != 1) break;
      if (on_file) {
        on_file(handle, packet->fds[0].get());
        write(socket, entry);
      }
      files[handle] = std::move(packet->fds[0]);
      break;
    case EntryKind::FileDropped:
      files.erase(handle);
      if (on_file) on_file(handle, -1);
      break;
    case EntryKind::Prepared:
      waits_to_begin = true;
      break;
    case EntryKind::Ready:
      heard_at = monotonic_ns();
      break;
    case EntryKind::Begin:
      break;  // a keeper's
  }
  return {};
}

void Estate::let_begin(PacketSocket& socket) {
  waits_to_begin = false;
  write(socket, {.kind = EntryKind::Begin});
}

}  // namespace resmgr::daemon
