// SPDX-License-Identifier: Apache-2.0
//
// DPDK's mempool, as its users have it: a cache for each thread that is known to DPDK, a ring
// behind it. Without huge pages and without files, so that it runs anywhere.
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <sched.h>

#include <array>
#include <string>

#include "tests/bench/pool_peers.hpp"

namespace bench {
namespace {

void start_dpdk() {
  static const bool started = [] {
    cpu_set_t before;
    ::sched_getaffinity(0, sizeof before, &before);
    std::array<std::string, 9> words = {"bench",    "--no-huge",      "--no-shconf",
                                        "--no-pci", "--no-telemetry", "--log-level=error",
                                        "-m",       "1024",           "--lcores=0@0-1"};
    std::array<char*, words.size()> arguments{};
    for (std::size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
    const bool good = rte_eal_init(static_cast<int>(words.size()), arguments.data()) >= 0;
    ::sched_setaffinity(0, sizeof before, &before);  // it binds the thread that calls it
    return good;
  }();
  if (!started) throw Skip(std::string("DPDK does not start: ") + rte_strerror(rte_errno));
}

// A thread that DPDK does not know has no cache.
void join_dpdk() {
  static thread_local const bool joined =
      rte_lcore_id() != LCORE_ID_ANY || rte_thread_register() == 0;
  if (!joined) throw std::runtime_error("rte_thread_register failed");
}

struct Deleter {
  void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
};

class DpdkSource final : public BlockSource {
 public:
  DpdkSource(std::size_t block_bytes, unsigned blocks) {
    static int made = 0;
    const std::string name = "bench" + std::to_string(made++);
    pool_.reset(rte_mempool_create(name.c_str(), blocks, static_cast<unsigned>(block_bytes),
                                   RTE_MEMPOOL_CACHE_MAX_SIZE, 0, nullptr, nullptr, nullptr,
                                   nullptr, SOCKET_ID_ANY, 0));
    if (!pool_) throw Skip(std::string("rte_mempool_create: ") + rte_strerror(rte_errno));
    rte_mempool* const pool = pool_.get();
    loops_ = make_source(
        [pool] {
          void* block = nullptr;
          return rte_mempool_get(pool, &block) == 0 ? block : nullptr;
        },
        [pool](void* block) {
          rte_mempool_put(pool, block);
          return true;
        });
  }

  void pairs(std::uint64_t operations) override {
    join_dpdk();
    loops_->pairs(operations);
  }
  std::size_t allocate(std::span<void*> out) override {
    join_dpdk();
    return loops_->allocate(out);
  }
  void free(std::span<void* const> blocks) override {
    join_dpdk();
    loops_->free(blocks);
  }

 private:
  std::unique_ptr<rte_mempool, Deleter> pool_;
  std::unique_ptr<BlockSource> loops_;
};

}  // namespace

std::unique_ptr<BlockSource> make_dpdk_source(std::size_t block_bytes, unsigned blocks) {
  start_dpdk();
  return std::make_unique<DpdkSource>(block_bytes, blocks);
}

}  // namespace bench
