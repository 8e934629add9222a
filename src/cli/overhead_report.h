// What a node adds to a function's own time, from warm calls that were made one after the other.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/load_report.h"
#include "cli/load_sample.h"

namespace snapfaas::cli {

// Milliseconds, of warm calls only.
struct OverheadSummary {
  LatencySpread client;   // a call as its client sees it
  LatencySpread vm;       // the microVM's round trip: the request goes in, the answer comes out
  LatencySpread added;    // the difference, call by call
  LatencySpread in_node;  // of that: gateway to Request Manager, Controller and back
  LatencySpread in_http;  // of that: sockets, HTTP and the client
  size_t not_warm = 0;    // left out

  // Medians; 0 where nothing was warm.
  double ratio() const;
};
OverheadSummary SummarizeOverhead(const std::vector<LoadSample>& samples);

std::string Describe(const OverheadSummary& summary);
nlohmann::ordered_json ToJson(const OverheadSummary& summary);

}  // namespace snapfaas::cli
