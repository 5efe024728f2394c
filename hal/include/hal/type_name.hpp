// SPDX-License-Identifier: Apache-2.0
//
// type_name<T> and type_tag<T>(): what a type that processes share is called.
//
// What they are: a text, and the hash of it that the registry keeps beside a typed resource, so
// that one of another type is refused. They are the same in every process, whichever compiler built
// it, for arithmetic types (named by kind and size: `signed-integer-4`), and for classes and
// enumerations of a named namespace that are no templates (by their qualified name,
// `acme::Frame`). What they are not: a description of the layout. Whoever changes that changes the
// name.
//
// Compilers spell all other types in ways of their own: specialisations of templates, local and
// unnamed ones, arrays. Those, and types that are to keep their name when their layout or their
// place in the source changes, are given one by specialising `type_name`, in each program before
// its first use:
//
//   template <>
//   inline constexpr std::string_view hal::type_name<acme::Ring<64>> = "acme.ring64/2";
//
// Lifetime: static. Thread-safety: constants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace hal {
namespace detail {

/// What the compiler calls T: the end of this function's signature, "T = NAME]" with g++ and clang.
template <typename T>
consteval std::string_view spelled_name() noexcept {
  constexpr std::string_view kSignature = __PRETTY_FUNCTION__;
  constexpr std::string_view kBefore = "T = ";
  constexpr std::size_t kStart = kSignature.find(kBefore);
  static_assert(kStart != std::string_view::npos && kSignature.back() == ']',
                "this compiler spells signatures in another way");
  const std::string_view name = kSignature.substr(kStart + kBefore.size());
  // g++ goes on after a ';' with the aliases that the signature names.
  return name.substr(0, name.find_first_of(";]"));
}

/// Arithmetic types have no one spelling: `unsigned long` is `long unsigned int` to g++.
template <typename T>
consteval std::string_view arithmetic_name() noexcept {
  constexpr std::size_t kWidth = sizeof(T) == 1   ? 0
                                 : sizeof(T) == 2 ? 1
                                 : sizeof(T) == 4 ? 2
                                 : sizeof(T) == 8 ? 3
                                                  : 4;
  if constexpr (std::is_same_v<T, bool>) {
    return "bool";
  } else if constexpr (std::is_floating_point_v<T>) {
    constexpr std::string_view kNames[] = {"float-1", "float-2", "float-4", "float-8", "float-16"};
    return kNames[kWidth];
  } else if constexpr (std::is_signed_v<T>) {
    constexpr std::string_view kNames[] = {"signed-integer-1", "signed-integer-2",
                                           "signed-integer-4", "signed-integer-8",
                                           "signed-integer-16"};
    return kNames[kWidth];
  } else {
    constexpr std::string_view kNames[] = {"unsigned-integer-1", "unsigned-integer-2",
                                           "unsigned-integer-4", "unsigned-integer-8",
                                           "unsigned-integer-16"};
    return kNames[kWidth];
  }
}

template <typename T>
consteval std::string_view default_name() noexcept {
  if constexpr (std::is_arithmetic_v<T>) {
    return arithmetic_name<T>();
  } else {
    return spelled_name<T>();
  }
}

}  // namespace detail

/// The name of T. To be specialised where the rule above gives none that all compilers agree on.
template <typename T>
// NOLINTNEXTLINE(readability-identifier-naming): a trait, read like a function
inline constexpr std::string_view type_name = detail::default_name<T>();

/// A number for T: the hash of its name, never 0, which says that a resource has no type.
template <typename T>
[[nodiscard]] consteval std::uint64_t type_tag() noexcept {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : type_name<T>) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  return hash != 0 ? hash : 1;
}

}  // namespace hal
