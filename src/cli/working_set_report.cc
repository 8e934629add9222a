#include "cli/working_set_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/breakdown_report.h"
#include "cli/rounding.h"
#include "cli/table.h"

namespace snapfaas::cli {
namespace {

nlohmann::ordered_json RunToJson(const WorkingSetRun& run) {
  nlohmann::ordered_json json = {{"mode", run.mode},
                                 {"input", run.input},
                                 {"ready_ms", Rounded(run.ready_ms)},
                                 {"response_ms", Rounded(run.response_ms)},
                                 {"faults", run.faults}};
  if (!run.touched) return json;
  json["read_pages"] = run.touched->read_pages;
  json["written_pages"] = run.touched->written_pages;
  auto& recurrence = json["recurrence"] = nlohmann::ordered_json::array();
  for (const double share : run.touched->recurrence) recurrence.push_back(RoundedTo(4, share));
  return json;
}

std::vector<std::string> ModesIn(const WorkingSetLayer& layer) {
  std::vector<std::string> modes;
  for (const WorkingSetRun& run : layer.runs) {
    if (std::find(modes.begin(), modes.end(), run.mode) == modes.end()) modes.push_back(run.mode);
  }
  return modes;
}

std::vector<std::string> RowOfMode(const WorkingSetLayer& layer, const std::string& mode) {
  std::vector<double> response;
  std::vector<double> faults;
  std::vector<double> read;
  std::vector<double> written;
  for (const WorkingSetRun& run : layer.runs) {
    if (run.mode != mode) continue;
    response.push_back(run.response_ms);
    faults.push_back(static_cast<double>(run.faults));
    if (!run.touched) continue;
    read.push_back(static_cast<double>(run.touched->read_pages));
    written.push_back(static_cast<double>(run.touched->written_pages));
  }
  const auto median = [](std::vector<double>& samples, int digits) {
    return samples.empty() ? "-" : fmt::format("{:.{}f}", SpreadOf(std::move(samples)).median, digits);
  };
  return {layer.layer, mode, median(response, 1), median(faults, 0), median(read, 0), median(written, 0)};
}

std::string RecurrenceLine(const WorkingSetLayer& layer) {
  std::vector<double> shares;
  for (const WorkingSetRun& run : layer.runs) {
    if (run.touched) shares.insert(shares.end(), run.touched->recurrence.begin(), run.touched->recurrence.end());
  }
  if (shares.empty()) return {};
  const Spread spread = SpreadOf(std::move(shares));
  return fmt::format("{} layer: {:.1f} % of a request's pages were an earlier one's too (median; {:.1f} % at least)\n",
                     layer.layer, 100 * spread.median, 100 * spread.min);
}

}  // namespace

nlohmann::ordered_json ToJson(const WorkingSetReport& report) {
  nlohmann::ordered_json json = {
      {"host", report.host},       {"accelerator", report.accelerator},    {"commit", report.commit},
      {"runtime", report.runtime}, {"memory_mib", report.size.memory_mib}, {"vcpus", report.size.vcpus},
      {"events", report.events}};
  auto& layers = json["layers"] = nlohmann::ordered_json::array();
  for (const WorkingSetLayer& layer : report.layers) {
    auto runs = nlohmann::ordered_json::array();
    for (const WorkingSetRun& run : layer.runs) runs.push_back(RunToJson(run));
    layers.push_back({{"layer", layer.layer}, {"stored_pages", layer.stored_pages}, {"runs", std::move(runs)}});
  }
  return json;
}

std::string WorkingSetTable(const WorkingSetReport& report) {
  const std::vector<Column> columns = {{"layer"},
                                       {"mode"},
                                       {"response, ms", Align::kRight},
                                       {"faults", Align::kRight},
                                       {"pages read", Align::kRight},
                                       {"written", Align::kRight}};
  std::vector<std::vector<std::string>> rows;
  std::string recurrence;
  for (const WorkingSetLayer& layer : report.layers) {
    for (const std::string& mode : ModesIn(layer)) rows.push_back(RowOfMode(layer, mode));
    recurrence += RecurrenceLine(layer);
  }
  return fmt::format("{} with {} MiB and {} vCPU; medians\n\n{}{}", report.runtime, report.size.memory_mib,
                     report.size.vcpus, FormatTable(columns, rows), recurrence);
}

}  // namespace snapfaas::cli
