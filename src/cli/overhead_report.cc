#include "cli/overhead_report.h"

#include <fmt/format.h>

#include <utility>

#include "cli/rounding.h"
#include "cli/table.h"

namespace snapfaas::cli {
namespace {

template <typename Value>
LatencySpread SpreadOfWarm(const std::vector<LoadSample>& samples, Value value) {
  std::vector<double> millis;
  for (const LoadSample& sample : samples) {
    if (sample.start == Start::kWarm) millis.push_back(value(sample));
  }
  return LatencySpreadOf(std::move(millis));
}

}  // namespace

OverheadSummary SummarizeOverhead(const std::vector<LoadSample>& samples) {
  OverheadSummary summary;
  summary.client = SpreadOfWarm(samples, [](const LoadSample& s) { return s.response_ms; });
  summary.vm = SpreadOfWarm(samples, [](const LoadSample& s) { return s.run_ms; });
  summary.added = SpreadOfWarm(samples, [](const LoadSample& s) { return s.response_ms - s.run_ms; });
  summary.in_node = SpreadOfWarm(samples, [](const LoadSample& s) { return s.total_ms - s.run_ms; });
  summary.in_http = SpreadOfWarm(samples, [](const LoadSample& s) { return s.response_ms - s.total_ms; });
  summary.not_warm = samples.size() - summary.client.count;
  return summary;
}

double OverheadSummary::ratio() const { return vm.p50 > 0 ? added.p50 / vm.p50 : 0; }

std::string Describe(const OverheadSummary& summary) {
  std::vector<std::vector<std::string>> rows;
  const std::pair<const char*, const LatencySpread*> lines[] = {{"a warm call", &summary.client},
                                                                {"  in the microVM", &summary.vm},
                                                                {"  added to it", &summary.added},
                                                                {"    in the node", &summary.in_node},
                                                                {"    by HTTP and client", &summary.in_http}};
  for (const auto& [name, spread] : lines) {
    rows.push_back({name, fmt::format("{:.3f}", spread->p50), fmt::format("{:.3f}", spread->p90),
                    fmt::format("{:.3f}", spread->p99), fmt::format("{:.3f}", spread->max)});
  }
  std::string text = FormatTable(
      {{"ms"}, {"median", Align::kRight}, {"p90", Align::kRight}, {"p99", Align::kRight}, {"max", Align::kRight}},
      rows);
  if (summary.not_warm > 0) text += fmt::format("{} calls were not warm and are left out\n", summary.not_warm);
  return text + fmt::format("added / microVM: {:.2f}x\n", summary.ratio());
}

nlohmann::ordered_json ToJson(const OverheadSummary& summary) {
  return {{"client_ms", ToJson(summary.client)},   {"vm_ms", ToJson(summary.vm)},
          {"added_ms", ToJson(summary.added)},     {"in_node_ms", ToJson(summary.in_node)},
          {"in_http_ms", ToJson(summary.in_http)}, {"added_to_vm", Rounded(summary.ratio())},
          {"not_warm", summary.not_warm}};
}

}  // namespace snapfaas::cli
