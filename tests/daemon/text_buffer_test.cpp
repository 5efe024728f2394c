// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/text_buffer.hpp"

#include <gtest/gtest.h>

#include <string>

namespace resmgr::daemon {
namespace {

TEST(Text, IsPutTogether) {
  TextBuffer text;
  text.add("a ").add(std::uint64_t{0}).add(" ").add(~std::uint64_t{0}).add_escaped(" b");
  EXPECT_EQ(text.text(), "a 0 18446744073709551615 b");
  EXPECT_EQ(text.line(), "a 0 18446744073709551615 b\n");
}

TEST(Text, ShowsWhatItIsMadeOf) {
  for (int byte = 0; byte < 256; ++byte) {
    TextBuffer text;
    const char raw = static_cast<char>(byte);
    text.add_escaped({&raw, 1});
    const bool is_printable = byte >= 0x20 && byte < 0x7f;
    EXPECT_EQ(text.text().size(), is_printable ? 1u : 4u) << byte;
    for (const char shown : text.text()) {
      EXPECT_TRUE(shown >= 0x20 && shown < 0x7f) << byte;
    }
  }
  // Line breaks, a terminal's commands, and a mark that turns the direction of writing.
  EXPECT_EQ(TextBuffer().add_escaped("a\r\n\x1b[2J\xe2\x80\xae").text(),
            "a\\x0d\\x0a\\x1b[2J\\xe2\\x80\\xae");
}

TEST(Text, ThatIsTooLongIsCutBetweenItsParts) {
  constexpr std::size_t kRoom = TextBuffer::kMaxBytes - 4;
  for (std::size_t size = kRoom - 6; size <= kRoom + 2; ++size) {
    TextBuffer text;
    text.add(std::string(size, 'x')).add_escaped("\n").add("tail");
    const std::string line(text.line());
    EXPECT_LE(line.size(), TextBuffer::kMaxBytes);
    EXPECT_TRUE(line.ends_with("...\n")) << size;
    EXPECT_EQ(line.contains('\\'), size + 4 <= kRoom) << size;
    EXPECT_EQ(line.contains("\\x0a"), size + 4 <= kRoom) << size;
  }
  TextBuffer exact;
  exact.add(std::string(kRoom, 'x'));
  EXPECT_EQ(exact.text(), std::string(kRoom, 'x'));
}

}  // namespace
}  // namespace resmgr::daemon
