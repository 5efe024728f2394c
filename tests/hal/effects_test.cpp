// SPDX-License-Identifier: Apache-2.0
//
// Each flag and each access pattern has its documented effect, seen from outside: in what the
// kernel says of the mapping, or in what a call is answered.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <latch>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <hal/resource.hpp>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using test::code_of;
using enum ResourceFlags;

constexpr std::size_t kBytes = 256 << 10;

/// What /proc/self/smaps says of the mapping in which an address lies.
struct Vma {
  std::string permissions;
  std::map<std::string, std::uint64_t> kib;
  std::vector<std::string> flags;

  [[nodiscard]] bool has(std::string_view flag) const {
    return std::ranges::find(flags, flag) != flags.end();
  }
};

Vma vma_of(const std::byte* memory) {
  const auto address = std::bit_cast<std::uintptr_t>(memory);
  std::ifstream smaps("/proc/self/smaps");
  Vma found;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (first.back() != ':') {  // the line that begins a mapping: first-last, permissions
      if (inside) break;
      const std::size_t dash = first.find('-');
      inside = std::stoull(first.substr(0, dash), nullptr, 16) <= address &&
               address < std::stoull(first.substr(dash + 1), nullptr, 16);
      if (inside) words >> found.permissions;
    } else if (inside && first == "VmFlags:") {
      for (std::string flag; words >> flag;) found.flags.push_back(flag);
    } else if (inside) {
      words >> found.kib[first];
    }
  }
  EXPECT_FALSE(found.flags.empty()) << "not mapped, or a kernel that tells no flags";
  return found;
}

class EffectsTest : public test::ManagerTest {
 protected:
  void SetUp() override {
    ManagerTest::SetUp();
    owner_ = manager_->register_driver("owner").value();
    other_ = manager_->register_driver("other").value();
  }
  /// A resource of the owner with memory of its own.
  Handle add_memory(ResourceMetadata metadata) {
    metadata.type = ResourceType::Memory;
    if (metadata.size_bytes == 0) metadata.size_bytes = kBytes;
    RegisterOptions options;
    options.driver = owner_;
    options.backing = Backing::memfd();
    auto handle = manager_->register_resource("memory/" + std::to_string(manager_->size()),
                                              metadata, std::move(options));
    EXPECT_TRUE(handle) << handle.error().message();
    return handle.value_or(Handle());
  }
  std::span<std::byte> map_as(DriverId driver, Handle handle) {
    const auto memory = manager_->map(handle, driver);
    EXPECT_TRUE(memory) << memory.error().message();
    return memory.value_or(std::span<std::byte>());
  }
  Vma vma_with(ResourceMetadata metadata) {
    return vma_of(map_as(owner_, add_memory(std::move(metadata))).data());
  }

  DriverId owner_;
  DriverId other_;
};

TEST_F(EffectsTest, WithoutAPatternNothingIsAsked) {
  const Vma plain = vma_with({});
  EXPECT_EQ(plain.permissions, "rw-s");
  EXPECT_FALSE(plain.has("sr") || plain.has("rr") || plain.has("lo"));
  EXPECT_EQ(plain.kib.at("Rss:"), 0u);
  EXPECT_EQ(plain.kib.at("Locked:"), 0u);
}

TEST_F(EffectsTest, SequentialAndRandomAreToldToTheKernel) {
  const Vma sequential = vma_with({.access_pattern = AccessPattern::Sequential});
  EXPECT_TRUE(sequential.has("sr"));
  EXPECT_FALSE(sequential.has("rr"));
  const Vma random = vma_with({.access_pattern = AccessPattern::Random});
  EXPECT_TRUE(random.has("rr"));
  EXPECT_FALSE(random.has("sr"));
}

TEST_F(EffectsTest, ReadMostlyIsWrittenByItsOwnerAlone) {
  for (const AccessPattern pattern : {AccessPattern::Unspecified, AccessPattern::ReadMostly}) {
    const Handle handle = add_memory({.access_pattern = pattern, .flags = Shareable});
    ASSERT_TRUE(manager_->share_resource(handle, owner_, other_, Rights::All));
    EXPECT_EQ(vma_of(map_as(owner_, handle).data()).permissions, "rw-s");
    EXPECT_EQ(vma_of(map_as(other_, handle).data()).permissions,
              pattern == AccessPattern::ReadMostly ? "r--s" : "rw-s");
  }
}

TEST_F(EffectsTest, WriteOnceDoesNotGrow) {
  for (const AccessPattern pattern : {AccessPattern::Unspecified, AccessPattern::WriteOnce}) {
    const auto file = manager_->fd(add_memory({.access_pattern = pattern}), owner_);
    ASSERT_TRUE(file);
    const bool once = pattern == AccessPattern::WriteOnce;
    EXPECT_EQ(::ftruncate(file->get(), 2 * kBytes) != 0, once);
    EXPECT_NE(::ftruncate(file->get(), kBytes / 2), 0) << "nothing shrinks under its users";
    EXPECT_EQ((::fcntl(file->get(), F_GET_SEALS) & F_SEAL_GROW) != 0, once);
  }
}

TEST_F(EffectsTest, StreamingIsThereWhenItIsMapped) {
  const Handle handle =
      add_memory({.access_pattern = AccessPattern::Streaming, .flags = Shareable});
  ASSERT_TRUE(manager_->share_resource(handle, owner_, other_, Rights::Read));
  EXPECT_EQ(vma_of(map_as(owner_, handle).data()).kib.at("Rss:"), kBytes >> 10);
  const Vma readable = vma_of(map_as(other_, handle).data());
  EXPECT_EQ(readable.permissions, "r--s");
  EXPECT_EQ(readable.kib.at("Rss:"), kBytes >> 10);
}

// Sanitizers answer mlock() themselves, and lock nothing.
bool can_lock_memory() {
  auto* const page = static_cast<std::byte*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const bool locked = ::mlock(page, 4096) == 0 && vma_of(page).has("lo");
  ::munmap(page, 4096);
  return locked;
}

TEST_F(EffectsTest, ManyWhoMapAtOnceGetOneMapping) {
  // Populated while it is mapped, so that the others come in the middle.
  const Handle handle =
      add_memory({.size_bytes = 8u << 20, .access_pattern = AccessPattern::Streaming});
  std::array<const void*, 4> where{};
  std::vector<std::thread> threads;
  std::latch all(static_cast<std::ptrdiff_t>(where.size()));
  for (const void*& mine : where) {
    threads.emplace_back([&] {
      all.arrive_and_wait();
      if (auto memory = manager_->map(handle)) mine = memory->data();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_NE(where[0], nullptr);
  for (const void* mine : where) EXPECT_EQ(mine, where[0]);
}

TEST_F(EffectsTest, PinnedIsLocked) {
  if (!can_lock_memory()) GTEST_SKIP() << "may lock no memory";
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &limit), 0);
  if (limit.rlim_cur < kBytes) GTEST_SKIP() << "may lock " << limit.rlim_cur << " bytes only";
  const Vma vma = vma_with({.flags = Pinned});
  EXPECT_TRUE(vma.has("lo"));
  EXPECT_EQ(vma.kib.at("Locked:"), kBytes >> 10);
}

/// Takes the right to lock more than the limit from the calling thread, and lowers the limit.
void forbid_locking() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> sets{};
  ASSERT_EQ(::syscall(SYS_capget, &header, sets.data()), 0);
  sets[0].effective &= ~(1u << CAP_IPC_LOCK);
  ASSERT_EQ(::syscall(SYS_capset, &header, sets.data()), 0);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &limit), 0);
  limit.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

TEST_F(EffectsTest, PinnedThatCanNotBeLockedIsNotMapped) {
  if (!can_lock_memory()) GTEST_SKIP() << "may lock no memory";
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &before), 0);
  const Handle handle = add_memory({.flags = Pinned});
  std::thread([&] {
    forbid_locking();
    for (int i = 0; i < 2; ++i) {
      const auto refused = manager_->map(handle, owner_);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().system_errno(), ENOMEM) << refused.error().message();
    }
  }).join();
  ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &before), 0);
}

TEST_F(EffectsTest, MemoryBeginsWhereItsAlignmentSays) {
  for (unsigned shift = 0; shift <= 34; shift += 2) {
    const std::uint64_t alignment = std::uint64_t{1} << shift;
    // Several of each, for the first may lie right by chance.
    for (int i = 0; i < 3; ++i) {
      const auto memory = map_as(owner_, add_memory({.size_bytes = 100, .alignment = alignment}));
      ASSERT_EQ(memory.size(), 100u);
      EXPECT_EQ(std::bit_cast<std::uintptr_t>(memory.data()) % alignment, 0u) << alignment;
      memory.back() = std::byte{1};
    }
  }
}

TEST_F(EffectsTest, MemoryPrefersItsNode) {
  std::array<unsigned long, 16> nodes{};
  constexpr unsigned long kBits = nodes.size() * std::numeric_limits<unsigned long>::digits;
  const auto mode_of = [&](std::span<std::byte> memory) {
    int mode = -1;
    nodes = {};
    const long got =
        ::syscall(SYS_get_mempolicy, &mode, nodes.data(), kBits, memory.data(), MPOL_F_ADDR);
    return got == 0 ? mode : -1;
  };
  const int plain = mode_of(map_as(owner_, add_memory({})));
  if (plain < 0) GTEST_SKIP() << "a kernel without NUMA";
  EXPECT_NE(plain, MPOL_PREFERRED);
  EXPECT_EQ(mode_of(map_as(owner_, add_memory({.numa_node = 0}))), MPOL_PREFERRED);
  EXPECT_EQ(nodes[0], 1u);
  // No such node: a preference, not a demand.
  const auto far = map_as(owner_, add_memory({.numa_node = 1023}));
  ASSERT_EQ(far.size(), kBytes);
  far.front() = std::byte{1};
}

TEST_F(EffectsTest, FlagsAnswerCalls) {
  const Handle plain = add("plain");
  const Handle shareable = add("shareable", {.flags = Shareable});
  const Handle sole = add("sole", {.flags = ExclusiveOnly});
  const Handle aggregate = add("aggregate", {.flags = Aggregate});
  EXPECT_EQ(code_of(manager_->share_resource(plain, {}, other_, Rights::Read)),
            ErrorCode::NotShareable);
  EXPECT_TRUE(manager_->share_resource(shareable, {}, other_, Rights::Read));
  const AcquireOptions shared{.mode = AcquisitionMode::NonBlocking, .kind = HoldKind::Shared};
  EXPECT_TRUE(manager_->acquire_scoped_resource(plain, shared));
  EXPECT_EQ(code_of(manager_->acquire_scoped_resource(sole, shared)), ErrorCode::NotShareable);
  EXPECT_EQ(code_of(manager_->acquire_aggregate(plain)), ErrorCode::InvalidArgument);
  EXPECT_TRUE(manager_->acquire_aggregate(aggregate));
}

TEST_F(EffectsTest, LazyMemoryIsMadeWhenItIsAskedFor) {
  class Noting final : public Backing {
   public:
    explicit Noting(int& made) : made_(made) {}
    Result<BackingMemory> make(const std::string& name, const ResourceMetadata& metadata) override {
      ++made_;
      return Backing::memfd()->make(name, metadata);
    }

   private:
    int& made_;
  };
  for (const bool lazy : {false, true}) {
    int made = 0;
    RegisterOptions options;
    options.backing = std::make_shared<Noting>(made);
    const auto handle = manager_->register_resource(
        lazy ? "late" : "early", {.size_bytes = kBytes, .flags = lazy ? Lazy : None},
        std::move(options));
    ASSERT_TRUE(handle);
    EXPECT_EQ(made, lazy ? 0 : 1);
    EXPECT_TRUE(manager_->fd(*handle));
    EXPECT_TRUE(manager_->map(*handle));
    EXPECT_EQ(made, 1);
  }
}

TEST_F(EffectsTest, ContradictionsAreRefused) {
  const auto refused = [&](const ResourceMetadata& metadata) {
    return code_of(manager_->register_resource("x", metadata)) == ErrorCode::InvalidArgument;
  };
  EXPECT_TRUE(refused({.flags = Shareable | ExclusiveOnly}));
  EXPECT_TRUE(refused({.flags = Persistent | Transient}));
  EXPECT_TRUE(refused({.flags = Lazy})) << "nothing that could make its memory";
  EXPECT_EQ(manager_->size(), 0u);
  // What says nothing against each other.
  EXPECT_FALSE(refused({.flags = Shareable | Persistent | Pinned | Aggregate}));
}

}  // namespace
}  // namespace hal
