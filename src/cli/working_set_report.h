// The results of snapfaas bench working-set as JSON and as a table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "faas/spawner.h"

namespace snapfaas::cli {

// One restore and its first request.
struct WorkingSetRun {
  std::string mode;  // a RestoreChoice's name
  size_t input = 0;  // which of the report's events
  double ready_ms = 0;
  double response_ms = 0;
  uint64_t faults = 0;  // page faults of the VMM from the restore's beginning to the answer

  // Where nothing was brought in ahead: what the request touched.
  struct Touched {
    uint64_t read_pages = 0;  // with their neighbours, as the host maps them
    uint64_t written_pages = 0;
    std::vector<double> recurrence;  // the share of these pages that each such run before it touched too
  };
  std::optional<Touched> touched;
};

struct WorkingSetLayer {
  std::string layer;
  uint64_t stored_pages = 0;  // of the snapshot
  std::vector<WorkingSetRun> runs;
};

struct WorkingSetReport {
  nlohmann::ordered_json host;
  std::string accelerator;
  std::string commit;
  std::string runtime;
  faas::VmSize size;
  std::vector<std::string> events;
  std::vector<WorkingSetLayer> layers;
};

nlohmann::ordered_json ToJson(const WorkingSetReport& report);

// Medians, a row for each layer and mode; then the least and the median recurrence.
std::string WorkingSetTable(const WorkingSetReport& report);

}  // namespace snapfaas::cli
