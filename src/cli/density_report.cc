#include "cli/density_report.h"

#include <fmt/format.h>

#include "cli/table.h"

namespace snapfaas::cli {
namespace {

std::string MibOfEach(uint64_t kib, uint32_t microvms) {
  return fmt::format("{:.2f}", static_cast<double>(kib) / 1024 / microvms);
}

std::string OneMoreMib(const DensityPoint& point, const DensityPoint* before) {
  if (before == nullptr) return "-";
  const double more = static_cast<double>(point.proportional_kib) - static_cast<double>(before->proportional_kib);
  return fmt::format("{:.2f}", more / 1024 / (point.microvms - before->microvms));
}

}  // namespace

nlohmann::ordered_json ToJson(const DensityReport& report) {
  nlohmann::ordered_json json = {
      {"host", report.host},       {"accelerator", report.accelerator},    {"commit", report.commit},
      {"runtime", report.runtime}, {"memory_mib", report.size.memory_mib}, {"vcpus", report.size.vcpus}};
  auto& samples = json["samples"] = nlohmann::ordered_json::array();
  for (const DensitySample& sample : report.samples) {
    auto points = nlohmann::ordered_json::array();
    for (const DensityPoint& point : sample.points) {
      points.push_back({{"microvms", point.microvms},
                        {"pss_kib", point.proportional_kib},
                        {"private_kib", point.private_kib},
                        {"anonymous_kib", point.anonymous_kib},
                        {"resident_kib", point.resident_kib},
                        {"machine_kib", point.machine_kib}});
    }
    samples.push_back({{"mode", sample.mode},
                       {"layer", sample.layer},
                       {"machine_is_full", sample.is_full},
                       {"points", std::move(points)}});
  }
  return json;
}

std::string DensityTable(const DensityReport& report) {
  const std::vector<Column> columns = {{"mode"},
                                       {"layer"},
                                       {"microVMs", Align::kRight},
                                       {"PSS", Align::kRight},
                                       {"private", Align::kRight},
                                       {"machine", Align::kRight},
                                       {"one more, PSS", Align::kRight}};
  std::vector<std::vector<std::string>> rows;
  bool is_full = false;
  for (const DensitySample& sample : report.samples) {
    is_full = is_full || sample.is_full;
    const DensityPoint* before = nullptr;
    for (const DensityPoint& point : sample.points) {
      rows.push_back({sample.mode, sample.layer, std::to_string(point.microvms),
                      MibOfEach(point.proportional_kib, point.microvms), MibOfEach(point.private_kib, point.microvms),
                      MibOfEach(point.machine_kib, point.microvms), OneMoreMib(point, before)});
      before = &point;
    }
  }
  return fmt::format("{} with {} MiB and {} vCPU; MiB for one microVM\n\n{}{}", report.runtime, report.size.memory_mib,
                     report.size.vcpus, FormatTable(columns, rows),
                     is_full ? "The machine's memory did not hold more microVMs.\n" : "");
}

}  // namespace snapfaas::cli
