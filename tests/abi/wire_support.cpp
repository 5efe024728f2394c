// SPDX-License-Identifier: Apache-2.0
#include "tests/abi/wire_support.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "resmgr/abi/budget_requests.hpp"
#include "resmgr/abi/events.hpp"
#include "resmgr/abi/registration.hpp"
#include "resmgr/abi/replies.hpp"
#include "resmgr/abi/requests.hpp"

namespace resmgr::wire::test {
namespace {

constexpr Handle kHandle{0x01020304, 0x050607, 8};
constexpr ClientPlace kPlace{.domain_id = ~0ull, .epoch = 3, .sequence = 99, .client = 4095};
constexpr Regions kRegions{.client = kPlace, .registry_bytes = 1 << 20, .lock_bytes = 1ull << 40};

Bytes batch() {
  std::vector<std::string> keys;
  const std::string value(35, '\xfe');
  for (char c = 'a'; c < 'a' + 16; ++c) keys.emplace_back(23, c);
  std::vector<PairText> pairs;
  for (const std::string& key : keys) pairs.push_back({key, value});
  const std::array<PairText, 2> few{{{"format", "XR24"}, {"empty", ""}}};
  const std::string longest(95, 'n');

  Bytes out(RM_WIRE_MAX_FRAME);
  RegisterWriter writer(kRequestId, out);
  const std::array records = {
      Record{.name = "a"},
      Record{.name = longest,
             .description = {.type = ResourceType::Hardware,
                             .class_name = "dma-channel",
                             .size_bytes = 1ull << 62,
                             .alignment = 1ull << 40,
                             .access_pattern = AccessPattern::Streaming,
                             .priority = ResourcePriority::Critical,
                             .flags = ResourceFlags::ExclusiveOnly | ResourceFlags::Restricted,
                             .numa_node = 1023,
                             .pairs = pairs,
                             .owner_driver = 4095,
                             .cookie = ~0ull,
                             .type_tag = ~1ull,
                             .backing = 255,
                             .fd_kind = ~0u},
             .fd = 2,
             .access_hook = true,
             .quiesce_hook = true},
      Record{.name = "gpu0/frame/3",
             .description = {.flags = ResourceFlags::Lazy, .pairs = few},
             .lazy = true},
      Record{.name = "b", .fd = 0},
  };
  for (const Record& record : records) writer.add(record).value();
  out.resize(writer.finish().value());
  return out;
}

std::vector<Sample> make_samples() {
  const std::string tag(31, 't');
  const std::string text(255, '\xc3');
  const std::array<RegistrationOutcome, 3> outcomes{
      {{{}, kHandle}, {ErrorCode::System, {}}, {ErrorCode::InvalidArgument, {}}}};
  return {
      {"hello", frame_of(Hello{})},
      {"hello-again",
       frame_of(Hello{.before = kPlace, .features = 15, .layout_minor = 7, .driver = tag})},
      {"register", batch()},
      {"begin-unregister", frame_of(UnregisterRequest{UnregisterStep::Begin, kHandle})},
      {"finish-unregister", frame_of(UnregisterRequest{UnregisterStep::Finish, kHandle})},
      {"cancel-unregister", frame_of(UnregisterRequest{UnregisterStep::Cancel, {}})},
      {"share",
       frame_of(ShareRequest{.handle = kHandle, .driver = "dma-edu", .rights = Rights::Acquire})},
      {"share-by-number",
       frame_of(ShareRequest{.handle = kHandle, .driver_id = 4095, .rights = Rights::All})},
      {"unshare", frame_of(ShareRequest{.change = ShareChange::Unshare,
                                        .handle = kHandle,
                                        .driver = tag,
                                        .rights = Rights::Share})},
      {"add-dependency", frame_of(DependencyRequest{DependencyChange::Add, kHandle, Handle(1, 2)})},
      {"remove-dependency",
       frame_of(DependencyRequest{DependencyChange::Remove, Handle(1, 2), kHandle})},
      {"set-state", frame_of(SetStateRequest{.handle = kHandle, .has_fd = true})},
      {"set-state-quarantined",
       frame_of(SetStateRequest{.handle = kHandle, .state = Lifecycle::Quarantined})},
      {"open-fd",
       frame_of(OpenFdRequest{.handle = kHandle, .rights = Rights::Read | Rights::Write})},
      {"intern-driver", frame_of(InternDriverRequest{.driver = "d"})},
      {"ping", frame_of(SignalRequest{Signal::Ping})},
      {"goodbye", frame_of(SignalRequest{Signal::Goodbye})},
      {"emergency",
       frame_of(EmergencyRequest{
           .handle = kHandle, .sequence = ~0ull, .yield_ns = 5, .node_link = 3, .context = 7})},
      {"operator-share", frame_of(ShareRequest{.handle = kHandle,
                                               .driver = "dma-edu",
                                               .rights = Rights::Acquire | Rights::Share,
                                               .as_operator = true})},
      {"operator-revoke", frame_of(ShareRequest{.change = ShareChange::Unshare,
                                                .handle = kHandle,
                                                .driver = tag,
                                                .rights = Rights::All,
                                                .as_operator = true})},
      {"operator-revoke-all", frame_of(ShareRequest{.change = ShareChange::Unshare,
                                                    .handle = kHandle,
                                                    .rights = Rights::All,
                                                    .as_operator = true})},
      {"repair", frame_of(RemedyRequest{Remedy::Repair, kHandle})},
      {"unpoison", frame_of(RemedyRequest{Remedy::Unpoison, kHandle})},
      {"drain", frame_of(DrainRequest{DrainStep::Begin, tag})},
      {"cancel-drain", frame_of(DrainRequest{DrainStep::Cancel, "d"})},
      {"set-budget",
       frame_of(SetBudgetRequest{
           .driver_id = 4095, .type = ResourceType::Memory, .budget = {.max = 64, .reserved = 8}})},
      {"set-budget-by-name",
       frame_of(SetBudgetRequest{.driver = tag,
                                 .type = ResourceType::Custom,
                                 .budget = {.warning_percent = 1, .critical_percent = 255}})},
      {"draw", frame_of(DrawRequest{.driver_id = 4095,
                                    .type = ResourceType::Memory,
                                    .least = 5,
                                    .most = ~0ull,
                                    .urgency = Urgency::Emergency})},
      {"need",
       frame_of(NeedRequest{.driver_id = 1, .type = ResourceType::Memory, .amount = ~0ull})},
      {"reclaim", frame_of(ReclaimEvent{.type = ResourceType::Memory, .amount = 5})},
      {"pressure", frame_of(PressureEvent{.driver_id = 4095,
                                          .type = ResourceType::Memory,
                                          .level = ResourcePressure::Critical,
                                          .before = ResourcePressure::High})},
      {"return-credits", frame_of(ReturnCreditsRequest{.account = ~0u, .kept = ~0ull})},
      {"welcome", frame_of(Welcome{.regions = kRegions, .driver = 4095, .version = text})},
      {"result", frame_of(ResultReply{.value = {1, ~0ull}, .has_fd = true})},
      {"result-error", frame_of(ResultReply{.error = ErrorCode::BudgetExceeded,
                                            .system_errno = 4095,
                                            .value = {5, 6},
                                            .text = "a budget"})},
      {"registered", frame_of(std::span<const RegistrationOutcome>(outcomes))},
      {"quiesce", frame_of(QuiesceEvent{kHandle, QuiesceReason::Removed, ~0ull})},
      {"orphaned", frame_of(OwnerEvent{OwnerLoss::Orphaned, kHandle})},
      {"owner-died", frame_of(OwnerEvent{OwnerLoss::OwnerDied, kHandle})},
      {"epoch", frame_of(EpochEvent{kRegions})},
      {"closing", frame_of(ClosingEvent{ClosingReason::Protocol})},
      {"missed", frame_of(MissedEvent{~0ull})},
      {"yield", frame_of(YieldEvent{.handle = kHandle,
                                    .deadline_ns = ~0ull,
                                    .holder = 1,
                                    .kind = HoldKind::Shared,
                                    .by = 2,
                                    .by_pid = 3,
                                    .by_driver = 4})},
  };
}

template <typename Message>
Result<Bytes> echo_as(const Frame& frame) {
  const auto message = Message::decode(frame);
  if (!message) return std::unexpected(message.error());
  return try_frame_of(*message, frame.request_id);
}

Result<Bytes> echo_batch(const Frame& frame) {
  const auto request = RegisterRequest::decode(frame);
  if (!request) return std::unexpected(request.error());
  Bytes out(RM_WIRE_MAX_FRAME);
  RegisterWriter writer(frame.request_id, out);
  Result<void> first;
  // Those behind a refused one are read too.
  for (RecordReader reader(*request); !reader.over();) {
    const auto record = reader.next();
    Result<void> added = record ? writer.add(*record) : std::unexpected(record.error());
    if (first && !added) first = std::move(added);
  }
  if (!first) return std::unexpected(first.error());
  const auto bytes = writer.finish();
  if (!bytes) return std::unexpected(bytes.error());
  out.resize(*bytes);
  return out;
}

Result<Bytes> echo_registered(const Frame& frame) {
  const auto reply = RegisteredReply::decode(frame);
  if (!reply) return std::unexpected(reply.error());
  std::vector<RegistrationOutcome> outcomes;
  for (std::uint32_t i = 0; i < reply->count(); ++i) outcomes.push_back(reply->at(i));
  return try_frame_of(std::span<const RegistrationOutcome>(outcomes), frame.request_id);
}

}  // namespace

Bytes resized(Bytes frame) {
  const auto bytes = static_cast<std::uint32_t>(frame.size());
  return changed_header(std::move(frame), [&](rm_frame_header& h) { h.frame_bytes = bytes; });
}

Bytes cut(std::span<const std::byte> frame, std::size_t bytes) {
  Bytes part(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(bytes));
  return bytes < sizeof(rm_frame_header) ? part : resized(std::move(part));
}

Bytes from_newer_minor(const Bytes& frame) {
  constexpr std::size_t kMore = 8;
  Bytes newer = changed_header(frame, [](rm_frame_header& h) {
    h.minor = RM_WIRE_MINOR + 1;
    h.flags = 0x8001;
    h.reserved = ~0u;
  });
  const std::size_t fixed_bytes = read_frame(frame).value().fixed.size();
  const auto behind_fixed = static_cast<std::ptrdiff_t>(sizeof(rm_frame_header) + fixed_bytes);
  newer.insert(newer.begin() + behind_fixed, kMore, std::byte{0xee});
  newer.insert(newer.end(), 3, std::byte{0xdd});
  newer = changed_header(std::move(newer), [&](rm_frame_header& h) {
    h.fixed_bytes = static_cast<std::uint16_t>(fixed_bytes + kMore);
  });
  return resized(std::move(newer));
}

const std::vector<Sample>& samples() {
  static const std::vector<Sample> made = make_samples();
  return made;
}

testing::AssertionResult is_refused_or_exact(std::span<const std::byte> bytes) {
  const auto back = echo(bytes);
  if (!back) {
    const ErrorCode code = back.error().code();
    const bool documented = code == ErrorCode::InvalidArgument || code == ErrorCode::InvalidName ||
                            code == ErrorCode::VersionMismatch || code == ErrorCode::Unsupported;
    return (documented ? testing::AssertionSuccess() : testing::AssertionFailure())
           << "refused: " << back.error().message();
  }
  const auto again = echo(*back);
  if (!again) return testing::AssertionFailure() << again.error().message();
  if (*again != *back) return testing::AssertionFailure() << "it comes back as another one";
  if (read_frame(bytes).value().is_newer()) return testing::AssertionSuccess();
  if (!std::ranges::equal(*back, bytes)) {
    return testing::AssertionFailure() << "it does not come back as it was";
  }
  return testing::AssertionSuccess();
}

Result<Bytes> echo(std::span<const std::byte> bytes) {
  const auto frame = read_frame(bytes);
  if (!frame) return std::unexpected(frame.error());
  switch (frame->type) {
    case FrameType::Hello:
      return echo_as<Hello>(*frame);
    case FrameType::Register:
      return echo_batch(*frame);
    case FrameType::BeginUnregister:
    case FrameType::FinishUnregister:
    case FrameType::CancelUnregister:
      return echo_as<UnregisterRequest>(*frame);
    case FrameType::Share:
    case FrameType::Unshare:
      return echo_as<ShareRequest>(*frame);
    case FrameType::AddDependency:
    case FrameType::RemoveDependency:
      return echo_as<DependencyRequest>(*frame);
    case FrameType::SetState:
      return echo_as<SetStateRequest>(*frame);
    case FrameType::OpenFd:
      return echo_as<OpenFdRequest>(*frame);
    case FrameType::InternDriver:
      return echo_as<InternDriverRequest>(*frame);
    case FrameType::Ping:
    case FrameType::Goodbye:
      return echo_as<SignalRequest>(*frame);
    case FrameType::Emergency:
      return echo_as<EmergencyRequest>(*frame);
    case FrameType::Repair:
    case FrameType::Unpoison:
      return echo_as<RemedyRequest>(*frame);
    case FrameType::Drain:
    case FrameType::CancelDrain:
      return echo_as<DrainRequest>(*frame);
    case FrameType::SetBudget:
      return echo_as<SetBudgetRequest>(*frame);
    case FrameType::Draw:
      return echo_as<DrawRequest>(*frame);
    case FrameType::ReturnCredits:
      return echo_as<ReturnCreditsRequest>(*frame);
    case FrameType::Need:
      return echo_as<NeedRequest>(*frame);
    case FrameType::Reclaim:
      return echo_as<ReclaimEvent>(*frame);
    case FrameType::Pressure:
      return echo_as<PressureEvent>(*frame);
    case FrameType::Welcome:
      return echo_as<Welcome>(*frame);
    case FrameType::Result:
      return echo_as<ResultReply>(*frame);
    case FrameType::Registered:
      return echo_registered(*frame);
    case FrameType::Quiesce:
      return echo_as<QuiesceEvent>(*frame);
    case FrameType::Orphaned:
    case FrameType::OwnerDied:
      return echo_as<OwnerEvent>(*frame);
    case FrameType::Epoch:
      return echo_as<EpochEvent>(*frame);
    case FrameType::Closing:
      return echo_as<ClosingEvent>(*frame);
    case FrameType::Missed:
      return echo_as<MissedEvent>(*frame);
    case FrameType::Yield:
      return echo_as<YieldEvent>(*frame);
  }
  return fail(ErrorCode::Unsupported, "a type without an echo");
}

}  // namespace resmgr::wire::test
