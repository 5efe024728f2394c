// SPDX-License-Identifier: Apache-2.0
//
// ControlLine: what the demo's processes tell each other in turn.
//
// What it is: one end of a connection that carries whole messages, each a plain struct with a
// number of its kind (`kKind`); both ends are the same program, so their layouts agree. What it is
// not: for frames, or for descriptors: memory and files travel through resmgrd, by the rights that
// were given there. Lifetime: owns its end; the other side learns of its close. Thread-safety: one
// thread at a time.
//
//   auto [mine, theirs] = *ControlLine::pair();
//   mine.send(Serve{.link = 0});
//   auto serving = mine.receive<Serving>(10s);
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <hal/resource.hpp>

#include "tools/demo/failure.hpp"

namespace demo {

/// Said in place of an answer: why there will be none.
struct Trouble {
  static constexpr std::uint32_t kKind = 1;
  std::array<char, 1000> text{};  ///< ends with a zero
};

class ControlLine {
 public:
  ControlLine() = default;
  explicit ControlLine(hal::UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  [[nodiscard]] static Outcome<std::pair<ControlLine, ControlLine>> pair();

  template <typename Message>
  Outcome<void> send(const Message& message) {
    static_assert(std::is_trivially_copyable_v<Message>);
    return send_bytes(Message::kKind, std::as_bytes(std::span(&message, 1)));
  }
  /// Sends a Trouble. It may be too late for that.
  void send_trouble(std::string_view text) noexcept;
  /// Waits for a message. Fails with the text of a Trouble, and when the other side is gone, says
  /// something else, or takes longer.
  template <typename Message>
  [[nodiscard]] Outcome<std::unique_ptr<Message>> receive(std::chrono::milliseconds patience) {
    static_assert(std::is_trivially_copyable_v<Message>);
    auto message = std::make_unique<Message>();
    auto got = receive_bytes(Message::kKind, std::as_writable_bytes(std::span(message.get(), 1)),
                             patience);
    if (!got) return std::unexpected(std::move(got.error()));
    return message;
  }
  /// Whether a message, or the end, has come.
  [[nodiscard]] bool readable() const noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  void close() noexcept { fd_.reset(); }

 private:
  Outcome<void> send_bytes(std::uint32_t kind, std::span<const std::byte> message);
  Outcome<void> receive_bytes(std::uint32_t kind, std::span<std::byte> message,
                              std::chrono::milliseconds patience);

  hal::UniqueFd fd_;
};

}  // namespace demo
