// SPDX-License-Identifier: Apache-2.0
#include "drivers/gpu/buffer.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

namespace drivers::gpu {
namespace {

using hal::ErrorCode;
using hal::Result;
using resmgr::fail;

}  // namespace

// ---- CpuAccessScope ----------------------------------------------------------------------------

CpuAccessScope::CpuAccessScope(std::shared_ptr<Buffer> buffer, CpuAccess access,
                               std::span<std::byte> bytes) noexcept
    : buffer_(std::move(buffer)), access_(access), bytes_(bytes) {}

CpuAccessScope::CpuAccessScope(CpuAccessScope&& other) noexcept
    : buffer_(std::move(other.buffer_)),
      access_(other.access_),
      bytes_(std::exchange(other.bytes_, {})) {}

CpuAccessScope& CpuAccessScope::operator=(CpuAccessScope&& other) noexcept {
  if (this != &other) {
    static_cast<void>(end());
    buffer_ = std::move(other.buffer_);
    access_ = other.access_;
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

CpuAccessScope::~CpuAccessScope() { static_cast<void>(end()); }

Result<void> CpuAccessScope::end() noexcept {
  if (!buffer_) return fail(ErrorCode::InvalidArgument, "buffer: the access has ended");
  bytes_ = {};
  return std::exchange(buffer_, nullptr)->end_access(access_);
}

std::span<std::byte> CpuAccessScope::writable() const noexcept {
  return access_ == CpuAccess::Write ? bytes_ : std::span<std::byte>();
}

// ---- Buffer ------------------------------------------------------------------------------------

Buffer::Buffer(Key, const Backend& backend, std::unique_ptr<Storage> storage,
               const BufferLayout& layout)
    : backend_(&backend), storage_(std::move(storage)), layout_(layout) {}

Buffer::~Buffer() {
  if (address_) ::munmap(address_, layout_.size_bytes);
}

Result<std::span<std::byte>> Buffer::pin() {
  if (pins_ == 0) {
    const int protection =
        has_any(layout_.usage, BufferUsage::CpuWrite) ? PROT_READ | PROT_WRITE : PROT_READ;
    const int populate = has_any(layout_.usage, BufferUsage::Prefault) ? MAP_POPULATE : 0;
    void* address = ::mmap(nullptr, layout_.size_bytes, protection, MAP_SHARED | populate,
                           storage_->fd.get(), 0);
    if (address == MAP_FAILED) return resmgr::fail_errno(errno, "mmap of a buffer");
    address_ = static_cast<std::byte*>(address);
  }
  ++pins_;
  return std::span(address_, layout_.size_bytes);
}

void Buffer::unpin() noexcept {
  if (--pins_ > 0) return;
  ::munmap(std::exchange(address_, nullptr), layout_.size_bytes);
}

Result<std::span<std::byte>> Buffer::map_for(BufferUsage usage) {
  if (!has_any(layout_.usage, usage)) {
    return fail(ErrorCode::NotPermitted, "buffer: its usage excludes that map");
  }
  const std::lock_guard lock(mutex_);
  auto bytes = pin();
  if (bytes) ++maps_;
  return bytes;
}

Result<std::span<std::byte>> Buffer::map() { return map_for(BufferUsage::CpuWrite); }

Result<std::span<const std::byte>> Buffer::map_read() { return map_for(BufferUsage::CpuRead); }

Result<void> Buffer::unmap() {
  const std::lock_guard lock(mutex_);
  if (maps_ == 0) return fail(ErrorCode::InvalidArgument, "buffer: not mapped");
  --maps_;
  unpin();
  return {};
}

Result<CpuAccessScope> Buffer::begin_cpu_access(const hal::ScopedResource& hold, CpuAccess access) {
  if (access != CpuAccess::Read && access != CpuAccess::Write) {
    return fail(ErrorCode::InvalidArgument, "buffer: unknown access");
  }
  if (!hold || hold.handle() != handle_) {
    return fail(ErrorCode::InvalidArgument, "buffer: not a hold on it");
  }
  const bool write = access == CpuAccess::Write;
  if (write && hold.kind() != hal::HoldKind::Exclusive) {
    return fail(ErrorCode::NotPermitted, "buffer: a shared hold can't write");
  }
  if (!has_any(layout_.usage, write ? BufferUsage::CpuWrite : BufferUsage::CpuRead)) {
    return fail(ErrorCode::NotPermitted, "buffer: its usage excludes that access");
  }

  const std::lock_guard lock(mutex_);
  if (writing_ || (write && readers_ > 0)) {
    return fail(ErrorCode::InUse, "buffer: another access goes on");
  }
  auto bytes = pin();
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  if (auto begun = backend_->begin_access(*storage_, access); !begun) {
    unpin();
    return std::unexpected(std::move(begun.error()));
  }
  writing_ = write;
  if (!write) ++readers_;
  return CpuAccessScope(shared_from_this(), access, *bytes);
}

Result<void> Buffer::end_access(CpuAccess access) noexcept {
  const std::lock_guard lock(mutex_);
  if (access == CpuAccess::Write) {
    writing_ = false;
  } else {
    --readers_;
  }
  auto ended = backend_->end_access(*storage_, access);
  unpin();
  return ended;
}

Result<hal::UniqueFd> Buffer::export_fd() const {
  if (!has_any(layout_.usage, BufferUsage::Export)) {
    return fail(ErrorCode::NotPermitted, "buffer: its usage excludes export");
  }
  return storage_->fd.duplicate();
}

}  // namespace drivers::gpu
