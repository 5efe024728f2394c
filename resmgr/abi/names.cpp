// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/names.hpp"

namespace resmgr {
namespace {

constexpr std::array<bool, 256> make_alphabet() noexcept {
  std::array<bool, 256> allowed{};
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-";
  for (const char c : kAlphabet) allowed[static_cast<unsigned char>(c)] = true;
  return allowed;
}

constexpr std::array<bool, 256> kAllowed = make_alphabet();

}  // namespace

bool is_in_alphabet(std::string_view text) noexcept {
  // No early end: texts are short and nearly always fine.
  bool ok = true;
  for (const char c : text) ok &= kAllowed[static_cast<unsigned char>(c)];
  return ok;
}

bool is_valid_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxNameBytes && is_in_alphabet(name);
}

bool is_valid_tag(std::string_view tag) noexcept {
  return !tag.empty() && tag.size() <= kMaxTagBytes && is_in_alphabet(tag);
}

}  // namespace resmgr
