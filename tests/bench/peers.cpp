// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/peers.hpp"

#include <system_error>

namespace bench {
namespace {

void check(int error, const char* what) {
  if (error != 0) throw std::system_error(error, std::generic_category(), what);
}

}  // namespace

RobustMutex::RobustMutex() {
  pthread_mutexattr_t attributes;
  check(::pthread_mutexattr_init(&attributes), "pthread_mutexattr_init");
  check(::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "setpshared");
  check(::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST), "setrobust");
  check(::pthread_mutex_init(&mutex_, &attributes), "pthread_mutex_init");
  ::pthread_mutexattr_destroy(&attributes);
}

SharedRwLock::SharedRwLock() {
  pthread_rwlockattr_t attributes;
  check(::pthread_rwlockattr_init(&attributes), "pthread_rwlockattr_init");
  check(::pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "setpshared");
  check(::pthread_rwlock_init(&lock_, &attributes), "pthread_rwlock_init");
  ::pthread_rwlockattr_destroy(&attributes);
}

}  // namespace bench
