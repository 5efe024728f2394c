// SPDX-License-Identifier: Apache-2.0
#include <hal/resource.hpp>

#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using test::code_of;
using MemoryTest = test::ManagerTest;

// Memory that is not there would be SIGBUS in whoever touches it.
TEST_F(MemoryTest, FilesHaveTheSizeTheyAreSaidToHave) {
  const auto file_of = [](off_t bytes) {
    UniqueFd fd(::memfd_create("file", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(fd.get(), bytes), 0);
    return fd;
  };
  class Stingy final : public Backing {
   public:
    explicit Stingy(UniqueFd fd) : fd_(std::move(fd)) {}
    Result<BackingMemory> make(const std::string&, const ResourceMetadata& metadata) override {
      return BackingMemory{std::move(fd_), metadata.size_bytes};
    }

   private:
    UniqueFd fd_;
  };
  RegisterOptions short_file;
  short_file.fd = file_of(4096);
  EXPECT_EQ(code_of(manager_->register_resource("a", {.size_bytes = 4097}, std::move(short_file))),
            ErrorCode::InvalidArgument);
  RegisterOptions short_backing;
  short_backing.backing = std::make_shared<Stingy>(file_of(4096));
  EXPECT_EQ(
      code_of(manager_->register_resource("a", {.size_bytes = 4097}, std::move(short_backing))),
      ErrorCode::System);
  EXPECT_EQ(manager_->size(), 0u);
  RegisterOptions right;
  right.fd = file_of(4096);
  EXPECT_TRUE(manager_->register_resource("a", {.size_bytes = 4096}, std::move(right)));
}

}  // namespace
}  // namespace hal
