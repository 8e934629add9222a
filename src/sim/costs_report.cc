#include "sim/costs_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <vector>

namespace snapfaas::sim {
namespace {

// A function with fewer samples of a kind has those of all functions.
constexpr size_t kEnough = 20;
// Of warm requests, all functions together.
constexpr size_t kLeast = 8;
// Of those whose median says what is usual.
constexpr size_t kLeastAlike = 4;
// A launch that waited for more than so many times what a warm request did, and alone, waited for an evicted microVM's
// end.
constexpr double kEvictionWait = 5;
constexpr double kLeastEvictionWaitMs = 0.2;
// KVM closes a VM in 7 to 14 ms on the emulated host, of which 1.5 are work: the rest are RCU's grace periods.
constexpr double kDestroyCpuShare = 0.1;
enum class RowStart { kNone, kWarm, kRestored, kCold };

// A request of a report, in milliseconds.
struct Row {
  std::string function;
  RowStart start = RowStart::kNone;
  double due = 0;
  double latency = 0;
  double queued = 0;
  double restore = 0;
  double load = 0;
  double run = 0;
  double rested = 0;  // how long nobody had worked before it came
  double weight = 1;  // how many requests it stands for

  double overhead() const { return latency - queued - run - (start == RowStart::kWarm ? 0 : restore + load); }
};
using RowRuns = std::map<std::string, std::vector<Row>>;  // by the run's name

using Samples = std::vector<double>;

double MedianOfSamples(Samples samples) {
  if (samples.empty()) return 0;
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

RowStart StartNamed(const std::string& name) {
  if (name == "warm") return RowStart::kWarm;
  if (name == "restored") return RowStart::kRestored;
  return name == "cold" ? RowStart::kCold : RowStart::kNone;
}

// Where a report has its columns.
class RowReader {
 public:
  static Result<RowReader> Create(const Json& columns, const std::string& file) {
    RowReader reader;
    for (size_t i = 0; i < kColumns.size(); ++i) {
      const auto found = std::find(columns.begin(), columns.end(), kColumns[i]);
      if (found == columns.end()) {
        return Fail(ErrorCode::kInvalidArgument,
                    "{}: the requests have no {}: make the report anew, with this version's snapfaas bench load --json",
                    file, kColumns[i]);
      }
      reader.places_[i] = static_cast<size_t>(found - columns.begin());
    }
    return reader;
  }

  // False: it is not a row of such columns.
  bool Read(const Json& json, std::string& run, Row& row) const {
    if (!json.is_array() || json.size() <= *std::max_element(places_.begin(), places_.end())) return false;
    const auto at = [this, &json](size_t column) -> const Json& { return json[places_[column]]; };
    for (size_t i = 0; i < kColumns.size(); ++i) {
      const bool is_right = i < kTexts ? at(i).is_string() : i == kError ? at(i).is_boolean() : at(i).is_number();
      if (!is_right) return false;
    }
    run = at(0).get<std::string>();
    row.function = at(1).get<std::string>();
    const bool succeeded = at(kStatus).get<int64_t>() == 200 && !at(kError).get<bool>();
    row.start = succeeded ? StartNamed(at(2).get<std::string>()) : RowStart::kNone;
    double* const numbers[] = {&row.due, &row.latency, &row.queued, &row.restore, &row.load, &row.run};
    for (size_t i = 0; i < std::size(numbers); ++i) *numbers[i] = at(kNumbers + i).get<double>();
    return true;
  }

 private:
  static constexpr std::array<const char*, 11> kColumns = {"run",        "function", "start",      "function_error",
                                                           "status",     "due_ms",   "latency_ms", "queued_ms",
                                                           "restore_ms", "load_ms",  "run_ms"};
  static constexpr size_t kTexts = 3;
  static constexpr size_t kError = 3;
  static constexpr size_t kStatus = 4;
  static constexpr size_t kNumbers = 5;

  std::array<size_t, kColumns.size()> places_{};
};

Result<RowRuns> ReadRows(const Json& report, const std::string& file) {
  auto reader = RowReader::Create(report.at("sample_columns"), file);
  if (!reader) return Forward(reader.error());
  RowRuns runs;
  for (const Json& json : report.at("samples")) {
    Row row;
    std::string run;
    if (!reader->Read(json, run, row)) {
      return Fail(ErrorCode::kInvalidArgument, "{}: this is no request of a load: {}", file, json.dump());
    }
    runs[run].push_back(std::move(row));
  }
  return runs;
}

// 0 where there is none.
double NumberAt(const Json& object, const char* key) {
  const Json value = object.is_object() ? object.value(key, Json()) : Json();
  return value.is_number() ? value.get<double>() : 0;
}

// What the node says that preparing shells took, in all runs of a report.
struct ShellTimes {
  double count = 0;
  double millis = 0;

  double mean() const { return count > 0 ? millis / count : 0; }
};

ShellTimes ShellTimesOf(const Json& report) {
  ShellTimes times;
  const Json runs = report.value("runs", Json::array());
  for (const Json& run : runs) {
    const Json counts = run.is_object() ? run.value("counts", Json()) : Json();
    times.count += NumberAt(counts, "shells_started");
    times.millis += NumberAt(counts, "shells_starting_ms");
  }
  return times;
}

template <typename Value>
Samples Collect(const std::vector<Row>& rows, RowStart start, Value value) {
  Samples samples;
  for (const Row& row : rows) {
    if (row.start == start) samples.push_back(value(row));
  }
  return samples;
}

std::map<std::string, std::vector<Row>> ByFunction(const std::vector<Row>& rows) {
  std::map<std::string, std::vector<Row>> by_function;
  for (const Row& row : rows) by_function[row.function].push_back(row);
  return by_function;
}

// By how much warm requests took longer than the median of their like.
struct Odds {
  Samples after_rest;
  Samples after_work;
};

template <typename Value>
void AddOdds(const std::vector<Row>& rows, Value value, Odds& odds) {
  const Samples values = Collect(rows, RowStart::kWarm, value);
  if (values.size() < kLeastAlike) return;
  const double median = MedianOfSamples(values);
  for (const Row& row : rows) {
    if (row.start != RowStart::kWarm) continue;
    (row.rested >= kRestMs ? odds.after_rest : odds.after_work).push_back(value(row) - median);
  }
}

// How much longer they took after a rest. 0 where there are too few.
double RestCost(const Odds& odds) {
  if (std::min(odds.after_rest.size(), odds.after_work.size()) < kLeast) return 0;
  return std::max(0.0, MedianOfSamples(odds.after_rest) - MedianOfSamples(odds.after_work));
}

// Of requests that come at random, so many a millisecond, long ones are among those that met no other too seldom: by so
// much.
double WeightOf(const Row& row, double rate) {
  constexpr double kMost = 10;
  return std::min(std::exp(rate * row.latency), kMost);
}

// Requests that met no other.
struct QuietRows {
  std::vector<Row> alone;
  Odds overheads;  // in one run of the load
  Odds runs;       // and of one function
  ShellTimes shells;
};

// Of one run, without each function's first launch: that one found nothing prepared for it.
void AddQuietRowsOf(std::vector<Row> rows, double shell_ms, const std::optional<Half>& half, QuietRows& quiet) {
  const size_t before = quiet.alone.size();
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.due < b.due; });
  const double span = rows.empty() ? 0 : rows.back().due - rows.front().due;
  const double rate = span > 0 ? static_cast<double>(rows.size() - 1) / span : 0;
  std::set<std::string> launched;
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  double request_until = kNever;
  double shell_until = kNever;  // at the latest
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    const double end = row.due + row.latency;
    const bool is_first = row.start != RowStart::kWarm && launched.insert(row.function).second;
    const bool meets_next = i + 1 < rows.size() && rows[i + 1].due < end;
    const bool counts = row.start != RowStart::kNone && !is_first && (!half || half->Has(row.due));
    if (counts && row.due >= request_until && !meets_next) {
      if (row.due >= shell_until) {
        quiet.alone.push_back(row);
        quiet.alone.back().rested = row.due - std::max(request_until, shell_until);
        quiet.alone.back().weight = WeightOf(row, rate);
      }
    }
    request_until = std::max(request_until, end);
    if (row.start == RowStart::kWarm) continue;
    // It begins when the launch is done with and its request runs.
    shell_until = std::max(shell_until, end + shell_ms);
  }
  const std::vector<Row> added(quiet.alone.begin() + static_cast<std::ptrdiff_t>(before), quiet.alone.end());
  AddOdds(
      added, [](const Row& row) { return row.overhead(); }, quiet.overheads);
  for (const auto& [function, own] : ByFunction(added)) {
    AddOdds(
        own, [](const Row& row) { return row.run; }, quiet.runs);
  }
}

PhaseCost CostOf(Samples samples, const Samples& weights = {}) { return {Times(std::move(samples), weights), 1}; }

Samples WeightsOf(const std::vector<Row>& rows, RowStart start) {
  return Collect(rows, start, [](const Row& row) { return row.weight; });
}

PhaseCost RunCostOf(const std::vector<Row>& rows, RowStart start) {
  return CostOf(Collect(rows, start, [](const Row& row) { return row.run; }), WeightsOf(rows, start));
}

std::optional<LaunchCosts> LaunchCostsOf(const std::vector<Row>& rows, RowStart start, double warm_overhead,
                                         size_t enough) {
  // Making a microVM also costs the node something around it.
  auto starts = Collect(rows, start, [warm_overhead](const Row& row) {
    return row.restore + std::max(0.0, row.overhead() - warm_overhead);
  });
  if (starts.size() < enough) return std::nullopt;
  const Samples weights = WeightsOf(rows, start);
  return LaunchCosts{CostOf(std::move(starts), weights),
                     CostOf(Collect(rows, start, [](const Row& row) { return row.load; }), weights),
                     RunCostOf(rows, start)};
}

void AddLaunches(const std::vector<Row>& rows, double warm_overhead, bool is_bare, size_t enough,
                 FunctionCosts& costs) {
  const std::pair<RowStart, LaunchKind> kinds[] = {
      {RowStart::kRestored, is_bare ? LaunchKind::kFunctionSnapshotBare : LaunchKind::kFunctionSnapshot},
      {RowStart::kCold, is_bare ? LaunchKind::kBaseSnapshotBare : LaunchKind::kBaseSnapshot}};
  for (const auto& [start, kind] : kinds) {
    if (auto launch = LaunchCostsOf(rows, start, warm_overhead, enough)) costs.Of(kind) = std::move(launch);
  }
}

Status AddQuietRows(const LoadReport& report, const std::optional<Half>& half, QuietRows& quiet) {
  auto runs = ReadRows(report.json, report.file);
  if (!runs) return Forward(runs.error());
  const ShellTimes shells = ShellTimesOf(report.json);
  // Of the run in which it took least: in those with more to do it had less of the CPU.
  if (quiet.shells.count == 0 || (shells.count > 0 && shells.mean() < quiet.shells.mean())) quiet.shells = shells;
  for (auto& [name, rows] : *runs) AddQuietRowsOf(std::move(rows), shells.mean(), half, quiet);
  return {};
}

// What requests took longer because the machine had rested before they came, which is taken out of what they took.
double TakeWarmUpOut(QuietRows& quiet) {
  const double overhead_ms = RestCost(quiet.overheads);
  const double run_ms = RestCost(quiet.runs);
  for (Row& row : quiet.alone) {
    if (row.rested < kRestMs) continue;
    const double overhead = std::clamp(row.overhead(), 0.0, overhead_ms);
    const double run = std::min(row.run, run_ms);
    row.latency -= overhead + run;
    row.run -= run;
  }
  return overhead_ms + run_ms;
}

bool IsWarm(const Row& row) { return row.start == RowStart::kWarm; }

size_t WarmRows(const QuietRows& quiet) {
  return static_cast<size_t>(std::count_if(quiet.alone.begin(), quiet.alone.end(), IsWarm));
}

tl::unexpected<Error> TooFew(const std::string& file, std::string_view what, size_t count) {
  return Fail(ErrorCode::kInvalidArgument,
              "{}: only {} {} requests met no other: take a run at a lower rate, or a longer one", file, count, what);
}

}  // namespace

bool IsLoadReport(const Json& json) {
  return json.is_object() && json.value("sample_columns", Json()).is_array() &&
         json.value("samples", Json()).is_array();
}

Result<LoadReport> ParseLoadReport(const CostsFile& file) {
  LoadReport report{Json::parse(file.text, nullptr, /*allow_exceptions=*/false), file.name};
  if (IsLoadReport(report.json)) return report;
  return Fail(ErrorCode::kInvalidArgument, "{}: these are no results of snapfaas bench load --json", file.name);
}

Result<Costs> CostsOfLoadReports(const std::vector<LoadReport>& reports, const std::optional<Half>& half,
                                 const LoadReport* other) {
  QuietRows quiet;
  Costs costs;
  for (const LoadReport& report : reports) {
    if (auto added = AddQuietRows(report, half, quiet); !added) return Forward(added.error());
    if (report.json.value("accelerator", Json()) == "emulated-host") costs.cpus = 1;
  }
  costs.warm_up_ms = TakeWarmUpOut(quiet);
  if (other != nullptr && WarmRows(quiet) < kLeast) {
    QuietRows more;
    if (auto added = AddQuietRows(*other, std::nullopt, more); !added) return Forward(added.error());
    costs.warm_up_ms = TakeWarmUpOut(more);
    std::copy_if(more.alone.begin(), more.alone.end(), std::back_inserter(quiet.alone), IsWarm);
  }
  const std::vector<Row>& rows = quiet.alone;
  const std::string& file = reports.front().file;
  auto overheads = Collect(rows, RowStart::kWarm, [](const Row& row) { return row.overhead(); });
  if (overheads.size() < kLeast) return TooFew(file, "warm", overheads.size());
  const double warm_overhead = MedianOfSamples(overheads);
  // Who waits for nothing is in the queue for a moment, too.
  const double warm_queued = MedianOfSamples(Collect(rows, RowStart::kWarm, [](const Row& row) { return row.queued; }));
  for (double& overhead : overheads) overhead += warm_queued;
  costs.overhead = CostOf(std::move(overheads), WeightsOf(rows, RowStart::kWarm));
  costs.any.run = RunCostOf(rows, RowStart::kWarm);
  AddLaunches(rows, warm_overhead, /*is_bare=*/false, 1, costs.any);
  for (const auto& [name, own] : ByFunction(rows)) {
    FunctionCosts& function = costs.functions.emplace(name, costs.any).first->second;
    auto run = RunCostOf(own, RowStart::kWarm);
    if (run.times.samples().size() >= kEnough) function.run = std::move(run);
    AddLaunches(own, warm_overhead, /*is_bare=*/false, kEnough, function);
  }
  Samples destroys;
  Samples resets;
  for (const Row& row : rows) {
    if (row.start == RowStart::kWarm) {
      if (row.restore > 0) resets.push_back(row.restore + row.load);
    } else if (row.queued > std::max(kEvictionWait * warm_queued, kLeastEvictionWaitMs)) {
      destroys.push_back(row.queued - warm_queued);
    }
  }
  costs.destroy = {Times(std::move(destroys)), kDestroyCpuShare};
  costs.reset = CostOf(std::move(resets));
  if (quiet.shells.count > 0) costs.shell = CostOf({quiet.shells.mean()});
  return costs;
}

Status AddBareCosts(const CostsFile& file, Costs& costs) {
  const auto report = ParseLoadReport(file);
  if (!report) return Forward(report.error());
  QuietRows quiet;
  if (auto added = AddQuietRows(*report, std::nullopt, quiet); !added) return added;
  const auto overheads = Collect(quiet.alone, RowStart::kWarm, [](const Row& row) { return row.overhead(); });
  if (overheads.size() < kLeast) return TooFew(file.name, "warm", overheads.size());
  const double warm_overhead = MedianOfSamples(overheads);
  AddLaunches(quiet.alone, warm_overhead, /*is_bare=*/true, 1, costs.any);
  const auto by_function = ByFunction(quiet.alone);
  for (auto& [name, function] : costs.functions) {
    AddLaunches(quiet.alone, warm_overhead, true, 1, function);
    const auto own = by_function.find(name);
    if (own != by_function.end()) AddLaunches(own->second, warm_overhead, true, kEnough, function);
  }
  return {};
}

Status AddBootCosts(const CostsFile& file, Costs& costs) {
  const Json json = Json::parse(file.text, nullptr, /*allow_exceptions=*/false);
  const auto wrong = [&file] {
    return Fail(ErrorCode::kInvalidArgument, "{}: these are no results of snapfaas bench breakdown --json", file.name);
  };
  const Json samples = json.is_object() ? json.value("samples", Json()) : Json();
  const Json boots = samples.is_object() ? samples.value("boot_ms", Json()) : Json();
  if (!boots.is_object()) return wrong();
  std::array<Samples, 3> phases;
  const char* const names[] = {"ready", "load", "request"};
  for (size_t i = 0; i < phases.size(); ++i) {
    const Json list = boots.value(names[i], Json());
    if (!list.is_array() || list.empty()) return wrong();
    for (const Json& value : list) {
      if (!value.is_number()) return wrong();
      phases[i].push_back(value.get<double>());
    }
  }
  const LaunchCosts boot{CostOf(std::move(phases[0])), CostOf(std::move(phases[1])), CostOf(std::move(phases[2]))};
  const auto add = [&boot](FunctionCosts& function) {
    function.Of(LaunchKind::kBoot) = boot;
    // What another function's first request took says nothing about this one's.
    if (!function.run.times.empty()) function.Of(LaunchKind::kBoot)->run = function.run;
  };
  add(costs.any);
  for (auto& [name, function] : costs.functions) add(function);
  return {};
}

}  // namespace snapfaas::sim
