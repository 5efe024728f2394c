// SPDX-License-Identifier: Apache-2.0
#pragma once

// HAL_EXPORT marks what libhal.so offers to those who link it.
//
// The library is compiled with hidden visibility: a function or class without
// this mark can't be reached from outside. On a class the mark covers its
// members, vtable and type information; inline functions, templates and
// constants need no mark. A test compares the marks with the symbols that the
// library exports, both ways.
//
//   HAL_EXPORT Version runtime_version() noexcept;

#define HAL_EXPORT [[gnu::visibility("default")]]
