// SPDX-License-Identifier: Apache-2.0
#include <hal/meter.hpp>

#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include "hal/src/guard.hpp"
#include "hal/src/meter_state.hpp"
#include "resmgr/base/clock.hpp"

namespace hal {

using resmgr::Clock;
using resmgr::fail;
using resmgr::budget::MeterRate;

namespace {

constexpr std::string_view kClass = "meter";
constexpr const char* kBurstKey = "burst";

std::optional<std::uint64_t> number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [behind, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || behind != end) return {};
  return value;
}

/// What is registered as a meter. Errors: InvalidArgument (it is none).
Result<MeterRate> rate_of(resmgr::client::Domain& domain, Handle handle) {
  const auto entry = domain.view().read(handle);
  if (!entry) return std::unexpected(entry.error());
  if (entry->type == ResourceType::Performance && domain.class_name(entry->class_id) == kClass) {
    const auto pairs = domain.read_settled([&](const auto& view) { return view.pairs(handle); });
    if (!pairs) return std::unexpected(pairs.error());
    for (const auto& pair : *pairs) {
      if (std::string_view(pair.key.data()) != kBurstKey) continue;
      const auto burst = number(pair.value.data());
      if (burst) return MeterRate::make(entry->size_bytes, *burst);
    }
  }
  return fail(ErrorCode::InvalidArgument, "it is no meter");
}

}  // namespace

Result<resmgr::budget::Meter> Meter::State::meter() noexcept {
  if (domain->closed()) return fail(ErrorCode::Disconnected);
  if (!domain->view().is_live(handle)) return fail(ErrorCode::StaleHandle);
  return resmgr::budget::Meter(domain->meter_word(handle), rate);
}

Meter::Meter(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Meter::Meter(Meter&&) noexcept = default;
Meter& Meter::operator=(Meter&&) noexcept = default;
Meter::~Meter() = default;

Handle Meter::handle() const noexcept { return state_->handle; }
std::uint64_t Meter::tokens_per_second() const noexcept { return state_->rate.tokens_per_second(); }
std::uint64_t Meter::burst() const noexcept { return state_->rate.burst(); }

Result<Meter> Meter::find(ResourceManager& manager, std::string_view name) {
  const auto handle = manager.find(name);
  if (!handle) return std::unexpected(handle.error());
  return guard("meter", [&]() -> Result<Meter> {
    auto domain = manager.domain();
    const auto rate = rate_of(*domain, *handle);
    if (!rate) return std::unexpected(rate.error());
    return Meter(std::make_unique<State>(std::move(domain), *handle, *rate));
  });
}

Result<Meter> Meter::open(ResourceManager& manager, std::string_view name,
                          const MeterOptions& options) {
  constexpr std::uint64_t kShareOfSecond = 10;
  std::uint64_t burst = options.burst;
  if (burst == 0) burst = options.tokens_per_second / kShareOfSecond + 1;
  const auto rate = MeterRate::make(options.tokens_per_second, burst);
  if (!rate) return std::unexpected(rate.error());
  return guard("meter", [&]() -> Result<Meter> {
    const ResourceMetadata metadata{.type = ResourceType::Performance,
                                    .class_name = std::string(kClass),
                                    .size_bytes = rate->tokens_per_second(),
                                    .pairs = {{kBurstKey, std::to_string(burst)}}};
    auto handle = manager.find(name);
    if (!handle && handle.error() == ErrorCode::NotFound) {
      handle = manager.register_resource(name, metadata, {.driver = options.driver});
      // Somebody else was faster: his is opened.
      if (!handle && handle.error() == ErrorCode::AlreadyExists) handle = manager.find(name);
    }
    if (!handle) return std::unexpected(std::move(handle.error()));
    auto meter = find(manager, name);
    if (meter && (meter->tokens_per_second() != rate->tokens_per_second() ||
                  meter->burst() != rate->burst())) {
      return fail(ErrorCode::InvalidArgument, "it exists with another rate or burst");
    }
    return meter;
  });
}

Result<bool> Meter::try_charge(std::uint64_t amount) noexcept {
  auto meter = state_->meter();
  if (!meter) return std::unexpected(std::move(meter.error()));
  const auto charged = meter->try_charge(amount, state_->coarse ? Clock::coarse() : Clock::now());
  if (!charged) return std::unexpected(charged.error());
  return charged->taken;
}

Result<void> Meter::charge(std::uint64_t amount, std::chrono::nanoseconds timeout) noexcept {
  auto meter = state_->meter();
  if (!meter) return std::unexpected(std::move(meter.error()));
  return meter->charge_and_sleep(amount, convert::latest(timeout));
}

Result<std::chrono::steady_clock::time_point> Meter::charge_ahead(std::uint64_t amount) noexcept {
  auto meter = state_->meter();
  if (!meter) return std::unexpected(std::move(meter.error()));
  const auto ready = meter->charge(amount, Clock::now());
  if (!ready) return std::unexpected(ready.error());
  // The steady clock is CLOCK_MONOTONIC.
  return std::chrono::steady_clock::time_point(
      std::chrono::nanoseconds(static_cast<std::int64_t>(*ready)));
}

Result<void> Meter::refund(std::uint64_t amount) noexcept {
  auto meter = state_->meter();
  if (!meter) return std::unexpected(std::move(meter.error()));
  meter->refund(amount, Clock::now());
  return {};
}

Result<std::int64_t> Meter::level() const noexcept {
  auto meter = state_->meter();
  if (!meter) return std::unexpected(std::move(meter.error()));
  return meter->level(Clock::now());
}

}  // namespace hal
