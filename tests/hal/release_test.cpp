// SPDX-License-Identifier: Apache-2.0
//
// Releases of what is not held: twice, by others, by names of other holds. Whoever holds the
// resource keeps it.
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using test::code_of;

class ReleaseTest : public test::ManagerTest {
 protected:
  [[nodiscard]] Result<ScopedResource> acquire(HoldKind kind, Context* context = nullptr) {
    return manager_->acquire_scoped_resource(handle_,
                                             AcquireOptions{.kind = kind, .context = context});
  }
  /// Whether another thread finds the resource held, and by how many.
  [[nodiscard]] std::size_t holders() {
    return manager_->get_resource_stats(handle_)->holders.size();
  }

  void SetUp() override {
    ManagerTest::SetUp();
    handle_ = add("a");
  }

  Handle handle_;
};

TEST_F(ReleaseTest, TwiceIsAnErrorTheSecondTime) {
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    auto hold = acquire(kind);
    ASSERT_TRUE(hold);
    EXPECT_TRUE(manager_->release_resource(handle_));
    EXPECT_EQ(code_of(manager_->release_resource(handle_)), ErrorCode::NotPermitted);
    EXPECT_EQ(code_of(hold->release()), ErrorCode::NotPermitted);
    EXPECT_EQ(code_of(hold->release()), ErrorCode::NotPermitted) << "empty by now";
    EXPECT_EQ(holders(), 0u);
  }
}

TEST_F(ReleaseTest, ARefWhoseHoldIsGoneTakesNothingFromOthers) {
  Context other = manager_->create_context().value();
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    auto released = acquire(kind);
    ASSERT_TRUE(released);
    EXPECT_TRUE(manager_->release_resource(released->handle()));
    {
      const auto theirs = acquire(kind, &other);
      ASSERT_TRUE(theirs);
      EXPECT_EQ(code_of(manager_->release_resource(handle_)), ErrorCode::NotPermitted);
      EXPECT_EQ(code_of(released->downgrade()),
                kind == HoldKind::Shared ? ErrorCode::InvalidArgument : ErrorCode::NotPermitted);
      EXPECT_EQ(code_of(released->try_upgrade()),
                kind == HoldKind::Shared ? ErrorCode::NotPermitted : ErrorCode::InvalidArgument);
      EXPECT_EQ(code_of(released->consistent()), ErrorCode::NotPermitted);
      released = ScopedResource();  // destroys it as a scope does
      EXPECT_EQ(holders(), 1u);
    }
    EXPECT_EQ(holders(), 0u);
  }
}

// I10: a handle of an earlier registration, or with the tenure of another hold, releases nothing.
TEST_F(ReleaseTest, OtherNamesReleaseNothing) {
  auto old = acquire(HoldKind::Exclusive);
  ASSERT_TRUE(old);
  const Handle before = handle_;
  EXPECT_TRUE(old->release());
  ASSERT_TRUE(manager_->unregister_resource(handle_));
  handle_ = add("a");
  ASSERT_EQ(handle_.slot(), before.slot());
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    const auto hold = acquire(kind);
    ASSERT_TRUE(hold);
    EXPECT_EQ(code_of(manager_->release_resource(before)), ErrorCode::StaleHandle);
    for (unsigned tenure = 1; tenure < 256; ++tenure) {
      const Handle named =
          hold->handle().with_tenure(static_cast<std::uint8_t>(hold->handle().tenure() + tenure));
      EXPECT_EQ(code_of(manager_->release_resource(named)), ErrorCode::Revoked);
    }
    EXPECT_EQ(holders(), 1u);
  }
}

TEST_F(ReleaseTest, ByAContextThatHoldsNothing) {
  Context other = manager_->create_context().value();
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    const auto hold = acquire(kind);
    ASSERT_TRUE(hold);
    EXPECT_EQ(code_of(manager_->release_resource(handle_, &other)), ErrorCode::NotPermitted);
    std::thread stranger(
        [&] { EXPECT_EQ(code_of(manager_->release_resource(handle_)), ErrorCode::NotPermitted); });
    stranger.join();
    EXPECT_EQ(holders(), 1u);
  }
}

// Holds are the context's, as release_resource() says: it has one of a resource at most, so the old
// ref names the new hold. Nobody else's is touched.
TEST_F(ReleaseTest, AnOldRefReleasesWhatItsOwnContextAcquiredAnew) {
  auto old = acquire(HoldKind::Exclusive);
  ASSERT_TRUE(old);
  ASSERT_TRUE(manager_->release_resource(handle_));
  auto anew = acquire(HoldKind::Exclusive);
  ASSERT_TRUE(anew);
  EXPECT_TRUE(old->release());
  EXPECT_EQ(holders(), 0u);
  EXPECT_EQ(code_of(anew->release()), ErrorCode::NotPermitted);
  // Of the other kind it is not what the ref has.
  old = acquire(HoldKind::Exclusive);
  ASSERT_TRUE(manager_->release_resource(handle_));
  anew = acquire(HoldKind::Shared);
  EXPECT_EQ(code_of(old->release()), ErrorCode::NotPermitted);
  EXPECT_EQ(holders(), 1u);
}

}  // namespace
}  // namespace hal
