// SPDX-License-Identifier: Apache-2.0
//
// Registration: the request that registers a batch of resources.
//
// What it is: a writer that fills one frame with records, and a reader that takes them out one by
// one, without a copy of the batch. A frame whose parts don't fit together is refused as a whole,
// before any record of it is read; a record that says what it must not is refused alone, so that
// its neighbours don't suffer. What it is not: permission, nor a look at other resources; see
// RegistryWriter::prepare().
//
// Lifetime: writers borrow their buffer. A request views the frame's bytes, and so do the texts of
// records. Thread-safety: as plain values.
//
//   RegisterWriter writer(request_id, out);
//   while (!records.empty() && writer.add(records.front())) records.pop_front();
//   auto bytes = writer.finish();
//   ...
//   auto request = RegisterRequest::decode(frame);
//   for (RecordReader reader(*request); !reader.over();) serve(reader.next());
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "resmgr/abi/description.hpp"
#include "resmgr/abi/frame.hpp"
#include "resmgr/abi/frame_writer.hpp"
#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/error.hpp"

namespace resmgr::wire {

/// One resource to register.
struct Record {
  std::string_view name = {};
  /// All but owner_client and created_at, which the receiver knows himself.
  Description description = {};
  std::optional<std::uint16_t> fd = {};  ///< its place among those beside the frame
  bool lazy = false;          ///< its memory is made at the first use; has no fd until then
  bool access_hook = false;   ///< its owner wants to know of acquisitions
  bool quiesce_hook = false;  ///< its owner answers QuiesceEvent
  bool needs_next = false;    ///< depends on the resource of the next record: both or none

  /// Errors: InvalidName (of the resource or its class), InvalidArgument (check_description(),
  /// check_pairs(), an fd that can't be, a lazy one with an fd).
  [[nodiscard]] Result<void> check() const noexcept;
};

class RegisterWriter {
 public:
  RegisterWriter(std::uint64_t request_id, std::span<std::byte> out) noexcept;

  /// Adds a record. A refused one leaves the frame as it was. Errors: CapacityExceeded (no room in
  /// the buffer or in a frame: send this one first), those of Record::check().
  [[nodiscard]] Result<void> add(const Record& record) noexcept;
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  /// Returns the bytes of the frame. Errors: InvalidArgument (no record; the request id is 0),
  /// CapacityExceeded (no room even for that).
  [[nodiscard]] Result<std::size_t> finish() noexcept;

 private:
  FrameWriter writer_;
  std::uint32_t count_ = 0;
  std::uint16_t fds_ = 0;
};

/// A batch whose records are all whole.
class RegisterRequest {
 public:
  /// Errors: InvalidArgument (another type; a part too short, or too long for its minor; lengths
  /// that don't add up; other fds beside the frame than those that records name).
  [[nodiscard]] static Result<RegisterRequest> decode(const Frame& frame) noexcept;

  /// At least 1.
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

 private:
  friend class RecordReader;

  Frame records_;                ///< `variable` is one record behind the other
  std::size_t fixed_bytes_ = 0;  ///< of a record
  std::uint32_t count_ = 0;
};

class RecordReader {
 public:
  explicit RecordReader(const RegisterRequest& request) noexcept
      : rest_(request.records_), fixed_bytes_(request.fixed_bytes_), left_(request.count_) {}

  [[nodiscard]] bool over() const noexcept { return left_ == 0; }
  /// The next record; its pairs are valid until the next call. Errors are this record's own, and
  /// the next call goes on behind it: see Record::check(). REQUIRES: not over().
  [[nodiscard]] Result<Record> next() noexcept;

 private:
  Frame rest_;  ///< the records not read yet
  std::size_t fixed_bytes_;
  std::uint32_t left_;
  std::array<PairText, RM_MAX_PAIRS> pairs_{};
};

}  // namespace resmgr::wire
