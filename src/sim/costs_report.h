// Costs from the results of `snapfaas bench load` and `snapfaas bench breakdown`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "sim/costs.h"

namespace snapfaas::sim {

bool IsLoadReport(const Json& json);

struct LoadReport {
  Json json;
  std::string file;
};

// kInvalidArgument where it is none.
Result<LoadReport> ParseLoadReport(const CostsFile& file);

// From the requests that met no other: what others took from them would be taken twice. Where too few warm ones did,
// those of `other`, if any, count too. kInvalidArgument: as ParseCosts. REQUIRES: at least one report.
Result<Costs> CostsOfLoadReports(const std::vector<LoadReport>& reports, const std::optional<Half>& half,
                                 const LoadReport* other);

}  // namespace snapfaas::sim
