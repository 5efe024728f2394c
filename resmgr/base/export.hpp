// SPDX-License-Identifier: Apache-2.0
#pragma once

// RESMGR_EXPORT marks the engine's vocabulary (errors, handles) that crosses
// the interface of libhal.so.
//
// Everything else in the engine is compiled with hidden visibility and stays
// private to the library. On a class the mark covers its members, vtable and
// type information; inline functions and constants need no mark.
//
//   class RESMGR_EXPORT Error { ... };

#define RESMGR_EXPORT [[gnu::visibility("default")]]
