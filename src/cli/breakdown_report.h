// Samples of start-up phases as statistics, JSON and a table for a person.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "faas/timeline.h"

namespace snapfaas::cli {

struct Spread {
  double min = 0;
  double p25 = 0;
  double median = 0;
  double p75 = 0;
  double max = 0;
};

// Quantiles by linear interpolation. REQUIRES: not empty.
Spread SpreadOf(std::vector<double> samples);

// The median absolute deviation from the median. REQUIRES: not empty.
double DeviationOf(std::vector<double> samples);

// Each with microseconds as the last digit.
nlohmann::ordered_json MillisToJson(const std::vector<double>& millis);

// A breakdown as names and milliseconds, in the order in which a table shows them.
using Phases = std::vector<std::pair<std::string_view, double>>;
Phases PhasesOf(const faas::BootBreakdown& breakdown);
Phases PhasesOf(const faas::RestoreBreakdown& breakdown);

nlohmann::ordered_json PhasesToJson(const Phases& phases);
nlohmann::ordered_json PhasesToJson(const faas::BootBreakdown& breakdown);
nlohmann::ordered_json PhasesToJson(const faas::RestoreBreakdown& breakdown);

// Several runs of the same kind, each with the same phases. REQUIRES for all of these: at least one run.
using Runs = std::vector<Phases>;
Phases Medians(const Runs& runs);
double MedianOf(const Runs& runs, std::string_view phase);
// Empty where there is no such phase.
std::vector<double> SamplesOf(const Runs& runs, std::string_view phase);
nlohmann::ordered_json SamplesToJson(const Runs& runs);
std::string Table(std::string_view title, const Runs& runs);

}  // namespace snapfaas::cli
