// SPDX-License-Identifier: Apache-2.0
//
// The layouts of the wire stay where they are: what is not at the end of a fixed part never moves.
#include "resmgr/abi/wire.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "resmgr/abi/requests.hpp"
#include "tests/abi/wire_support.hpp"

namespace resmgr::wire::test {
namespace {

static_assert(sizeof(rm_frame_header) == 32);
static_assert(offsetof(rm_frame_header, magic) == 0);
static_assert(offsetof(rm_frame_header, major) == 4);
static_assert(offsetof(rm_frame_header, minor) == 6);
static_assert(offsetof(rm_frame_header, type) == 8);
static_assert(offsetof(rm_frame_header, flags) == 10);
static_assert(offsetof(rm_frame_header, fixed_bytes) == 12);
static_assert(offsetof(rm_frame_header, fds) == 14);
static_assert(offsetof(rm_frame_header, frame_bytes) == 16);
static_assert(offsetof(rm_frame_header, request_id) == 24);

static_assert(sizeof(rm_wire_client) == 32);
static_assert(sizeof(rm_wire_hello) == 48);
static_assert(offsetof(rm_wire_hello, layout_major) == 36);
static_assert(offsetof(rm_wire_hello, driver_bytes) == 40);
static_assert(sizeof(rm_wire_register) == 8);
static_assert(sizeof(rm_wire_record) == 64);
static_assert(offsetof(rm_wire_record, type) == 8);
static_assert(offsetof(rm_wire_record, size_bytes) == 16);
static_assert(offsetof(rm_wire_record, numa_node) == 48);
static_assert(offsetof(rm_wire_record, fd_index) == 60);
static_assert(sizeof(rm_wire_handle) == 8);
static_assert(sizeof(rm_wire_share) == 24);
static_assert(sizeof(rm_wire_dependency) == 16);
static_assert(sizeof(rm_wire_set_state) == 16);
static_assert(sizeof(rm_wire_open_fd) == 16);
static_assert(sizeof(rm_wire_intern_driver) == 8);
static_assert(sizeof(rm_wire_drain) == 8);
static_assert(sizeof(rm_wire_regions) == 48);
static_assert(sizeof(rm_wire_welcome) == 56);
static_assert(sizeof(rm_wire_result) == 32);
static_assert(offsetof(rm_wire_result, text_bytes) == 24);
static_assert(sizeof(rm_wire_registered) == 8);
static_assert(sizeof(rm_wire_registered_item) == 16);
static_assert(sizeof(rm_wire_quiesce) == 24);
static_assert(sizeof(rm_wire_closing) == 8);
static_assert(sizeof(rm_wire_missed) == 8);

TEST(WireLayout, AFrameIsTheseBytes) {
  const Bytes frame = frame_of(ShareRequest{.handle = Handle(0x01020304, 0x0a0b0c, 0x0d),
                                            .driver = "dma-edu",
                                            .rights = Rights::Acquire | Rights::Read});
  const std::array<unsigned char, 63> expected{
      'R',  'M',  'W',  'P',  1,    0,    0,    0,     // magic, version 1.0
      0x06, 0x01, 0,    0,    24,   0,    0,    0,     // type, flags, fixed part, fds
      63,   0,    0,    0,    0,    0,    0,    0,     // bytes, reserved
      0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,  // request id
      0x0d, 0x0c, 0x0b, 0x0a, 0x04, 0x03, 0x02, 0x01,  // handle
      0,    0,    0,    0,    3,    0,    0,    0,     // number of the driver, rights
      7,    0,    0,    0,    0,    0,    0,    0,     // bytes of its name
      'd',  'm',  'a',  '-',  'e',  'd',  'u'};
  ASSERT_EQ(frame.size(), expected.size());
  EXPECT_EQ(std::memcmp(frame.data(), expected.data(), expected.size()), 0);
}

}  // namespace
}  // namespace resmgr::wire::test
