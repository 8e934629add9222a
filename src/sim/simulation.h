// Simulate: requests, at their times, to a node that is simulated: the node's own Request Manager and Controller, on a
// clock that jumps from event to event, and microVMs that take measured times.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "faas/controller.h"
#include "faas/function_spec.h"
#include "faas/request_manager.h"
#include "sim/costs.h"
#include "sim/measured_vm_host.h"

namespace snapfaas::sim {

struct Function {
  faas::FunctionSpec spec;
  std::string measured_as;  // its name among the costs
};

struct Request {
  int64_t at_ns = 0;             // from the start of the run
  uint32_t function = 0;         // its place among the functions
  std::optional<double> run_ms;  // what it takes in its microVM; nothing: as measured
};

struct Options {
  faas::Controller::Options controller;
  faas::RequestManager::Options requests;
  MeasuredVmHost::Options host;
  double cpus = 1;
};

// What became of a request.
struct Answer {
  faas::FunctionOutcome::Kind kind = faas::FunctionOutcome::Kind::kResult;
  faas::FunctionOutcome::Throttle throttle = faas::FunctionOutcome::Throttle::kNone;
  double latency_ms = 0;  // from its time to its answer
  faas::RequestTimings timings;
};

struct Outcome {
  std::vector<Answer> answers;  // in the order of the requests
  faas::Controller::Counts vms;
  faas::RequestManager::Counts requests;
  MeasuredVmHost::Counts shells;
  uint64_t budget_mib = 0;
  uint64_t peak_reserved_mib = 0;
  double seconds = 0;    // to the last answer
  double cpu_share = 0;  // of all CPUs' time until then, what was worked
};

// kInvalidArgument: the costs lack what such launches take. REQUIRES: the requests are in the order of their times.
Result<Outcome> Simulate(const Costs& costs, const std::vector<Function>& functions,
                         const std::vector<Request>& requests, const Options& options);

}  // namespace snapfaas::sim
