#include "cli/restore_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "cli/runtime_access.h"

namespace snapfaas::cli {
namespace {

using Row = std::vector<std::string>;

double Median(const std::vector<double>& samples) { return SpreadOf(samples).median; }

std::string WithDeviation(const std::vector<double>& samples) {
  return fmt::format("{:.2f} ({:.2f})", Median(samples), DeviationOf(samples));
}

std::string Min(const std::vector<double>& samples) { return fmt::format("{:.2f}", SpreadOf(samples).min); }

Row Header() {
  return {"mode", "store",          "layer", "MiB",  "vCPU",    "ready (MAD)",
          "min",  "response (MAD)", "min",   "warm", "own MiB", "boot/ready"};
}

Row RowOf(const RestoreReport& report, const RestoreSample& sample) {
  const auto ready = SamplesOf(sample.runs, "ready");
  const auto response = SamplesOf(sample.runs, "response");
  return {sample.mode,
          sample.store,
          sample.layer,
          std::to_string(sample.size.memory_mib),
          std::to_string(sample.size.vcpus),
          WithDeviation(ready),
          Min(ready),
          WithDeviation(response),
          Min(response),
          fmt::format("{:.2f}", Median(sample.warm_ms)),
          fmt::format("{:.1f}", static_cast<double>(sample.private_kib) / 1024),
          fmt::format("{:.1f}x", MedianOf(report.boots, "ready") / Median(ready))};
}

// Names stand to the left of their column, numbers to the right.
constexpr size_t kNameColumns = 3;

std::string Line(const Row& row, const std::vector<size_t>& widths, TableStyle style, size_t names) {
  std::string line;
  for (size_t column = 0; column < row.size(); ++column) {
    line += column == 0 ? "" : "  ";
    line += column < names ? fmt::format("{:<{}}", row[column], widths[column])
                           : fmt::format("{:>{}}", row[column], widths[column]);
  }
  if (style == TableStyle::kMarkdown) return fmt::format("| {} |\n", fmt::join(row, " | "));
  return line + "\n";
}

std::string MarkdownRule(size_t columns, size_t names) {
  std::string rule = "|";
  for (size_t column = 0; column < columns; ++column) rule += column < names ? "---|" : "---:|";
  return rule + "\n";
}

// The first row has the titles.
std::string Lines(const std::vector<Row>& rows, TableStyle style, size_t names) {
  std::vector<size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  std::string table;
  for (const Row& row : rows) {
    table += Line(row, widths, style, names);
    if (style == TableStyle::kMarkdown && &row == &rows.front()) table += MarkdownRule(row.size(), names);
  }
  return table;
}

std::string Describe(const faas::VmSize& size) { return fmt::format("{} MiB, {} vCPU", size.memory_mib, size.vcpus); }

const RestoreSample* Find(const RestoreReport& report, std::string_view mode, std::string_view store,
                          std::string_view layer, const faas::VmSize& size) {
  const auto found = std::find_if(report.samples.begin(), report.samples.end(), [&](const RestoreSample& s) {
    return s.mode == mode && s.store == store && s.layer == layer && s.size == size;
  });
  return found == report.samples.end() ? nullptr : &*found;
}

double Ready(const RestoreSample& sample) { return MedianOf(sample.runs, "ready"); }

// "<what>: 12.0 / 3.0 ms = 4.0x"
std::string Ratio(std::string_view what, double of, double to) {
  return fmt::format("{}: {:.2f} / {:.2f} ms = {:.2f}x\n", what, of, to, of / to);
}

// The sizes that differ most in memory alone, among those with the first one's vCPUs.
std::pair<faas::VmSize, faas::VmSize> SmallestAndLargest(const RestoreReport& report) {
  faas::VmSize smallest = report.floors.front().size;
  faas::VmSize largest = smallest;
  for (const FloorSample& floor : report.floors) {
    if (floor.size.vcpus != smallest.vcpus) continue;
    if (floor.size.memory_mib < smallest.memory_mib) smallest = floor.size;
    if (floor.size.memory_mib > largest.memory_mib) largest = floor.size;
  }
  return {smallest, largest};
}

// What a node with a pool does; where that was not measured, what one restore by itself does.
const RestoreSample* Usual(const RestoreReport& report, std::string_view layer, const faas::VmSize& size) {
  const RestoreSample* primed = Find(report, "primed", "memory", layer, size);
  return primed != nullptr ? primed : Find(report, kDefaultRestore, "memory", layer, size);
}

// The time to the first answer from `sample`; "-" where it was not measured.
std::string ResponseOf(const RestoreSample* sample) {
  return sample == nullptr ? "-" : WithDeviation(SamplesOf(sample->runs, "response"));
}

Row RuntimeRow(const RestoreReport& report) {
  const RestoreSample* base = Usual(report, "base", report.boot_size);
  const RestoreSample* function = Usual(report, "function", report.boot_size);
  const double boot = MedianOf(report.boots, "ready");
  return {report.runtime,
          std::to_string(report.boot_size.memory_mib),
          fmt::format("{:.0f}", boot),
          base == nullptr ? "-" : WithDeviation(SamplesOf(base->runs, "ready")),
          ResponseOf(base),
          ResponseOf(function),
          fmt::format("{:.1f}", report.dirty_mib),
          base == nullptr ? "-" : fmt::format("{:.0f}x", boot / Ready(*base))};
}

std::string CompareLayer(const RestoreReport& report, std::string_view layer) {
  const FloorSample& floor = report.floors.front();
  const RestoreSample* usual = Usual(report, layer, floor.size);
  if (usual == nullptr) return {};
  std::string lines = Ratio(fmt::format("{} layer: boot / {}, ready", layer, usual->mode),
                            MedianOf(report.boots, "ready"), Ready(*usual));
  if (const auto* copy = Find(report, "copy", "memory", layer, floor.size)) {
    lines += Ratio(fmt::format("{} layer: copy / {}, ready", layer, usual->mode), Ready(*copy), Ready(*usual));
  }
  // Both in bare shells, so that the stores alone differ.
  const auto* cold = Find(report, "disk-prefetch", "disk-cold", layer, floor.size);
  const auto* memory = Find(report, "prefetch", "memory", layer, floor.size);
  if (cold != nullptr && memory != nullptr) {
    lines += Ratio(fmt::format("{} layer: disk-prefetch, cold / prefetch, ready", layer), Ready(*cold), Ready(*memory));
  }
  const auto [smallest, largest] = SmallestAndLargest(report);
  const auto* small = Usual(report, layer, smallest);
  const auto* large = Usual(report, layer, largest);
  if (smallest != largest && small != nullptr && large != nullptr) {
    lines += Ratio(fmt::format("{} layer: {} / {} MiB, ready", layer, largest.memory_mib, smallest.memory_mib),
                   Ready(*large), Ready(*small));
  }
  return lines;
}

// A restore is to answer in the time of some warm requests beyond what KVM itself takes.
constexpr double kWarmRequests = 2.5;

std::string CompareWithWarm(const RestoreReport& report) {
  const FloorSample& floor = report.floors.front();
  const RestoreSample* usual = Usual(report, "function", floor.size);
  if (usual == nullptr) return {};
  const double response = MedianOf(usual->runs, "response");
  const double bound = kWarmRequests * Median(usual->warm_ms) + Median(floor.floor_ms);
  return fmt::format("function layer: {}, response {:.2f} ms, {} {} x warm + floor = {:.2f} ms\n", usual->mode,
                     response, response <= bound ? "within" : "above", kWarmRequests, bound);
}

std::optional<std::vector<double>> NumbersOf(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array() || found->empty()) return std::nullopt;
  std::vector<double> numbers;
  for (const auto& number : *found) {
    if (!number.is_number()) return std::nullopt;
    numbers.push_back(number.get<double>());
  }
  return numbers;
}

}  // namespace

nlohmann::ordered_json ToJson(const RestoreReport& report) {
  nlohmann::ordered_json json;
  json["host"] = report.host;
  json["accelerator"] = report.accelerator;
  json["commit"] = report.commit;
  auto& samples = json["samples"] = nlohmann::ordered_json::array();
  for (const RestoreSample& sample : report.samples) {
    samples.push_back({{"runtime", report.runtime},
                       {"memory_mib", sample.size.memory_mib},
                       {"vcpus", sample.size.vcpus},
                       {"mode", sample.mode},
                       {"store", sample.store},
                       {"layer", sample.layer},
                       {"phase_ms", PhasesToJson(Medians(sample.runs))},
                       {"ready_ms", MillisToJson(SamplesOf(sample.runs, "ready"))},
                       {"response_ms", MillisToJson(SamplesOf(sample.runs, "response"))},
                       {"warm_ms", MillisToJson(sample.warm_ms)},
                       {"private_kib", sample.private_kib},
                       {"stored_bytes", sample.stored_bytes},
                       {"phase_samples_ms", SamplesToJson(sample.runs)}});
  }
  if (!report.floors.empty()) {
    json["floor_ms"] = MillisToJson(report.floors.front().floor_ms);
    json["prepared_floor_ms"] = MillisToJson(report.floors.front().prepared_floor_ms);
  }
  auto& floors = json["floors"] = nlohmann::ordered_json::array();
  for (const FloorSample& floor : report.floors) {
    floors.push_back({{"memory_mib", floor.size.memory_mib},
                      {"vcpus", floor.size.vcpus},
                      {"floor_ms", MillisToJson(floor.floor_ms)},
                      {"prepared_floor_ms", MillisToJson(floor.prepared_floor_ms)}});
  }
  json["boot"] = {{"runtime", report.runtime},
                  {"memory_mib", report.boot_size.memory_mib},
                  {"ready_ms", MillisToJson(SamplesOf(report.boots, "ready"))},
                  {"response_ms", MillisToJson(SamplesOf(report.boots, "response"))}};
  return json;
}

std::string Table(const RestoreReport& report, TableStyle style) {
  std::vector<Row> rows = {Header()};
  for (const RestoreSample& sample : report.samples) rows.push_back(RowOf(report, sample));
  return Lines(rows, style, kNameColumns);
}

std::string RuntimesTable(const std::vector<RestoreReport>& reports, TableStyle style) {
  std::vector<Row> rows = {{"runtime", "MiB", "boot", "restore ready (MAD)", "response (MAD)", "own snapshot (MAD)",
                            "dirty MiB", "boot/ready"}};
  for (const RestoreReport& report : reports) rows.push_back(RuntimeRow(report));
  return Lines(rows, style, 1);
}

nlohmann::ordered_json RuntimesJson(const std::vector<RestoreReport>& reports) {
  auto runtimes = nlohmann::ordered_json::array();
  for (const RestoreReport& report : reports) {
    nlohmann::ordered_json one = {{"runtime", report.runtime}, {"dirty_mib", report.dirty_mib}};
    one.update(ToJson(report));
    runtimes.push_back(std::move(one));
  }
  return {{"runtimes", std::move(runtimes)}};
}

std::string Conclusions(const RestoreReport& report) {
  std::string lines =
      fmt::format("boot, {}: ready {} ms, response {} ms\n", Describe(report.boot_size),
                  WithDeviation(SamplesOf(report.boots, "ready")), WithDeviation(SamplesOf(report.boots, "response")));
  for (const FloorSample& floor : report.floors) {
    lines += fmt::format("floor, {}: {} ms, with the VM prepared {} ms\n", Describe(floor.size),
                         WithDeviation(floor.floor_ms), WithDeviation(floor.prepared_floor_ms));
  }
  return lines + CompareLayer(report, "base") + CompareLayer(report, "function") + CompareWithWarm(report);
}

Result<FloorSample> ParseFloor(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto corrupt = [text] { return Fail(ErrorCode::kCorrupt, "snapfaas-floor printed no floor: {}", text); };
  if (!json.is_object()) return corrupt();
  const auto memory_mib = json.find("memory_mib");
  const auto vcpus = json.find("vcpus");
  auto floor_ms = NumbersOf(json, "floor_ms");
  auto prepared_ms = NumbersOf(json, "prepared_floor_ms");
  if (memory_mib == json.end() || !memory_mib->is_number_unsigned() || vcpus == json.end() ||
      !vcpus->is_number_unsigned() || !floor_ms || !prepared_ms) {
    return corrupt();
  }
  return FloorSample{
      {memory_mib->get<uint32_t>(), vcpus->get<uint32_t>()}, std::move(*floor_ms), std::move(*prepared_ms)};
}

}  // namespace snapfaas::cli
