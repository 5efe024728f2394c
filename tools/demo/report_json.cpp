// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "tools/demo/report.hpp"

namespace demo {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json refusal_json(const std::optional<hal::Error>& refused, bool as_promised) {
  Json json{{"refused", as_promised}};
  if (!refused) return json;
  json["code"] = resmgr::to_string(refused->code());
  json["message"] = refused->message();
  Json cycle = Json::array();
  for (const hal::Participant& waiter : refused->cycle()) {
    cycle.push_back({{"driver", waiter.driver.data()},
                     {"pid", waiter.pid},
                     {"context", waiter.context},
                     {"waits_for", waiter.resource.data()},
                     {"waited_ns", waiter.held_ns}});
  }
  if (!cycle.empty()) json["cycle"] = std::move(cycle);
  return json;
}

std::optional<hal::Error> error_of(const Deadlock& deadlock) {
  for (const Party& party : deadlock.parties) {
    if (party.refused) return party.refused;
  }
  return {};
}

Json wrong_json(const CheckResult& checked) {
  Json list = Json::array();
  for (const WrongFrame& wrong : checked.first_wrong) {
    list.push_back({{"frame", wrong.note.number},
                    {"offset", wrong.note.offset},
                    {"bytes", wrong.note.bytes},
                    {"file_crc32c", wrong.file_crc},
                    {"engine_crc32c", wrong.note.engine_crc},
                    {"buffer_crc32c", wrong.buffer_crc}});
  }
  return list;
}

}  // namespace

std::string to_json(const Report& report) {
  const TransferResult& transfer = report.transfer;
  const CheckResult& checked = transfer.checked;
  const auto& quick = transfer.acquired_at_once;
  Json json{
      {"input", report.options.input},
      {"input_bytes", or_null(report.input_bytes)},
      {"frames", checked.frames},
      {"bytes", checked.bytes},
      {"frame_bytes", report.frame_bytes},
      {"pool", report.options.pool},
      {"rate_hz", report.options.rate_hz},
      {"seed", report.options.seed},
      {"interrupted", transfer.interrupted},
      {"crc_ok", report.crc_ok()},
      {"wrong_frames", checked.wrong},
      {"first_wrong", wrong_json(checked)},
      {"seconds", transfer.seconds},
      {"bytes_per_second", report.bytes_per_second()},
      {"acquired_at_once", quick.samples},
      {"acquire_ns_p50", quick.p50.count()},
      {"acquire_ns_p99", quick.p99.count()},
      {"waited", transfer.waited.samples},
      {"checker_waits", checked.waits},
      {"producer_waits", transfer.producer_waits},
      {"wait_ns_p50", transfer.waited.p50.count()},
      {"wait_ns_p99", transfer.waited.p99.count()},
      {"contended", transfer.contended},
      {"longest_wait_ns", transfer.longest_wait_ns},
      {"hiccups", checked.hiccups},
      {"ticks", transfer.ticks.expirations},
      {"tick_overruns", transfer.ticks.overruns},
      {"tick_late_ns_p50", transfer.ticks.lateness.p50.count()},
      {"tick_late_ns_p99", transfer.ticks.lateness.p99.count()},
      {"leaks", report.leaks.size()},
      {"leak_lines", report.leaks},
      {"reports", report.reports},
  };
  if (report.killed) {
    json["served"] = true;
    json["killed"] = report.killed->times;
    json["recovered_ns"] = report.killed->recovered.count();
  }
  if (report.refusals) {
    const Refusals& refusals = *report.refusals;
    json["deadlock"] = refusal_json(error_of(refusals.deadlock), refusals.deadlock.as_promised());
    json["lock_order"] = refusal_json(refusals.inversion.refused, refusals.inversion.as_promised());
  }
  // A path may hold any bytes, JSON only UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace demo
