// SPDX-License-Identifier: Apache-2.0
//
// Attaching to memory that is not, or no longer, a queue.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <hal/queue.hpp>

#include "resmgr/base/hash.hpp"
#include "tests/hal/queue_support.hpp"

namespace hal::test {
namespace {

/// The checksum is for accidents: someone who means it computes it anew.
void forge(ring::Header& header) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  header.checksum = resmgr::fnv1a(std::span(bytes, offsetof(ring::Header, checksum)));
}

struct Memfd {
  explicit Memfd(std::size_t bytes) : fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  }
  Memfd(const Queue& queue, std::size_t bytes) : Memfd(bytes) {
    const RingMemory from(queue);
    const std::size_t count = std::min(bytes, from.bytes().size());
    EXPECT_EQ(::pwrite(fd.get(), from.bytes().data(), count, 0), static_cast<ssize_t>(count));
  }
  Memfd& seal(int seals = F_SEAL_SHRINK | F_SEAL_GROW) {
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return *this;
  }
  UniqueFd fd;
};

class QueueAttachTest : public testing::Test {
 protected:
  std::unique_ptr<ResourceManager> manager_ = make_manager();
  Queue queue_ = Queue::create(*manager_, "q", {.capacity = 16}).value();
  std::size_t size_ = RingMemory(queue_).bytes().size();
};

TEST_F(QueueAttachTest, TakesAFaithfulCopy) {
  EXPECT_TRUE(Queue::attach(std::move(Memfd(queue_, size_).seal().fd)));
}

TEST_F(QueueAttachTest, MemoryIsSealedInItsSize) {
  const UniqueFd fd = queue_.memory_fd().value();
  EXPECT_NE(::ftruncate(fd.get(), 0), 0);
  EXPECT_NE(::ftruncate(fd.get(), 1 << 20), 0);
  EXPECT_NE(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST_F(QueueAttachTest, RefusesFilesOfOtherKinds) {
  int pipe_ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  const UniqueFd pipe_writer(pipe_ends[1]);
  std::string path = testing::TempDir() + "queue-test-XXXXXX";
  UniqueFd plain(::mkstemp(path.data()));
  ASSERT_TRUE(plain);
  ::unlink(path.c_str());
  std::vector<UniqueFd> wrong;
  wrong.emplace_back();
  wrong.emplace_back(pipe_ends[0]);
  wrong.push_back(std::move(plain));
  wrong.emplace_back(::eventfd(0, EFD_CLOEXEC));
  wrong.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
  wrong.emplace_back(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (UniqueFd& fd : wrong) {
    EXPECT_EQ(Queue::attach(std::move(fd)).error(), ErrorCode::InvalidArgument);
  }
}

TEST_F(QueueAttachTest, RefusesMemoryThatCanChangeItsSize) {
  EXPECT_EQ(Queue::attach(std::move(Memfd(queue_, size_).fd)).error(), ErrorCode::InvalidArgument);
  for (const int seals : {F_SEAL_SHRINK, F_SEAL_GROW}) {
    EXPECT_EQ(Queue::attach(std::move(Memfd(queue_, size_).seal(seals).fd)).error(),
              ErrorCode::InvalidArgument);
  }
}

TEST_F(QueueAttachTest, RefusesOtherSizes) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, sizeof(ring::Header),
                                 sizeof(ring::Control), size_ - 1, size_ + 1, 2 * size_}) {
    EXPECT_EQ(Queue::attach(std::move(Memfd(queue_, size).seal().fd)).error(),
              ErrorCode::InvalidArgument)
        << size;
  }
}

TEST_F(QueueAttachTest, RefusesMemoryThatCannotBeWritten) {
  Memfd copy(queue_, size_);
  copy.seal(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE);
  EXPECT_EQ(Queue::attach(std::move(copy.fd)).error(), ErrorCode::NotPermitted);
  const UniqueFd original = queue_.memory_fd().value();
  UniqueFd read_only(
      ::open(("/proc/self/fd/" + std::to_string(original.get())).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_only);
  EXPECT_EQ(Queue::attach(std::move(read_only)).error(), ErrorCode::NotPermitted);
}

TEST_F(QueueAttachTest, RefusesEverySingleWrongByteOfTheHeader) {
  const RingMemory memory(queue_);
  for (std::size_t i = 0; i < sizeof(ring::Header); ++i) {
    for (const std::byte flip : {std::byte{1}, std::byte{0x80}}) {
      memory.bytes()[i] ^= flip;
      const auto attached = Queue::attach(queue_.memory_fd().value());
      ASSERT_FALSE(attached) << "byte " << i;
      const bool version =
          i == offsetof(ring::Header, major) || i == offsetof(ring::Header, major) + 1;
      EXPECT_EQ(attached.error(), version ? ErrorCode::VersionMismatch : ErrorCode::InvalidArgument)
          << "byte " << i;
      memory.bytes()[i] ^= flip;
    }
  }
  EXPECT_TRUE(Queue::attach(queue_.memory_fd().value()));
}

TEST_F(QueueAttachTest, RefusesSizesThatContradictAlsoUnderAForgedChecksum) {
  RingMemory memory(queue_);
  const ring::Header good = memory.header();
  const auto refused = [&](auto&& change) {
    ring::Header header = good;
    change(header);
    forge(header);
    memory.header() = header;
    const auto attached = Queue::attach(queue_.memory_fd().value());
    memory.header() = good;
    return !attached && attached.error() == ErrorCode::InvalidArgument;
  };
  for (const std::uint32_t value :
       {0u, 1u, 2u, 3u, 8u, 15u, 17u, 32u, 1u << 16, 1u << 20, 1u << 31, ~0u - 1}) {
    EXPECT_TRUE(refused([&](ring::Header& h) { h.capacity = value; })) << value;
    EXPECT_TRUE(refused([&](ring::Header& h) { h.message_bytes = value; })) << value;
    EXPECT_TRUE(refused([&](ring::Header& h) { h.slot_bytes = value; })) << value;
    EXPECT_TRUE(refused([&](ring::Header& h) { h.slots_offset = value; })) << value;
    EXPECT_TRUE(refused([&](ring::Header& h) { h.memory_bytes = value; })) << value;
    EXPECT_TRUE(refused([&](ring::Header& h) { h.kind = value + 1; })) << value;
    EXPECT_TRUE(refused([&](ring::Header& h) { h.flags = value + 1; })) << value;
  }
  EXPECT_TRUE(refused([&](ring::Header& h) { h.memory_bytes = ~std::uint64_t{0}; }));
  EXPECT_TRUE(refused([&](ring::Header& h) { h.magic = 0; }));
}

TEST_F(QueueAttachTest, NamesBothVersions) {
  const RingMemory memory(queue_);
  memory.header().major = 9;
  const auto attached = Queue::attach(queue_.memory_fd().value());
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error(), ErrorCode::VersionMismatch);
  EXPECT_NE(attached.error().message().find("9.0"), std::string::npos);
  EXPECT_NE(attached.error().message().find("1.0"), std::string::npos);
}

TEST_F(QueueAttachTest, WorksWithANewerMinor) {
  const RingMemory memory(queue_);
  memory.header().minor = 7;
  forge(memory.header());
  EXPECT_TRUE(Queue::attach(queue_.memory_fd().value()));
}

TEST_F(QueueAttachTest, WantsExactlyTheDoorbellThatIsThere) {
  Queue with_bell = Queue::create(*manager_, "b", {.event_doorbell = true}).value();
  const auto memory = [&] { return with_bell.memory_fd().value(); };
  EXPECT_TRUE(Queue::attach(memory(), with_bell.bell_fd().value()));
  EXPECT_EQ(Queue::attach(memory()).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(Queue::attach(memory(), with_bell.memory_fd().value()).error(),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(Queue::attach(memory(), UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))).error(),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(Queue::attach(queue_.memory_fd().value(), with_bell.bell_fd().value()).error(),
            ErrorCode::InvalidArgument);
  UniqueFd blocking(::eventfd(0, EFD_CLOEXEC));
  const int number = blocking.get();
  const Queue attached = Queue::attach(memory(), std::move(blocking)).value();
  EXPECT_NE(::fcntl(number, F_GETFL) & O_NONBLOCK, 0) << "a full bell must not block who rings";
}

TEST_F(QueueAttachTest, RefusesRandomBytes) {
  std::mt19937_64 random(seed());
  Memfd memory(1 << 14);
  memory.seal();
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::uint64_t> words((round % 2 ? sizeof(ring::Header) : 1 << 14) / 8);
    for (std::uint64_t& word : words) word = random();
    if (round % 3 == 0) words[0] = ring::kMagic;
    if (round % 6 == 0) words[1] = (words[1] & ~std::uint64_t{0xffff}) | ring::kMajor;
    const std::size_t bytes = words.size() * 8;
    ASSERT_EQ(::pwrite(memory.fd.get(), words.data(), bytes, 0), static_cast<ssize_t>(bytes));
    EXPECT_FALSE(Queue::attach(memory.fd.duplicate().value()));
  }
}

}  // namespace
}  // namespace hal::test
