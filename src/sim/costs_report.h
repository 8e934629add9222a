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

// From the requests that met no other: what others took from them would be taken twice. kInvalidArgument: as
// ParseCosts. REQUIRES: at least one.
Result<Costs> CostsOfLoadReports(const std::vector<LoadReport>& reports, const std::optional<Half>& half);

}  // namespace snapfaas::sim
