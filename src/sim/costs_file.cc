// ParseCosts: the simulator's own form of a file of costs.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "base/json.h"
#include "sim/costs.h"
#include "sim/costs_report.h"

namespace snapfaas::sim {
namespace {

constexpr double kMostMillis = 1e7;
constexpr double kMostCpus = 1e5;

// A value of the file and its name there.
struct JsonPlace {
  const std::string& file;
  std::string name;
  const Json& value;

  JsonPlace At(const char* key) const {
    return {file, name.empty() ? key : fmt::format("{}.{}", name, key), value.at(key)};
  }
  bool Has(const char* key) const { return value.contains(key); }
  tl::unexpected<Error> Fault(const std::string& what) const {
    return Fail(ErrorCode::kInvalidArgument, "{}: {} {}", file, name.empty() ? "it" : name, what);
  }
};

Status CheckMembers(const JsonPlace& place, std::initializer_list<std::string_view> known) {
  if (!place.value.is_object()) return place.Fault(fmt::format("must be an object with {}", fmt::join(known, ", ")));
  for (const auto& [key, value] : place.value.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return place.Fault(fmt::format("has \"{}\", but may have {} only", key, fmt::join(known, ", ")));
    }
  }
  return {};
}

Result<double> ReadMillis(const JsonPlace& place) {
  if (place.value.is_number()) {
    const auto number = place.value.get<double>();
    if (number >= 0 && number <= kMostMillis) return number;
  }
  return place.Fault(fmt::format("must be milliseconds, a number from 0 to {:.0f}", kMostMillis));
}

Result<Times> ReadSamples(const JsonPlace& place) {
  std::vector<double> samples;
  if (!place.value.is_array() || place.value.empty()) return place.Fault("must be a list of milliseconds");
  for (const Json& value : place.value) {
    auto millis = ReadMillis({place.file, place.name, value});
    if (!millis) return Forward(millis.error());
    samples.push_back(*millis);
  }
  return Times(std::move(samples));
}

Result<Times> ReadLogNormal(const JsonPlace& place) {
  if (!place.Has("median") || !place.Has("p99")) return place.Fault("must have samples, or both median and p99");
  auto median = ReadMillis(place.At("median"));
  if (!median) return Forward(median.error());
  auto p99 = ReadMillis(place.At("p99"));
  if (!p99) return Forward(p99.error());
  if (*median <= 0 || *p99 < *median) return place.Fault("must have a median above 0 and a p99 that is not below it");
  return Times::LogNormal(*median, *p99);
}

// 2.5, [2.1, 2.5, 3.2], {"median": 2.5, "p99": 7} or {"samples": [...]}, the last two maybe with "cpu".
Status ReadPhase(const JsonPlace& place, PhaseCost& cost) {
  Result<Times> times;
  double cpu = 1;
  if (place.value.is_array()) {
    times = ReadSamples(place);
  } else if (place.value.is_object()) {
    if (auto checked = CheckMembers(place, {"median", "p99", "samples", "cpu"}); !checked) return checked;
    times = place.Has("samples") ? ReadSamples(place.At("samples")) : ReadLogNormal(place);
    if (place.Has("cpu")) {
      const Json& value = place.value.at("cpu");
      cpu = value.is_number() ? value.get<double>() : -1;
      if (!(cpu >= 0 && cpu <= 1)) return place.At("cpu").Fault("must be a share from 0 to 1");
    }
  } else {
    auto millis = ReadMillis(place);
    if (!millis) return Forward(millis.error());
    times = Times({*millis});
  }
  if (!times) return Forward(times.error());
  cost = {*std::move(times), cpu};
  return {};
}

Status ReadPhaseOf(const JsonPlace& place, const char* key, PhaseCost& cost) {
  return place.Has(key) ? ReadPhase(place.At(key), cost) : Status();
}

Status ReadLaunch(const JsonPlace& parent, LaunchKind kind, FunctionCosts& costs) {
  const std::string key(NameOf(kind));
  if (!parent.Has(key.c_str())) return {};
  const JsonPlace place = parent.At(key.c_str());
  const char* start = kind == LaunchKind::kBoot ? "boot" : "restore";
  if (auto checked = CheckMembers(place, {start, "load", "run"}); !checked) return checked;
  std::optional<LaunchCosts>& launch = costs.Of(kind);
  if (!launch) {
    if (!place.Has(start)) return place.Fault(fmt::format("must have {}, in milliseconds", start));
    launch.emplace();
    launch->run = costs.run;
  }
  if (auto read = ReadPhaseOf(place, start, launch->start); !read) return read;
  if (auto read = ReadPhaseOf(place, "load", launch->load); !read) return read;
  return ReadPhaseOf(place, "run", launch->run);
}

Status ReadFunctionCosts(const JsonPlace& place, FunctionCosts& costs) {
  if (place.Has("run")) {
    if (auto read = ReadPhase(place.At("run"), costs.run); !read) return read;
    // A function that is slower is so from its first request on.
    for (auto& launch : costs.launches) {
      if (launch) launch->run = costs.run;
    }
  }
  for (size_t kind = 0; kind < kLaunchKinds; ++kind) {
    if (auto read = ReadLaunch(place, static_cast<LaunchKind>(kind), costs); !read) return read;
  }
  return {};
}

Status ReadFunctions(const JsonPlace& top, Costs& costs) {
  if (!top.Has("functions")) return {};
  const JsonPlace functions = top.At("functions");
  if (!functions.value.is_object()) return functions.Fault("must be an object, of functions by name");
  for (const auto& [name, value] : functions.value.items()) {
    const JsonPlace place{top.file, fmt::format("functions.{}", name), value};
    auto checked = CheckMembers(place, {"run", "restored", "restored_bare", "cold", "cold_bare", "boot"});
    if (!checked) return checked;
    if (auto read = ReadFunctionCosts(place, costs.functions.emplace(name, costs.any).first->second); !read)
      return read;
  }
  return {};
}

Result<Costs> ReadTop(const JsonPlace& top) {
  auto checked = CheckMembers(top, {"cpus", "head_start", "warm_up", "overhead", "shell", "reset", "destroy", "run",
                                    "restored", "restored_bare", "cold", "cold_bare", "boot", "functions"});
  if (!checked) return Forward(checked.error());
  Costs costs;
  if (top.Has("cpus")) {
    const Json& value = top.value.at("cpus");
    costs.cpus = value.is_number() ? value.get<double>() : 0;
    if (!(*costs.cpus > 0 && *costs.cpus <= kMostCpus)) return top.At("cpus").Fault("must be a number above 0");
  }
  const std::pair<const char*, double&> numbers[] = {{"head_start", costs.head_start_ms},
                                                     {"warm_up", costs.warm_up_ms}};
  for (const auto& [key, millis] : numbers) {
    if (!top.Has(key)) continue;
    const Json& value = top.value.at(key);
    millis = value.is_number() ? value.get<double>() : -1;
    if (!(millis >= 0)) return top.At(key).Fault("must be a number of milliseconds, 0 or more");
  }
  const std::pair<const char*, PhaseCost&> phases[] = {
      {"overhead", costs.overhead}, {"shell", costs.shell}, {"reset", costs.reset}, {"destroy", costs.destroy}};
  for (const auto& [key, cost] : phases) {
    if (auto read = ReadPhaseOf(top, key, cost); !read) return Forward(read.error());
  }
  if (!top.Has("run")) return top.Fault("must have run: what a request takes in its microVM, in milliseconds");
  if (auto read = ReadFunctionCosts(top, costs.any); !read) return Forward(read.error());
  if (auto read = ReadFunctions(top, costs); !read) return Forward(read.error());
  return costs;
}

void AddMissingCosts(Costs other, Costs& costs) {
  const auto add_launches = [](const FunctionCosts& from, FunctionCosts& to) {
    for (size_t kind = 0; kind < kLaunchKinds; ++kind) {
      if (!to.launches[kind]) to.launches[kind] = from.launches[kind];
    }
  };
  for (auto& [name, function] : costs.functions) add_launches(other.Of(name), function);
  add_launches(other.any, costs.any);
  const std::pair<PhaseCost&, PhaseCost&> phases[] = {
      {costs.destroy, other.destroy}, {costs.reset, other.reset}, {costs.shell, other.shell}};
  for (const auto& [to, from] : phases) {
    if (to.times.empty()) to = std::move(from);
  }
}

Result<Costs> ParseFiles(const std::vector<CostsFile>& files, const std::optional<Half>& half,
                         const LoadReport* other) {
  std::vector<LoadReport> reports;
  for (const CostsFile& file : files) {
    Json json = Json::parse(file.text, nullptr, /*allow_exceptions=*/false);
    if (json.is_discarded()) return Fail(ErrorCode::kInvalidArgument, "{}: this is no JSON", file.name);
    if (IsLoadReport(json)) {
      reports.push_back({std::move(json), file.name});
    } else if (files.size() == 1) {
      return ReadTop({file.name, "", json});
    } else {
      return Fail(ErrorCode::kInvalidArgument,
                  "{}: several files of costs must all be results of snapfaas bench load --json", file.name);
    }
  }
  return CostsOfLoadReports(reports, half, other);
}

}  // namespace

Result<Costs> ParseCosts(const std::vector<CostsFile>& files, const std::optional<Half>& half,
                         const std::optional<CostsFile>& other) {
  if (!other) return ParseFiles(files, half, nullptr);
  auto report = ParseLoadReport(*other);
  if (!report) return Forward(report.error());
  auto costs = ParseFiles(files, half, &*report);
  if (!costs) return costs;
  auto others = CostsOfLoadReports({*std::move(report)}, std::nullopt, nullptr);
  if (!others) return others;
  AddMissingCosts(*std::move(others), *costs);
  return costs;
}

}  // namespace snapfaas::sim
