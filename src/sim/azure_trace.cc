#include "sim/azure_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "sim/csv.h"
#include "sim/random.h"

namespace snapfaas::sim {
namespace {

constexpr double kSecondsPerMinute = 60;
// Copies of a function are not called all at the same moment.
constexpr double kCopySpreadSeconds = 60;
// Of a hash of 64 hexadecimal digits.
constexpr size_t kNameDigits = 12;

constexpr std::array<std::pair<double, const char*>, 7> kPercentiles = {{{0.0, "percentile_Average_0"},
                                                                         {0.01, "percentile_Average_1"},
                                                                         {0.25, "percentile_Average_25"},
                                                                         {0.5, "percentile_Average_50"},
                                                                         {0.75, "percentile_Average_75"},
                                                                         {0.99, "percentile_Average_99"},
                                                                         {1.0, "percentile_Average_100"}}};
using Quantiles = std::array<double, kPercentiles.size()>;  // milliseconds

// By linear interpolation.
double RunMillis(const Quantiles& quantiles, double share) {
  size_t above = 1;
  while (above + 1 < quantiles.size() && kPercentiles[above].first < share) ++above;
  const double from = kPercentiles[above - 1].first;
  const double part = (share - from) / (kPercentiles[above].first - from);
  return quantiles[above - 1] + (quantiles[above] - quantiles[above - 1]) * part;
}

int64_t ToNanos(double seconds) { return static_cast<int64_t>(seconds * static_cast<double>(kSecond)); }

tl::unexpected<Error> TooManyRequests(const std::string& file, uint64_t max) {
  return Fail(ErrorCode::kInvalidArgument,
              "{}: this comes to more than the {} requests that fit in one run: take fewer minutes or functions", file,
              max);
}

std::string JoinedKey(std::string_view first, std::string_view second) { return fmt::format("{}/{}", first, second); }

std::string CopyName(std::string_view hash, uint32_t copy) {
  const auto digits = hash.substr(0, kNameDigits);
  return copy == 0 ? std::string(digits) : fmt::format("{}-{}", digits, copy + 1);
}

// Which of so many functions are taken.
std::vector<bool> Choose(size_t count, const TraceOptions& options) {
  std::vector<bool> chosen(count, options.functions == 0 || options.functions >= count);
  if (options.functions == 0 || options.functions >= count) return chosen;
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  Random random(options.seed);
  for (size_t i = 0; i < options.functions; ++i) {
    std::swap(order[i], order[i + random.Below(count - i)]);
    chosen[order[i]] = true;
  }
  return chosen;
}

void SortRequests(Trace& trace) {
  std::stable_sort(trace.requests.begin(), trace.requests.end(),
                   [](const Request& a, const Request& b) { return a.at_ns < b.at_ns; });
}

// ---- 2019

struct Columns2019 {
  size_t owner = 0;
  size_t app = 0;
};

Result<Columns2019> FindApp(const CsvReader& reader) {
  auto owner = reader.Column("HashOwner");
  if (!owner) return Forward(owner.error());
  auto app = reader.Column("HashApp");
  if (!app) return Forward(app.error());
  return Columns2019{*owner, *app};
}

std::string AppOf(const CsvReader& reader, const Columns2019& columns) {
  return JoinedKey(reader.Field(columns.owner), reader.Field(columns.app));
}

using Durations = std::unordered_map<std::string, Quantiles>;

Result<Durations> ReadDurations(const TraceFile& file) {
  auto reader = CsvReader::Create(file.text, file.name);
  if (!reader) return Forward(reader.error());
  auto app = FindApp(*reader);
  if (!app) return Forward(app.error());
  auto function = reader->Column("HashFunction");
  if (!function) return Forward(function.error());
  std::array<size_t, kPercentiles.size()> places{};
  for (size_t i = 0; i < places.size(); ++i) {
    auto place = reader->Column(kPercentiles[i].second);
    if (!place) return Forward(place.error());
    places[i] = *place;
  }
  Durations durations;
  for (;;) {
    auto has_next = reader->Next();
    if (!has_next) return Forward(has_next.error());
    if (!*has_next) return durations;
    Quantiles quantiles{};
    for (size_t i = 0; i < places.size(); ++i) {
      auto millis = reader->Number(places[i]);
      if (!millis) return Forward(millis.error());
      quantiles[i] = *millis;
    }
    if (!std::is_sorted(quantiles.begin(), quantiles.end())) return reader->Fault("the percentiles do not increase");
    durations.emplace(JoinedKey(AppOf(*reader, *app), reader->Field(*function)), quantiles);
  }
}

using MemoryByApp = std::unordered_map<std::string, uint32_t>;

Result<MemoryByApp> ReadMemory(const TraceFile& file) {
  MemoryByApp memory;
  if (file.text.empty()) return memory;
  auto reader = CsvReader::Create(file.text, file.name);
  if (!reader) return Forward(reader.error());
  auto app = FindApp(*reader);
  if (!app) return Forward(app.error());
  auto average = reader->Column("AverageAllocatedMb");
  if (!average) return Forward(average.error());
  for (;;) {
    auto has_next = reader->Next();
    if (!has_next) return Forward(has_next.error());
    if (!*has_next) return memory;
    auto mib = reader->Number(*average);
    if (!mib) return Forward(mib.error());
    const double steps = std::ceil(*mib / faas::kMemoryStepMib);
    const double most = double{faas::kMaxMemoryMib};
    memory.emplace(AppOf(*reader, *app),
                   static_cast<uint32_t>(std::clamp(steps * faas::kMemoryStepMib, double{faas::kMinMemoryMib}, most)));
  }
}

struct Called {
  std::string name;
  uint32_t memory_mib = 0;
  Quantiles quantiles{};
  std::vector<uint32_t> counts;  // by the minute
};

struct Calls {
  std::vector<Called> functions;
  size_t minutes = 0;
  uint64_t left_out = 0;
};

Result<Calls> ReadCalls(const TraceFile& file, const Durations& durations, const MemoryByApp& memory,
                        const TraceOptions& options) {
  auto reader = CsvReader::Create(file.text, file.name);
  if (!reader) return Forward(reader.error());
  auto app = FindApp(*reader);
  if (!app) return Forward(app.error());
  auto function = reader->Column("HashFunction");
  if (!function) return Forward(function.error());
  auto first = reader->Column("1");
  if (!first) return Forward(first.error());
  Calls calls;
  calls.minutes = reader->CountNumbered(*first);
  if (options.minutes != 0) calls.minutes = std::min<size_t>(calls.minutes, options.minutes);
  for (;;) {
    auto has_next = reader->Next();
    if (!has_next) return Forward(has_next.error());
    if (!*has_next) return calls;
    Called called;
    bool is_called = false;
    called.counts.reserve(calls.minutes);
    for (size_t minute = 0; minute < calls.minutes; ++minute) {
      auto count = reader->Number(*first + minute);
      if (!count) return Forward(count.error());
      if (*count > static_cast<double>(options.max_requests)) return TooManyRequests(file.name, options.max_requests);
      called.counts.push_back(static_cast<uint32_t>(*count));
      is_called = is_called || *count >= 1;
    }
    if (!is_called) continue;
    const std::string of_app = AppOf(*reader, *app);
    const auto known = durations.find(JoinedKey(of_app, reader->Field(*function)));
    if (known == durations.end()) {
      ++calls.left_out;
      continue;
    }
    called.name = reader->Field(*function);
    called.quantiles = known->second;
    const auto size = memory.find(of_app);
    called.memory_mib = size == memory.end() ? options.memory_mib : size->second;
    calls.functions.push_back(std::move(called));
  }
}

Status AddCalls(const Called& called, uint32_t copy, const std::string& file, const TraceOptions& options,
                Random& random, Trace& trace) {
  const auto place = static_cast<uint32_t>(trace.functions.size());
  trace.functions.push_back({CopyName(called.name, copy), called.memory_mib});
  for (size_t minute = 0; minute < called.counts.size(); ++minute) {
    if (trace.requests.size() + called.counts[minute] > options.max_requests) {
      return TooManyRequests(file, options.max_requests);
    }
    for (uint32_t call = 0; call < called.counts[minute]; ++call) {
      const double at = (static_cast<double>(minute) + random.Uniform()) * kSecondsPerMinute;
      trace.requests.push_back({ToNanos(at), place, RunMillis(called.quantiles, random.Uniform())});
    }
  }
  return {};
}

// ---- 2021

struct Invocation2021 {
  double start = 0;
  double seconds = 0;
  size_t function = 0;
};

struct Invocations2021 {
  std::vector<std::string> functions;
  std::vector<Invocation2021> list;
  double first = 0;
  double last = 0;
};

Result<Invocations2021> ReadInvocations(const TraceFile& file, const TraceOptions& options) {
  auto reader = CsvReader::Create(file.text, file.name);
  if (!reader) return Forward(reader.error());
  std::array<size_t, 4> places{};
  const char* const titles[] = {"app", "func", "end_timestamp", "duration"};
  for (size_t i = 0; i < places.size(); ++i) {
    auto place = reader->Column(titles[i]);
    if (!place) return Forward(place.error());
    places[i] = *place;
  }
  Invocations2021 read;
  std::unordered_map<std::string, size_t> known;
  for (;;) {
    auto has_next = reader->Next();
    if (!has_next) return Forward(has_next.error());
    if (!*has_next) return read;
    auto end = reader->Number(places[2]);
    if (!end) return Forward(end.error());
    auto seconds = reader->Number(places[3]);
    if (!seconds) return Forward(seconds.error());
    if (read.list.size() >= options.max_requests) return TooManyRequests(file.name, options.max_requests);
    const auto [of, is_new] =
        known.emplace(JoinedKey(reader->Field(places[0]), reader->Field(places[1])), read.functions.size());
    if (is_new) read.functions.emplace_back(reader->Field(places[1]));
    const double start = *end - *seconds;
    read.first = read.list.empty() ? start : std::min(read.first, start);
    read.last = std::max(read.last, start);
    read.list.push_back({start, *seconds, of->second});
  }
}

}  // namespace

Result<Trace> ParseAzure2019(const TraceFile& durations_file, const TraceFile& invocations, const TraceFile& memory,
                             const TraceOptions& options) {
  auto durations = ReadDurations(durations_file);
  if (!durations) return Forward(durations.error());
  auto sizes = ReadMemory(memory);
  if (!sizes) return Forward(sizes.error());
  auto calls = ReadCalls(invocations, *durations, *sizes, options);
  if (!calls) return Forward(calls.error());
  Trace trace;
  trace.seconds = static_cast<double>(calls->minutes) * kSecondsPerMinute;
  trace.functions_left_out = calls->left_out;
  const std::vector<bool> chosen = Choose(calls->functions.size(), options);
  Random random(options.seed);
  for (size_t i = 0; i < calls->functions.size(); ++i) {
    if (!chosen[i]) continue;
    for (uint32_t copy = 0; copy < options.scale; ++copy) {
      auto added = AddCalls(calls->functions[i], copy, invocations.name, options, random, trace);
      if (!added) return Forward(added.error());
    }
  }
  SortRequests(trace);
  return trace;
}

Result<Trace> ParseAzure2021(const TraceFile& file, const TraceOptions& options) {
  auto read = ReadInvocations(file, options);
  if (!read) return Forward(read.error());
  const double all = read->last - read->first;
  const double wanted = static_cast<double>(options.minutes) * kSecondsPerMinute;
  Trace trace;
  trace.seconds = options.minutes == 0 ? all : std::min(all, wanted);
  const std::vector<bool> chosen = Choose(read->functions.size(), options);
  std::vector<uint32_t> places(read->functions.size(), 0);  // of the first copy
  for (size_t i = 0; i < places.size(); ++i) {
    if (!chosen[i]) continue;
    places[i] = static_cast<uint32_t>(trace.functions.size());
    for (uint32_t copy = 0; copy < options.scale; ++copy) {
      trace.functions.push_back({CopyName(read->functions[i], copy), options.memory_mib});
    }
  }
  Random random(options.seed);
  std::vector<double> late(trace.functions.size());
  for (double& seconds : late) seconds = random.Uniform() * kCopySpreadSeconds;
  for (const Invocation2021& call : read->list) {
    const double at = call.start - read->first;
    if (!chosen[call.function] || (options.minutes != 0 && at >= wanted)) continue;
    if (trace.requests.size() + options.scale > options.max_requests) {
      return TooManyRequests(file.name, options.max_requests);
    }
    for (uint32_t copy = 0; copy < options.scale; ++copy) {
      const uint32_t place = places[call.function] + copy;
      // The trace itself is left as it is.
      const double copy_at = copy == 0 ? at : at + late[place];
      trace.requests.push_back({ToNanos(copy_at), place, call.seconds * 1e3});
    }
  }
  SortRequests(trace);
  if (!trace.requests.empty()) {
    trace.seconds = std::max(trace.seconds, ToMillis(trace.requests.back().at_ns) / 1e3);
  }
  return trace;
}

}  // namespace snapfaas::sim
