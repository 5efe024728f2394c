// SPDX-License-Identifier: Apache-2.0
//
// ServedTransfer: the whole run with the drivers in other processes; see transfer.hpp.
//
// Lifetime and thread-safety: a function.
#pragma once

#include "tools/demo/failure.hpp"
#include "tools/demo/input_file.hpp"
#include "tools/demo/interrupt.hpp"
#include "tools/demo/options.hpp"
#include "tools/demo/screen.hpp"
#include "tools/demo/served_hardware.hpp"
#include "tools/demo/served_stream.hpp"
#include "tools/demo/transfer.hpp"

namespace demo {

/// Everything that was acquired here is released when it returns. `fate` is told what happened to
/// the DMA driver, half-way through the file.
[[nodiscard]] Outcome<TransferResult> served_transfer(ServedHardware& hardware,
                                                      const InputFile& file, const Options& options,
                                                      Interrupt& interrupt, Screen& screen,
                                                      Fate& fate);

}  // namespace demo
