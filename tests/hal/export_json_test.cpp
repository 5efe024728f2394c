// SPDX-License-Identifier: Apache-2.0
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using ExportJsonTest = test::ManagerTest;

TEST_F(ExportJsonTest, SaysWhatIsKnownOfAResource) {
  const Handle needed = add("buffer/0");
  const Handle handle = add("frame/0", {.type = ResourceType::Memory,
                                        .class_name = "frame",
                                        .size_bytes = std::uint64_t{1} << 40,
                                        .pairs = {{"format", "XR24"}, {"width", "640"}}});
  ASSERT_TRUE(manager_->add_dependency(handle, needed));
  auto hold = manager_->try_acquire(handle);
  ASSERT_TRUE(hold);
  const auto text = manager_->export_json(handle);
  ASSERT_TRUE(text);
  const auto json = nlohmann::json::parse(*text);
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("name"), "frame/0");
  EXPECT_EQ(json.at("type"), "memory");
  EXPECT_EQ(json.at("class"), "frame");
  EXPECT_EQ(json.at("state"), "locked");
  EXPECT_EQ(json.at("size_bytes"), std::uint64_t{1} << 40);
  EXPECT_EQ(json.at("numa_node"), -1);
  EXPECT_EQ(json.at("has_fd"), false);
  EXPECT_EQ(json.at("metadata"), (nlohmann::json{{"format", "XR24"}, {"width", "640"}}));
  EXPECT_EQ(json.at("needs"), nlohmann::json::array({"buffer/0"}));
  ASSERT_EQ(json.at("holders").size(), 1u);
  EXPECT_EQ(json.at("holders").at(0).at("kind"), "exclusive");
  EXPECT_EQ(json.at("statistics").at("exclusive_acquisitions"), 1);
}

TEST_F(ExportJsonTest, ShowsBothKindsOfEdges) {
  const DriverId gpu = manager_->register_driver("gpu").value();
  const DriverId dma = manager_->register_driver("dma").value();
  const DriverId checker = manager_->register_driver("checker").value();
  const auto owned = [&](const char* name, DriverId driver) {
    return manager_
        ->register_resource(name, {.flags = ResourceFlags::Shareable}, {.driver = driver})
        .value();
  };
  const Handle frame = owned("frame", gpu);
  const Handle buffer = owned("buffer", gpu);
  const Handle memory = owned("memory", gpu);
  (void)owned("channel", dma);
  ASSERT_TRUE(manager_->add_dependency(frame, buffer));
  ASSERT_TRUE(manager_->add_dependency(buffer, memory));
  ASSERT_TRUE(manager_->share_resource(buffer, gpu, dma, Rights::Acquire | Rights::Write));
  ASSERT_TRUE(manager_->share_resource(buffer, gpu, checker, Rights::Read));

  const auto parsed = [&](Handle handle) {
    return nlohmann::json::parse(manager_->export_json(handle).value());
  };
  const auto edge = [](const char* kind, const char* from, const char* to) {
    return nlohmann::json{{"kind", kind}, {"from", from}, {"to", to}};
  };
  const auto json = parsed(buffer);
  EXPECT_EQ(json.at("edges"), nlohmann::json::array({edge("needs", "buffer", "memory"),
                                                     edge("uses", "checker", "buffer"),
                                                     edge("uses", "dma", "buffer")}));
  EXPECT_EQ(json.at("shares"),
            nlohmann::json::array({{{"driver", "checker"}, {"rights", {"read"}}},
                                   {{"driver", "dma"}, {"rights", {"acquire", "write"}}}}));
  EXPECT_EQ(json.at("users"), nlohmann::json::array({"dma"}));
  EXPECT_EQ(parsed(frame).at("edges"), nlohmann::json::array({edge("needs", "frame", "buffer")}));
  EXPECT_EQ(parsed(frame).at("needs"), nlohmann::json::array({"buffer", "memory"}));
  EXPECT_EQ(parsed(frame).at("shares"), nlohmann::json::array());

  ASSERT_TRUE(manager_->unshare_resource(buffer, gpu, dma));
  EXPECT_EQ(parsed(buffer).at("users"), nlohmann::json::array());
  EXPECT_EQ(parsed(buffer).at("edges").size(), 2u);
}

// Nobody promised that a value is text, let alone harmless in JSON.
TEST_F(ExportJsonTest, AnyValueLeavesItSound) {
  const Handle handle =
      add("a", {.pairs = {{"quote", "\"}\\"}, {"control", "\n\x01"}, {"bytes", "\xff\xc3"}}});
  const auto text = manager_->export_json(handle);
  ASSERT_TRUE(text);
  const auto json = nlohmann::json::parse(*text);
  EXPECT_EQ(json.at("metadata").at("quote"), "\"}\\");
  EXPECT_EQ(json.at("metadata").at("control"), "\n\x01");
  EXPECT_EQ(json.at("metadata").at("bytes"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(json.at("holders"), nlohmann::json::array());
}

}  // namespace
}  // namespace hal
