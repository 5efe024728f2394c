// SPDX-License-Identifier: Apache-2.0
//
// tcmalloc beside the program's own malloc: its functions are called by the pointers that dlsym
// gives. An indirect call costs what a call through the table of a linked library does.
#include <dlfcn.h>

#include <string>

#include "tests/bench/pool_peers.hpp"

namespace bench {
namespace {

using Malloc = void* (*)(std::size_t);
using Free = void (*)(void*);

// Stays loaded: threads have its caches.
template <typename Function>
Function find(const char* name) {
  // Without DEEPBIND its own calls of malloc would be the program's.
  static void* const library =
      ::dlopen("libtcmalloc_minimal.so.4", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (!library) throw Skip(std::string("no tcmalloc: ") + ::dlerror());
  void* const found = ::dlsym(library, name);
  if (!found) throw Skip(std::string("tcmalloc has no ") + name);
  return reinterpret_cast<Function>(found);
}

}  // namespace

std::unique_ptr<BlockSource> make_tcmalloc_source(std::size_t block_bytes) {
  const auto allocate = find<Malloc>("tc_malloc");
  const auto free = find<Free>("tc_free");
  return make_source([allocate, block_bytes] { return allocate(block_bytes); },
                     [free](void* block) {
                       free(block);
                       return true;
                     });
}

}  // namespace bench
