// SPDX-License-Identifier: Apache-2.0
#include <hal/version.hpp>

namespace hal {

Version runtime_version() noexcept { return kVersion; }

}  // namespace hal
