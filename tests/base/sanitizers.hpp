// SPDX-License-Identifier: Apache-2.0
//
// Which sanitizer a test was built with: what is slower by a factor does fewer rounds, and what a
// sanitizer forbids is skipped. g++ says it by macros, clang by features. Constants alone.
#pragma once

namespace resmgr::test {

#if !defined(__has_feature)  // g++ has none of clang's features
#define RESMGR_HAS_FEATURE(name) 0
#else
#define RESMGR_HAS_FEATURE(name) __has_feature(name)
#endif

#if defined(__SANITIZE_THREAD__) || RESMGR_HAS_FEATURE(thread_sanitizer)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

#if defined(__SANITIZE_ADDRESS__) || RESMGR_HAS_FEATURE(address_sanitizer)
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif

#undef RESMGR_HAS_FEATURE

}  // namespace resmgr::test
