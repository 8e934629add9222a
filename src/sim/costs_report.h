// Costs from the results of `snapfaas bench load` and `snapfaas bench breakdown`.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "sim/costs.h"

namespace snapfaas::sim {

bool IsLoadReport(const Json& json);

// From the requests that met no other: what others took from them would be taken twice. kInvalidArgument: as
// ParseCosts.
Result<Costs> CostsOfLoadReport(const Json& report, const std::string& file);

}  // namespace snapfaas::sim
