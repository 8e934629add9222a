// What snapfaas bench load asks of a node: a workload, and the requests that come of it.
//
// A workload has functions, each called by independent users. The calls of one user are a Poisson process: the times
// between them are exponentially distributed with mean `mu`. docs/workloads.md has the form of the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace snapfaas::cli {

struct LoadFunction {
  std::string name;
  // What --deploy deploys; an empty `app`: nothing, it is deployed already.
  std::filesystem::path app;
  std::string runtime;
  std::optional<uint32_t> memory_mib;
  std::optional<uint32_t> timeout_seconds;
  // Who calls it, when and with what.
  uint32_t users = 1;
  double mu_ms = 0;
  double start_seconds = 0;
  double end_seconds = 0;
  std::string event = "{}";  // JSON
};

struct Workload {
  uint64_t seed = 1;
  double duration_seconds = 0;  // no function ends later
  std::vector<LoadFunction> functions;
};

// kNotFound, kInvalidArgument: "FILE:LINE: what is wrong and how to mend it". Paths in the result are absolute or
// relative to the working folder, as `path` is.
Result<Workload> ReadWorkload(const std::filesystem::path& path);
// `path` only names the text in messages, and its folder is where relative apps are.
Result<Workload> ParseWorkload(const std::string& text, const std::filesystem::path& path);

// A request that is to be sent.
struct Arrival {
  int64_t at_ns = 0;      // from the start of the run
  uint32_t function = 0;  // its place in the workload
  uint32_t user = 0;

  bool operator==(const Arrival& other) const = default;
};

// Plans are kept in memory, and so is what became of each request.
inline constexpr uint64_t kMaxArrivals = 5'000'000;

// By time. The same workload gives the same arrivals on every machine; one function's do not depend on the others'
// rates. kInvalidArgument: more than kMaxArrivals are to be expected.
Result<std::vector<Arrival>> MakeArrivals(const Workload& workload);

}  // namespace snapfaas::cli
