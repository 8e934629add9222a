// Traces of the forms in which Azure Functions' were published: "AzureFunctionsDataset2019" has counts by the minute
// and how long each function's invocations took, "AzureFunctionsInvocationTrace2021" has every invocation.
// docs/simulator.md says what is made of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sim/simulation.h"

namespace snapfaas::sim {

struct TraceOptions {
  uint64_t minutes = 0;       // from the trace's start; 0: all
  uint64_t functions = 0;     // chosen at random; 0: all
  uint32_t scale = 1;         // copies of each function
  uint32_t memory_mib = 128;  // of functions of which the trace does not say it
  uint64_t max_requests = 5'000'000;
  uint64_t seed = 1;
};

struct TraceFunction {
  std::string name;
  uint32_t memory_mib = 0;
};

struct Trace {
  std::vector<TraceFunction> functions;  // that are called
  std::vector<Request> requests;         // by time
  double seconds = 0;
  uint64_t functions_left_out = 0;  // called, but nothing says how long they run
};

// A file's content and its name in messages.
struct TraceFile {
  std::string_view text;
  std::string name;
};

// kInvalidArgument of all: "FILE:LINE: what is wrong"; or more requests than `max_requests`.

// HashOwner,HashApp,HashFunction,...,percentile_Average_0,..._1,..._25,..._50,..._75,..._99,..._100 in milliseconds,
// and HashOwner,HashApp,HashFunction,Trigger,1,2,...: calls in each minute. `memory` may have no text:
// HashOwner,HashApp,...,AverageAllocatedMb.
Result<Trace> ParseAzure2019(const TraceFile& durations, const TraceFile& invocations, const TraceFile& memory,
                             const TraceOptions& options);

// app,func,end_timestamp,duration, the last two in seconds.
Result<Trace> ParseAzure2021(const TraceFile& file, const TraceOptions& options);

}  // namespace snapfaas::sim
