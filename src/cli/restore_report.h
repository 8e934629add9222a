// The results of snapfaas bench restore as JSON and as text for a person.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cli/breakdown_report.h"
#include "faas/spawner.h"

namespace snapfaas::cli {

// One way to bring a microVM to life, measured several times.
struct RestoreSample {
  std::string mode;   // a RestoreChoice's name, or "reset"
  std::string store;  // "memory", "disk-warm" or "disk-cold": with or without the page cache
  std::string layer;  // "base" or "function"
  faas::VmSize size;
  Runs runs;                    // of RestoreBreakdown; not empty
  std::vector<double> warm_ms;  // a second request, to the idle microVM; one for each run
  uint64_t private_kib = 0;     // of the VMM alone after the third request
  uint64_t stored_bytes = 0;    // that the layer's snapshot holds
};

// What snapfaas-floor measured.
struct FloorSample {
  faas::VmSize size;
  std::vector<double> floor_ms;           // not empty
  std::vector<double> prepared_floor_ms;  // not empty
};

struct RestoreReport {
  nlohmann::ordered_json host;
  std::string accelerator;
  std::string commit;
  std::string runtime;
  faas::VmSize boot_size;
  Runs boots;                          // of BootBreakdown; not empty
  std::vector<FloorSample> floors;     // a size each; not empty, but for one of several runtimes
  std::vector<RestoreSample> samples;  // by size, in the order of `floors`
  double dirty_mib = 0;                // that the base snapshot of `boot_size` holds
};

nlohmann::ordered_json ToJson(const RestoreReport& report);

enum class TableStyle { kTerminal, kMarkdown };

// A row for each sample.
std::string Table(const RestoreReport& report, TableStyle style);

// Several runtimes, each at its own `boot_size`: a row for each, of what a node does where that was measured (a primed
// shell), else of a prefetch. The rows are all raw samples' medians.
std::string RuntimesTable(const std::vector<RestoreReport>& reports, TableStyle style);
// {"runtimes": [...]}: of each its ToJson with "dirty_mib".
nlohmann::ordered_json RuntimesJson(const std::vector<RestoreReport>& reports);

// The floors, then how the ways compare at the first size, a line each; a comparison whose samples were not measured is
// left out.
std::string Conclusions(const RestoreReport& report);

// From what snapfaas-floor prints. kCorrupt.
Result<FloorSample> ParseFloor(std::string_view json);

}  // namespace snapfaas::cli
