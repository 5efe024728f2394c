// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/ledger_channel.hpp"

#include <array>
#include <span>

#include "resmgr/base/clock.hpp"

namespace resmgr::daemon {
namespace {

enum class EntryKind : std::uint32_t { FileKept, FileDropped, Ready };

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
    case EntryKind::Ready:
      heard_at = monotonic_ns();
      break;
  }
  return {};
}

}  // namespace resmgr::daemon
