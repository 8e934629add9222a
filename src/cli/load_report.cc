#include "cli/load_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/clock.h"
#include "cli/table.h"

namespace snapfaas::cli {
namespace {

// A generator that is later than this spoils what it measures.
constexpr double kTolerableLagMillis = 10;
// More functions than these are in the JSON only.
constexpr size_t kMostFunctionRows = 40;

using Cells = std::vector<std::string>;

double Share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string Percent(double share) { return fmt::format("{:.2f} %", share * 100); }

void Tally(OutcomeCounts& outcomes, const LoadSample& sample) {
  if (sample.succeeded()) {
    ++outcomes.succeeded;
  } else if (sample.status == 200) {
    ++outcomes.function_errors;
  } else if (sample.status == 429) {
    ++outcomes.throttled;
  } else if (sample.status != 0) {
    ++outcomes.failed;
  } else {
    ++outcomes.unanswered;
  }
}

void Tally(StartCounts& starts, Start start) {
  if (start == Start::kWarm) ++starts.warm;
  if (start == Start::kRestored) ++starts.restored;
  if (start == Start::kCold) ++starts.cold;
}

// From the request's coming to its function's being called. What a warm one says of a restore was the reset before it.
double SchedulingMillis(const LoadSample& sample) {
  return sample.queued_ms + (sample.start == Start::kWarm ? 0 : sample.restore_ms + sample.load_ms);
}

template <typename Condition>
LatencySpread LatencyWhere(const std::vector<LoadSample>& samples, Condition condition) {
  std::vector<double> millis;
  for (const LoadSample& sample : samples) {
    if (sample.succeeded() && condition(sample)) millis.push_back(sample.latency_ms);
  }
  return LatencySpreadOf(std::move(millis));
}

// There may be thousands of functions, and millions of samples.
std::vector<FunctionSummary> SummarizeFunctions(const Workload& workload, const std::vector<LoadSample>& samples) {
  std::vector<FunctionSummary> summaries(workload.functions.size());
  std::vector<std::vector<double>> latencies(summaries.size());
  for (size_t i = 0; i < summaries.size(); ++i) summaries[i].name = workload.functions[i].name;
  for (const LoadSample& sample : samples) {
    FunctionSummary& summary = summaries[sample.function];
    Tally(summary.outcomes, sample);
    Tally(summary.starts, sample.start);
    if (sample.succeeded()) latencies[sample.function].push_back(sample.latency_ms);
  }
  for (size_t i = 0; i < summaries.size(); ++i) summaries[i].latency = LatencySpreadOf(std::move(latencies[i]));
  return summaries;
}

void SummarizeNode(LoadSummary& summary, const LoadRun& run) {
  std::vector<NodeState> states = run.states;
  if (run.after) states.push_back(*run.after);
  for (const NodeState& state : states) {
    summary.budget_mib = state.budget_mib;
    summary.peak_reserved_mib = std::max(summary.peak_reserved_mib, state.reserved_mib);
  }
  if (states.empty()) return;
  summary.idle_before = states.front().vms_idle;
  if (!run.after) return;
  auto& counts = summary.counts.emplace();
  for (const auto& [name, now] : run.after->counts) {
    const auto before = states.front().counts.find(name);
    const uint64_t then = before == states.front().counts.end() ? 0 : before->second;
    counts[name] = now - std::min(now, then);
  }
}

std::string Millis(double millis) { return fmt::format("{:.1f}", millis); }

Cells LatencyRow(const std::string& name, const LatencySpread& spread) {
  if (spread.count == 0) return {name, "0", "", "", "", "", ""};
  return {name,
          std::to_string(spread.count),
          Millis(spread.p50),
          Millis(spread.p90),
          Millis(spread.p95),
          Millis(spread.p99),
          Millis(spread.max)};
}

std::string LatencyTable(const LoadSummary& summary) {
  std::vector<Cells> rows = {LatencyRow("all", summary.latency),         LatencyRow("  cold", summary.cold),
                             LatencyRow("  restored", summary.restored), LatencyRow("  warm", summary.warm),
                             LatencyRow("queued", summary.queued),       LatencyRow("scheduling", summary.scheduling)};
  if (summary.functions.size() > 1 && summary.functions.size() <= kMostFunctionRows) {
    for (const FunctionSummary& function : summary.functions) {
      rows.push_back(LatencyRow(function.name, function.latency));
    }
  }
  return FormatTable({{"latency, ms"},
                      {"requests", Align::kRight},
                      {"p50", Align::kRight},
                      {"p90", Align::kRight},
                      {"p95", Align::kRight},
                      {"p99", Align::kRight},
                      {"max", Align::kRight}},
                     rows);
}

std::string OutcomeLine(const LoadSummary& summary) {
  const OutcomeCounts& outcomes = summary.outcomes;
  std::string line =
      fmt::format("succeeded {} of {} ({})", outcomes.succeeded, outcomes.total(), Percent(summary.success_rate()));
  const std::pair<std::string_view, uint64_t> others[] = {{"function errors", outcomes.function_errors},
                                                          {"throttled", outcomes.throttled},
                                                          {"failed", outcomes.failed},
                                                          {"unanswered", outcomes.unanswered}};
  for (const auto& [name, count] : others) line += fmt::format(", {} {}", name, count);
  return line + "\n";
}

uint64_t CountIn(const LoadSummary& summary, const char* name) {
  const auto found = summary.counts->find(name);
  return found == summary.counts->end() ? 0 : found->second;
}

std::string NodeLines(const LoadSummary& summary) {
  std::string lines =
      fmt::format("memory   at most {} of {} MiB reserved\n", summary.peak_reserved_mib, summary.budget_mib);
  if (!summary.counts) return lines + "the node did not answer after the run: see its log\n";
  return lines + fmt::format("microVMs {} launched, {} evicted, {} expired; {} idle at the start\n",
                             CountIn(summary, "launches"), CountIn(summary, "evictions"),
                             CountIn(summary, "expirations"), summary.idle_before);
}

std::string LagLines(const LatencySpread& lag) {
  if (lag.max == 0) return {};  // as of a simulated generator
  std::string line =
      fmt::format("send lag median {:.2f} ms, p99 {:.2f} ms, at most {:.2f} ms\n", lag.p50, lag.p99, lag.max);
  if (lag.p99 > kTolerableLagMillis) {
    line += "         the generator was late: lower the load, or run it on another machine, before you trust these\n";
  }
  return line;
}

std::string RatioText(double off, double on) { return off > 0 && on > 0 ? fmt::format("{:.2f}x", off / on) : ""; }

Cells CompareLatency(const std::string& name, double off, double on) {
  return {name, off > 0 ? Millis(off) : "", on > 0 ? Millis(on) : "", RatioText(off, on)};
}

Cells CompareCount(const std::string& name, uint64_t off, uint64_t on) {
  return {name, std::to_string(off), std::to_string(on), RatioText(static_cast<double>(off), static_cast<double>(on))};
}

}  // namespace

LatencySpread LatencySpreadOf(std::vector<double> millis) {
  if (millis.empty()) return {};
  std::sort(millis.begin(), millis.end());
  const auto rank = [&millis](double share) {
    const double place = std::ceil(share * static_cast<double>(millis.size()));
    return millis[std::max<size_t>(static_cast<size_t>(place), 1) - 1];
  };
  return {millis.size(), rank(0.5), rank(0.9), rank(0.95), rank(0.99), millis.back()};
}

double StartCounts::cold_start_share() const { return Share(cold + restored, cold + restored + warm); }

double LoadSummary::success_rate() const { return Share(outcomes.succeeded, outcomes.total()); }

double LoadSummary::offered_per_second() const {
  return duration_seconds > 0 ? static_cast<double>(outcomes.total()) / duration_seconds : 0;
}

double LoadSummary::succeeded_per_second() const {
  return duration_seconds > 0 ? static_cast<double>(succeeded_in_time) / duration_seconds : 0;
}

LoadSummary Summarize(const std::string& name, const Workload& workload, const LoadRun& run) {
  LoadSummary summary;
  summary.name = name;
  summary.duration_seconds = workload.duration_seconds;
  summary.seconds = run.seconds;
  std::vector<double> lags;
  lags.reserve(run.samples.size());
  std::vector<double> queued;
  std::vector<double> scheduling;
  for (const LoadSample& sample : run.samples) {
    Tally(summary.outcomes, sample);
    Tally(summary.starts, sample.start);
    lags.push_back(sample.lag_ms);
    if (sample.start != Start::kUnknown) {
      queued.push_back(sample.queued_ms);
      scheduling.push_back(SchedulingMillis(sample));
    }
    const double answered_ms = ToMillis(sample.due_ns) + sample.latency_ms;
    if (sample.succeeded() && answered_ms <= workload.duration_seconds * 1e3) ++summary.succeeded_in_time;
  }
  summary.lag = LatencySpreadOf(std::move(lags));
  summary.queued = LatencySpreadOf(std::move(queued));
  summary.scheduling = LatencySpreadOf(std::move(scheduling));
  const auto of = [&run](Start start) {
    return LatencyWhere(run.samples, [start](const LoadSample& sample) { return sample.start == start; });
  };
  summary.latency = LatencyWhere(run.samples, [](const LoadSample& /*sample*/) { return true; });
  summary.warm = of(Start::kWarm);
  summary.restored = of(Start::kRestored);
  summary.cold = of(Start::kCold);
  summary.functions = SummarizeFunctions(workload, run.samples);
  SummarizeNode(summary, run);
  summary.problems = run.problems;
  return summary;
}

std::string Describe(const LoadSummary& summary) {
  const StartCounts& starts = summary.starts;
  std::string text =
      fmt::format("{}: {} requests in {:.1f} s, {:.1f} a second; the last answer after {:.1f} s\n", summary.name,
                  summary.outcomes.total(), summary.duration_seconds, summary.offered_per_second(), summary.seconds);
  text += OutcomeLine(summary);
  for (const auto& [problem, count] : summary.problems) text += fmt::format("  {} times: {}\n", count, problem);
  text += fmt::format("answers  {:.1f} a second succeeded; cold starts {} ({} cold, {} restored, {} warm)\n",
                      summary.succeeded_per_second(), Percent(starts.cold_start_share()), starts.cold, starts.restored,
                      starts.warm);
  return text + NodeLines(summary) + LagLines(summary.lag) + "\n" + LatencyTable(summary);
}

std::string Comparison(const LoadSummary& off, const LoadSummary& on) {
  std::vector<Cells> rows = {
      {"succeeded", Percent(off.success_rate()), Percent(on.success_rate()), ""},
      CompareCount("throttled", off.outcomes.throttled, on.outcomes.throttled),
      {"cold starts", Percent(off.starts.cold_start_share()), Percent(on.starts.cold_start_share()), ""},
      CompareLatency("latency p50, ms", off.latency.p50, on.latency.p50),
      CompareLatency("latency p90, ms", off.latency.p90, on.latency.p90),
      CompareLatency("latency p95, ms", off.latency.p95, on.latency.p95),
      CompareLatency("latency p99, ms", off.latency.p99, on.latency.p99),
      CompareLatency("latency max, ms", off.latency.max, on.latency.max),
      // A cold start is what it is without a function snapshot, and with one.
      CompareLatency("cold start p50, ms", off.cold.p50, on.restored.p50),
      CompareLatency("cold start p99, ms", off.cold.p99, on.restored.p99),
      CompareLatency("warm p50, ms", off.warm.p50, on.warm.p50),
      CompareCount("peak memory, MiB", off.peak_reserved_mib, on.peak_reserved_mib),
  };
  if (off.counts && on.counts) {
    rows.push_back(CompareCount("launches", CountIn(off, "launches"), CountIn(on, "launches")));
    rows.push_back(CompareCount("evictions", CountIn(off, "evictions"), CountIn(on, "evictions")));
  }
  return FormatTable(
      {{"function snapshots"}, {"off", Align::kRight}, {"on", Align::kRight}, {"off / on", Align::kRight}}, rows);
}

}  // namespace snapfaas::cli
