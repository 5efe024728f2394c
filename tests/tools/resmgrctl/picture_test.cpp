// SPDX-License-Identifier: Apache-2.0
//
// What resmgrctl shows of a domain: the picture, its texts, its JSON, its graph.
#include "tools/resmgrctl/picture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/tools/resmgrctl/support.hpp"
#include "tools/resmgrctl/graph.hpp"
#include "tools/resmgrctl/json.hpp"
#include "tools/resmgrctl/print.hpp"
#include "tools/resmgrctl/words.hpp"

namespace resmgrctl::test {
namespace {

using resmgr::Handle;
using resmgr::HoldKind;
using resmgr::lock::Context;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class PictureTest : public ::testing::Test {
 protected:
  [[nodiscard]] Picture picture() const { return Picture::of(world.look()); }

  World world;
  std::uint32_t dma = world.driver("dma-edu");
  std::uint32_t gpu = world.driver("gpu-sim");
  Handle x = world.add("gpu0/frame/0", {.type = resmgr::ResourceType::Memory,
                                        .class_name = "gpu-buffer",
                                        .size_bytes = 4096,
                                        .flags = resmgr::ResourceFlags::Shareable,
                                        .owner_driver = gpu});
  Handle y = world.add(
      "dma0/channel/0",
      {.type = resmgr::ResourceType::Hardware, .class_name = "dma-channel", .owner_driver = dma});
  Context& a = world.open(dma);
  Context& b = world.open(gpu);
};

TEST_F(PictureTest, ShowsWhoHoldsAndWhoWaitsForWhom) {
  ASSERT_TRUE(world.acquire(a, x));
  Context& c = world.open();
  const Waiting first(world, b, x);
  const Waiting second(world, c, x, HoldKind::Shared);
  const Picture seen = picture();
  const Resource* const frame = seen.find("gpu0/frame/0");
  ASSERT_NE(frame, nullptr);
  EXPECT_EQ(frame->state, resmgr::Lifecycle::Locked);
  EXPECT_EQ(frame->class_name, "gpu-buffer");
  EXPECT_EQ(frame->owner_driver, "gpu-sim");
  EXPECT_EQ(frame->owner_pid, static_cast<std::uint32_t>(::getpid()));
  ASSERT_EQ(frame->holds.size(), 1u);
  EXPECT_EQ(frame->holds[0].who.driver, "dma-edu");
  EXPECT_EQ(frame->holds[0].who.context, a.id);
  EXPECT_EQ(frame->holds[0].who.process, Process::Alive);
  EXPECT_FALSE(frame->holds[0].offered);
  ASSERT_EQ(frame->waits.size(), 2u);
  EXPECT_EQ(frame->waits[0].who.context, b.id);
  ASSERT_EQ(frame->waits[0].blockers.size(), 1u);
  EXPECT_EQ(frame->waits[0].blockers[0].context, a.id);
  EXPECT_TRUE(frame->waits[0].blockers[0].holds);
  EXPECT_EQ(frame->waits[1].mode, RM_WAIT_SHARED);
  ASSERT_EQ(frame->waits[1].blockers.size(), 2u);
  EXPECT_EQ(frame->waits[1].blockers[1].context, b.id);
  EXPECT_FALSE(frame->waits[1].blockers[1].holds);
  EXPECT_EQ(seen.holds, 1u);
  EXPECT_EQ(seen.waits, 2u);
  EXPECT_EQ(seen.resource_use.used, 2u);
  EXPECT_EQ(seen.resource_use.capacity, kSmall.slots);
  EXPECT_EQ(seen.context_use.used, 3u);
}

TEST_F(PictureTest, SharersDoNotBlockEachOther) {
  ASSERT_TRUE(world.acquire(a, x, HoldKind::Shared));
  ASSERT_TRUE(world.acquire(b, x, HoldKind::Shared));
  Context& c = world.open();
  {
    const Waiting waiting(world, c, x);
    const Picture seen = picture();
    const Resource* const frame = seen.find(x);
    ASSERT_NE(frame, nullptr);
    EXPECT_EQ(frame->state, resmgr::Lifecycle::Active);
    EXPECT_EQ(frame->holds.size(), 2u);
    ASSERT_EQ(frame->waits.size(), 1u);
    EXPECT_EQ(frame->waits[0].blocker_count, 2u);
  }
  ASSERT_TRUE(world.release(a, x, HoldKind::Shared));
  ASSERT_TRUE(world.release(b, x, HoldKind::Shared));
  // What sharers leave behind in the word and in cells is no hold.
  const Picture seen = picture();
  EXPECT_THAT(seen.find(x)->holds, IsEmpty());
  EXPECT_EQ(seen.find(x)->state, resmgr::Lifecycle::Ready);
}

TEST_F(PictureTest, FindsNothingUnderAnOldHandle) {
  const Picture before = picture();
  world.remove(y, a);
  const Picture after = picture();
  EXPECT_NE(before.find(y), nullptr);
  EXPECT_EQ(after.find(y), nullptr);
  EXPECT_EQ(after.find("dma0/channel/0"), nullptr);
}

TEST_F(PictureTest, ListsWhatIsAskedFor) {
  ASSERT_TRUE(world.acquire(a, x));
  const Picture seen = picture();
  const auto list = [&](const Filter& filter) {
    const Json json = Json::parse(show_list(seen, {}, filter, true));
    std::string names;
    for (const auto& resource : json["resources"])
      names += resource["name"].get<std::string>() + ' ';
    return names;
  };
  EXPECT_EQ(list({}), "gpu0/frame/0 dma0/channel/0 ");
  EXPECT_EQ(list({.driver = "dma-edu"}), "dma0/channel/0 ");
  EXPECT_EQ(list({.type = "memory"}), "gpu0/frame/0 ");
  EXPECT_EQ(list({.class_name = "dma-channel"}), "dma0/channel/0 ");
  EXPECT_EQ(list({.state = "ready"}), "dma0/channel/0 ");
  EXPECT_EQ(list({.held = true}), "gpu0/frame/0 ");
  EXPECT_EQ(list({.waiting = true}), "");
  EXPECT_EQ(list({.type = "memory", .state = "ready"}), "");
}

TEST_F(PictureTest, TellsAllOfAResource) {
  const std::vector<resmgr::PairText> pairs{{.key = "format", .value = "a\x1b[31m\xff"}};
  const Handle frame = world.add("frame", {.pairs = pairs, .owner_driver = gpu});
  ASSERT_TRUE(world.state().writer().dependencies().add(frame, x));
  ASSERT_TRUE(world.state().writer().shares().share(x, gpu, dma, resmgr::Rights::Read));
  const Picture seen = picture();
  const Json json = Json::parse(show_resource(*seen.find(x), seen, true))["resource"];
  EXPECT_EQ(json["needed_by"], Json::array({"frame"}));
  EXPECT_EQ(json["shares"][0]["driver"], "dma-edu");
  EXPECT_EQ(json["shares"][0]["rights"], Json::array({"read"}));
  EXPECT_EQ(json["users"], Json::array({"dma-edu"}));
  EXPECT_EQ(json["flags"], Json::array({"shareable"}));
  EXPECT_EQ(json["size_bytes"], 4096);
  const Json needs = Json::parse(show_resource(*seen.find(frame), seen, true))["resource"];
  EXPECT_EQ(needs["needs"], Json::array({"gpu0/frame/0"}));
  // No value moves the cursor of who looks at it.
  const std::string text = show_resource(*seen.find(frame), seen, false);
  EXPECT_THAT(text, AllOf(HasSubstr("format = a?[31m?"), Not(HasSubstr("\x1b"))));
}

TEST_F(PictureTest, TellsPeopleWhomAWaiterWaitsFor) {
  ASSERT_TRUE(world.acquire(a, x));
  const Waiting waiting(world, b, x);
  const Picture seen = picture();
  const std::string waiters = show_waiters(seen, nullptr, false);
  EXPECT_THAT(waiters, HasSubstr("gpu0/frame/0  gpu-sim"));
  EXPECT_THAT(waiters, HasSubstr("dma-edu (pid " + std::to_string(::getpid())));
  EXPECT_THAT(show_waiters(seen, seen.find(y), false), Not(HasSubstr("gpu0")));
  EXPECT_THAT(show_holders(seen, nullptr, false), HasSubstr("exclusive"));
  EXPECT_THAT(show_status(seen, {.place = "here"}, false), HasSubstr("2 of 64"));
}

TEST_F(PictureTest, DrawsWaitsHoldsNeedsAndUses) {
  ASSERT_TRUE(world.acquire(a, x));
  const Waiting waiting(world, b, x);
  ASSERT_TRUE(world.state().writer().dependencies().add(x, y));
  ASSERT_TRUE(world.state().writer().shares().share(x, gpu, dma, resmgr::Rights::Acquire));
  const Picture seen = picture();
  const std::string waits = "context " + std::to_string(b.id);
  const std::string dot = to_dot(seen);
  EXPECT_THAT(dot, HasSubstr("digraph resmgr {"));
  EXPECT_THAT(dot, HasSubstr('"' + waits + "\" -> \"resource gpu0/frame/0\""));
  EXPECT_THAT(dot, HasSubstr("\"resource gpu0/frame/0\" -> \"context " + std::to_string(a.id)));
  EXPECT_THAT(dot, HasSubstr("\"resource gpu0/frame/0\" -> \"resource dma0/channel/0\""));
  EXPECT_THAT(dot, HasSubstr("\"driver dma-edu\" -> \"resource gpu0/frame/0\""));
  const Json json = Json::parse(to_graph_json(seen));
  EXPECT_EQ(json["edges"].size(), 4u);
  EXPECT_EQ(json["nodes"].size(), 5u);
}

/// A program that stands for Graphviz's.
std::string program(const std::string& folder, const std::string& script) {
  const std::string path = folder + "/dot";
  std::ofstream(path) << "#!/bin/sh\n" << script << '\n';
  EXPECT_EQ(::chmod(path.c_str(), 0755), 0);
  return path;
}

TEST(GraphTest, HasGraphvizDrawIt) {
  std::string folder = std::filesystem::temp_directory_path() / "resmgrctl-test-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const auto drawn = to_svg("digraph {}", program(folder, "echo \"<svg $1>\"; cat"));
  ASSERT_TRUE(drawn);
  EXPECT_EQ(*drawn, "<svg -Tsvg>\ndigraph {}");
  const auto refused = to_svg("digraph {}", program(folder, "exit 3"));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("status 3"));
  const auto missing = to_svg("digraph {}", folder + "/nothing");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().text, HasSubstr("install graphviz"));
  std::filesystem::remove_all(folder);
}

TEST(WordsTest, ShowValuesAsPeopleReadThem) {
  EXPECT_EQ(time_text(9'999), "9999 ns");
  EXPECT_EQ(time_text(10'000), "10.0 us");
  EXPECT_EQ(time_text(3'100'000), "3.1 ms");
  EXPECT_EQ(time_text(119'000'000'000), "119.0 s");
  EXPECT_EQ(time_text(600'000'000'000), "10 min");
  EXPECT_EQ(size_text(1023), "1023 B");
  EXPECT_EQ(size_text(4096), "4.0 KiB");
  EXPECT_EQ(priority_text(2), "normal");
  EXPECT_EQ(priority_text(0x104), "emergency critical");
  EXPECT_EQ(hex(0x100), "0x0000000000000100");
  Table table({"A", "LONGER"});
  table.add({"wide", "x"});
  EXPECT_EQ(table.text(), "A     LONGER\nwide  x\n");
}

}  // namespace
}  // namespace resmgrctl::test
