#include "cli/breakdown_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cli/rounding.h"

namespace snapfaas::cli {
namespace {

double Quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - std::floor(place));
}

std::vector<double> ColumnOf(const Runs& runs, size_t phase) {
  std::vector<double> column;
  column.reserve(runs.size());
  for (const auto& run : runs) column.push_back(run[phase].second);
  return column;
}

std::string_view Meaning(std::string_view phase) {
  constexpr std::pair<std::string_view, std::string_view> kMeanings[] = {
      {"vmm", "VMM"},
      {"kernel", "kernel"},
      {"init", "init"},
      {"runtime", "language runtime"},
      {"memory", "memory and state"},
      {"identity", "identity"},
      {"mount", "appfs mount"},
      {"load", "function load"},
      {"request", "request"},
      {"ready", "= launch to runtime ready"},
      {"response", "= launch to first response"},
  };
  for (const auto& [name, meaning] : kMeanings) {
    if (name == phase) return meaning;
  }
  return phase;
}

}  // namespace

Spread SpreadOf(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return {samples.front(), Quantile(samples, 0.25), Quantile(samples, 0.5), Quantile(samples, 0.75), samples.back()};
}

double DeviationOf(std::vector<double> samples) {
  const double median = SpreadOf(samples).median;
  for (double& sample : samples) sample = std::abs(sample - median);
  return SpreadOf(std::move(samples)).median;
}

nlohmann::ordered_json MillisToJson(const std::vector<double>& millis) {
  auto json = nlohmann::ordered_json::array();
  for (const double one : millis) json.push_back(Rounded(one));
  return json;
}

Phases PhasesOf(const faas::BootBreakdown& b) {
  return {{"vmm", b.vmm},   {"kernel", b.kernel},   {"init", b.init},   {"runtime", b.runtime},
          {"load", b.load}, {"request", b.request}, {"ready", b.ready}, {"response", b.response}};
}

Phases PhasesOf(const faas::RestoreBreakdown& b) {
  return {{"vmm", b.vmm},   {"memory", b.memory},   {"identity", b.identity}, {"mount", b.mount},
          {"load", b.load}, {"request", b.request}, {"ready", b.ready},       {"response", b.response}};
}

nlohmann::ordered_json PhasesToJson(const Phases& phases) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, millis] : phases) json[std::string(name)] = Rounded(millis);
  return json;
}

nlohmann::ordered_json PhasesToJson(const faas::BootBreakdown& breakdown) { return PhasesToJson(PhasesOf(breakdown)); }
nlohmann::ordered_json PhasesToJson(const faas::RestoreBreakdown& breakdown) {
  return PhasesToJson(PhasesOf(breakdown));
}

Phases Medians(const Runs& runs) {
  Phases medians = runs.front();
  for (size_t phase = 0; phase < medians.size(); ++phase) {
    medians[phase].second = SpreadOf(ColumnOf(runs, phase)).median;
  }
  return medians;
}

double MedianOf(const Runs& runs, std::string_view phase) {
  for (const auto& [name, millis] : Medians(runs)) {
    if (name == phase) return millis;
  }
  return 0;
}

std::vector<double> SamplesOf(const Runs& runs, std::string_view phase) {
  std::vector<double> samples;
  for (const Phases& run : runs) {
    for (const auto& [name, millis] : run) {
      if (name == phase) samples.push_back(millis);
    }
  }
  return samples;
}

nlohmann::ordered_json SamplesToJson(const Runs& runs) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (size_t phase = 0; phase < runs.front().size(); ++phase) {
    json[std::string(runs.front()[phase].first)] = MillisToJson(ColumnOf(runs, phase));
  }
  return json;
}

std::string Table(std::string_view title, const Runs& runs) {
  std::string table =
      fmt::format("{}\n  {:<28}{:>10}{:>10}{:>10}{:>10}{:>10}\n", fmt::format("{}, {} runs (ms)", title, runs.size()),
                  "", "min", "p25", "median", "p75", "max");
  for (size_t phase = 0; phase < runs.front().size(); ++phase) {
    const Spread spread = SpreadOf(ColumnOf(runs, phase));
    table += fmt::format("  {:<28}{:>10.1f}{:>10.1f}{:>10.1f}{:>10.1f}{:>10.1f}\n", Meaning(runs.front()[phase].first),
                         spread.min, spread.p25, spread.median, spread.p75, spread.max);
  }
  return table;
}

}  // namespace snapfaas::cli
