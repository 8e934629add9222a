// The JSON of load_report.h.
#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "cli/load_report.h"
#include "cli/rounding.h"

namespace snapfaas::cli {
namespace {

constexpr auto kReplace = OrderedJson::error_handler_t::replace;

OrderedJson ToJson(const OutcomeCounts& outcomes) {
  return {{"requests", outcomes.total()},
          {"succeeded", outcomes.succeeded},
          {"function_errors", outcomes.function_errors},
          {"throttled", outcomes.throttled},
          {"failed", outcomes.failed},
          {"unanswered", outcomes.unanswered}};
}

OrderedJson ToJson(const StartCounts& starts) {
  return {{"cold", starts.cold},
          {"restored", starts.restored},
          {"warm", starts.warm},
          {"cold_start_share", Rounded(starts.cold_start_share())}};
}

OrderedJson ToJson(const FunctionSummary& function) {
  return {{"name", function.name},
          {"outcomes", ToJson(function.outcomes)},
          {"starts", ToJson(function.starts)},
          {"latency_ms", cli::ToJson(function.latency)}};
}

// Of two numbers; null where there is none.
OrderedJson RatioOrNull(double off, double on) {
  return off > 0 && on > 0 ? OrderedJson(Rounded(off / on)) : OrderedJson();
}

OrderedJson SampleRow(const std::string& run, const Workload& workload, const LoadSample& sample) {
  return {run,
          workload.functions[sample.function].name,
          sample.user,
          Rounded(static_cast<double>(sample.due_ns) / 1e6),
          Rounded(sample.lag_ms),
          Rounded(sample.latency_ms),
          Rounded(sample.response_ms),
          sample.status,
          sample.has_function_error,
          NameOf(sample.start),
          Rounded(sample.queued_ms),
          Rounded(sample.restore_ms),
          Rounded(sample.load_ms),
          Rounded(sample.run_ms),
          Rounded(sample.total_ms)};
}

OrderedJson SampleColumns() {
  return {"run",        "function",    "user",    "due_ms",         "lag_ms",
          "latency_ms", "response_ms", "status",  "function_error", "start",
          "queued_ms",  "restore_ms",  "load_ms", "run_ms",         "total_ms"};
}

}  // namespace

OrderedJson ToJson(const LatencySpread& spread) {
  if (spread.count == 0) return {{"count", 0}};
  return {{"count", spread.count},      {"p50", Rounded(spread.p50)}, {"p90", Rounded(spread.p90)},
          {"p95", Rounded(spread.p95)}, {"p99", Rounded(spread.p99)}, {"max", Rounded(spread.max)}};
}

OrderedJson ToJson(const LoadSummary& summary) {
  OrderedJson functions = OrderedJson::array();
  for (const FunctionSummary& function : summary.functions) functions.push_back(ToJson(function));
  OrderedJson json = {{"name", summary.name},
                      {"last_answer_seconds", Rounded(summary.seconds)},
                      {"outcomes", ToJson(summary.outcomes)},
                      {"success_rate", summary.success_rate()},
                      {"offered_per_second", Rounded(summary.offered_per_second())},
                      {"succeeded_per_second", Rounded(summary.succeeded_per_second())},
                      {"starts", ToJson(summary.starts)},
                      {"latency_ms",
                       {{"all", ToJson(summary.latency)},
                        {"cold", ToJson(summary.cold)},
                        {"restored", ToJson(summary.restored)},
                        {"warm", ToJson(summary.warm)}}},
                      {"queued_ms", ToJson(summary.queued)},
                      {"scheduling_ms", ToJson(summary.scheduling)},
                      {"send_lag_ms", ToJson(summary.lag)},
                      {"memory_budget_mib", summary.budget_mib},
                      {"peak_reserved_mib", summary.peak_reserved_mib},
                      {"idle_before", summary.idle_before}};
  if (summary.counts) json["counts"] = *summary.counts;
  json["problems"] = summary.problems;
  json["functions"] = std::move(functions);
  return json;
}

OrderedJson ComparisonJson(const LoadSummary& off, const LoadSummary& on) {
  return {{"off_to_on",
           {{"latency_p50", RatioOrNull(off.latency.p50, on.latency.p50)},
            {"latency_p90", RatioOrNull(off.latency.p90, on.latency.p90)},
            {"latency_p95", RatioOrNull(off.latency.p95, on.latency.p95)},
            {"latency_p99", RatioOrNull(off.latency.p99, on.latency.p99)},
            {"cold_start_p50", RatioOrNull(off.cold.p50, on.restored.p50)},
            {"cold_start_p99", RatioOrNull(off.cold.p99, on.restored.p99)},
            {"warm_p50", RatioOrNull(off.warm.p50, on.warm.p50)}}}};
}

std::string WithSamples(const OrderedJson& head, const Workload& workload, const std::vector<NamedRun>& runs) {
  std::string text = head.dump(2, ' ', false, kReplace);
  text.resize(text.rfind("\n}"));
  text += fmt::format(",\n  \"sample_columns\": {},\n  \"samples\": [", SampleColumns().dump());
  const char* separator = "\n    ";
  for (const NamedRun& named : runs) {
    for (const LoadSample& sample : named.run.samples) {
      text += separator + SampleRow(named.name, workload, sample).dump(-1, ' ', false, kReplace);
      separator = ",\n    ";
    }
  }
  return text + "\n  ]\n}\n";
}

}  // namespace snapfaas::cli
